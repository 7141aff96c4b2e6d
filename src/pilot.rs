//! `boshy pilot`.

use std::{path::PathBuf, process::ExitCode};

use boshy_config::PilotSettings;

use crate::{logging::LogArgs, memory};

/// Arguments of `boshy pilot`.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  boshy pilot --config config/pilot.example.yml\n\nAn environment variable overrides a key of the file, \
                        for example BOSHY__DIRECTOR__CLIENT_SECRET the key director.client_secret."
)]
pub(crate) struct Args {
    /// Settings file (YAML); config/pilot.example.yml explains its keys
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    memory::closed()?;
    let settings = PilotSettings::load(&args.config)?;
    let log_trouble = args.log.init();
    Ok(boshy_actors::pilot::run(settings, log_trouble)?.exit_code().into())
}
