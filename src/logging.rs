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
    /// What to log: a level, or a filter such as `info,boshy_xds=debug`
    #[arg(long, env = "BOSHY_LOG", default_value = DEFAULT_FILTER, value_name = "FILTER")]
    log: String,
    /// How a line looks
    #[arg(long, env = "BOSHY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Starts logging. Call it only once.
    ///
    /// # Errors
    /// When the filter is not valid.
    pub(crate) fn init(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(&self.log)?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        match self.log_format {
            LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
            LogFormat::Json => lines.json().init(),
        }
        Ok(())
    }
}
