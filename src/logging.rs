//! Logs go to standard error, one line per event. The parent process decides where they are kept.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Some libraries log at `info` what is useless to an operator, or at `warn` what any client can provoke. They are
/// limited to a higher level.
const DEFAULT_FILTER: &str = "info,actix_server=warn,hickory_proto=error";

/// How to log.
#[derive(Args)]
pub(crate) struct LogArgs {
    /// Events to log: a level, or a filter such as `info,boshy_xds=debug`
    #[arg(long, env = "BOSHY_LOG", default_value = DEFAULT_FILTER, value_name = "FILTER")]
    log: String,
    /// Format of a line
    #[arg(long, env = "BOSHY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Starts logging. Call it only once. Returns the reason when the filter is not valid. The default filter is then
    /// used, because a process must not end because of its log settings.
    pub(crate) fn init(&self) -> Option<String> {
        let (filter, trouble) = self.filter();
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().init(),
        }
        trouble
    }

    fn filter(&self) -> (EnvFilter, Option<String>) {
        match EnvFilter::try_new(&self.log) {
            Ok(filter) => (filter, None),
            Err(error) => {
                let trouble = format!("`{}` is no filter: {error}; `{DEFAULT_FILTER}` is used", self.log);
                (EnvFilter::new(DEFAULT_FILTER), Some(trouble))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> (EnvFilter, Option<String>) {
        LogArgs { log: text.to_owned(), log_format: LogFormat::Text }.filter()
    }

    #[test]
    fn what_is_no_filter_is_told_and_the_usual_one_taken() {
        let (good, trouble) = filter("info,boshy_xds=debug");
        assert_eq!((good.to_string().contains("boshy_xds=debug"), trouble), (true, None));
        for bad in ["boshy=loud", "info,boshy[=debug", "=,=", "a=b=c"] {
            let (usual, trouble) = filter(bad);
            let trouble = trouble.unwrap_or_default();
            assert!(trouble.starts_with(&format!("`{bad}` is no filter: ")), "{bad}: {trouble}");
            assert_eq!(usual.to_string(), EnvFilter::new(DEFAULT_FILTER).to_string());
        }
    }
}
