//! `boshy completion`.

use std::{io, process::ExitCode};

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `boshy completion`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  boshy completion bash > /etc/bash_completion.d/boshy")]
pub(crate) struct Args {
    /// Shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

#[expect(clippy::unnecessary_wraps, reason = "all subcommands have one shape")]
pub(crate) fn run<C: CommandFactory>(args: &Args) -> anyhow::Result<ExitCode> {
    clap_complete::generate(args.shell, &mut C::command(), "boshy", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}
