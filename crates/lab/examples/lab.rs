//! The lab without the mesh: VMs, a network, jobs. Drives the lab's own tests, and is good for a look at the machinery.

#![expect(clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use boshy_lab::{LabCommand, LabError, LabSettings, httpbin};
use clap::Parser;

#[derive(Parser)]
enum Cli {
    /// A BOSH on this machine
    #[command(subcommand)]
    Lab(LabCommand),
    Httpbin(httpbin::HttpbinCommand),
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}

fn run(cli: Cli) -> Result<ExitCode, LabError> {
    match cli {
        Cli::Lab(command) => {
            let boshy = std::env::current_exe().expect("Linux names the running program");
            boshy_lab::run(&command, LabSettings { boshy, mesh: None })
        }
        Cli::Httpbin(command) => httpbin::run(&command).map(|()| ExitCode::SUCCESS),
    }
}
