//! Logs go to standard error, one line an event; whoever runs the process keeps them.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Libraries that tell at `info` what is of no use to an operator, or at `warn` what any client can provoke, are turned down.
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
    /// Begins logging. To be called once.
    ///
    /// # Errors
    /// When the filter is none.
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
