//! `boshy`: the pilot, the agent and the one-machine lab of a service mesh for BOSH-managed VMs.
//!
//! The feature `lab` is off in the program of the BOSH release.

mod agent;
mod authz;
mod bootstrap;
mod completion;
mod envoy;
mod envoy_bootstrap;
mod exit;
mod httpbin;
mod identity;
#[cfg(feature = "lab")]
mod lab;
mod logging;
mod memory;
mod pilot;
mod pilot_api;
mod print;
mod socket;
mod vouch;
mod withdraw;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A service mesh for BOSH-managed VMs.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  boshy pilot --config /var/vcap/jobs/bosh-pilot/config/pilot.yml
  boshy agent --config /var/vcap/jobs/virtual-ip-agent/config/agent.yml
  boshy completion bash > /etc/bash_completion.d/boshy

Exit codes: 0 success; 1 failure, whose reason is on standard error; 64 wrong usage or settings.";

#[derive(Subcommand)]
enum Command {
    /// Run the pilot: read the BOSH director and serve configuration to proxies
    Pilot(pilot::Args),
    /// Run the agent of a VM: answer DNS, redirect virtual IPs to the local Envoy, and configure that Envoy
    Agent(agent::Args),
    /// Run the local Envoy: start it again after a crash, replace it without a gap, let its connections end at a stop
    Envoy(envoy::Args),
    /// Print the bootstrap configuration of the local Envoy
    EnvoyBootstrap(envoy_bootstrap::Args),
    /// Run a BOSH on one machine: its VMs are network namespaces, its Envoys are real
    #[cfg(feature = "lab")]
    #[command(subcommand, after_help = boshy_lab::EXAMPLES)]
    Lab(boshy_lab::LabCommand),
    /// Sign a new key with that of the VM's BOSH agent, for the agent's first certificate; as root, before each start
    Vouch(vouch::Args),
    /// Withdraw this VM's endpoints, before its jobs stop, so that callers go elsewhere in time
    Withdraw(withdraw::Args),
    /// Check policies, and what they say about a connection
    #[command(subcommand)]
    Authz(authz::AuthzCommand),
    /// Look after the identities of VMs
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    Httpbin(boshy_httpbin::HttpbinCommand),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse_args().command {
        Command::Pilot(args) => pilot::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Envoy(args) => envoy::run(args),
        Command::EnvoyBootstrap(args) => envoy_bootstrap::run(&args),
        #[cfg(feature = "lab")]
        Command::Lab(command) => lab::run(&command),
        Command::Vouch(args) => vouch::run(&args),
        Command::Withdraw(args) => withdraw::run(&args),
        Command::Authz(command) => authz::run(&command),
        Command::Identity(command) => identity::run(&command),
        Command::Httpbin(args) => httpbin::run(&args),
        Command::Completion(args) => completion::run::<Cli>(&args),
    };
    exit::code(result)
}

impl Cli {
    /// Parses the command line. Usage errors exit 64 (`EX_USAGE`), not clap's 2.
    fn parse_args() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let failed = error.use_stderr();
            // If even this cannot be printed, no other output is left for the error.
            let _ = error.print();
            std::process::exit(if failed { i32::from(exit::USAGE) } else { 0 })
        })
    }
}
