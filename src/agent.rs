//! `boshy agent`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use boshy_actors::keeper;
use boshy_config::AgentSettings;

use crate::{logging::LogArgs, memory};

/// Arguments of `boshy agent`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  boshy agent --config config/agent.example.yml\n  boshy agent --config config/agent.example.yml --remove-rules"
)]
pub(crate) struct Args {
    /// Settings file (YAML); config/agent.example.yml explains its keys
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Remove the redirect rules and the route that an earlier agent left behind, then exit
    #[arg(long)]
    remove_rules: bool,
    #[command(flatten)]
    log: LogArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    memory::closed()?;
    let settings = AgentSettings::load(&args.config)?;
    let log_trouble = args.log.init();
    if args.remove_rules {
        let removed = boshy_actors::agent::remove_rules(&settings);
        return Ok(if removed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !keeper::is_kept() {
        return Ok(keeper::keep(&settings).context("keep the agent running")?.into());
    }
    Ok(boshy_actors::agent::run(settings, log_trouble)?.exit_code().into())
}
