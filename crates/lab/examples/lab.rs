//! The lab without the mesh: VMs, a network, jobs. Drives the lab's own tests, and is good for a look at the machinery.

use std::process::ExitCode;

use boshy_lab::{LabCommand, LabSettings};
use clap::Parser;

#[derive(Parser)]
enum Cli {
    /// The lab
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    let Cli::Lab(command) = Cli::parse();
    let boshy = std::env::current_exe().expect("Linux names the running program");
    boshy_lab::run(&command, LabSettings { boshy, mesh: None }).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}
