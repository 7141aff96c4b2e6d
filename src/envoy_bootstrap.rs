//! `boshy envoy-bootstrap`.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use boshy_config::EnvoySettings;
use boshy_xds::AdminAddress;

use crate::bootstrap::{Protocol, bootstrap};

/// Arguments of `boshy envoy-bootstrap`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  boshy envoy-bootstrap --config config/agent.example.yml > bootstrap.json
  envoy --config-path bootstrap.json --disable-hot-restart")]
pub(crate) struct Args {
    /// Settings file of the agent (YAML); of its keys, only `node`, `ads_socket` and `envoy` are needed
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Variant of the xDS protocol that Envoy uses
    #[arg(long, value_enum, default_value_t = Protocol::Delta)]
    protocol: Protocol,
    /// Output of `envoy --version`; the default is the newest Envoy that this boshy knows
    #[arg(long, value_name = "TEXT", default_value = "")]
    envoy_version: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = EnvoySettings::load(&args.config)?;
    let mut bootstrap = bootstrap(&settings, args.protocol, &args.envoy_version)?;
    bootstrap.admin = Some(AdminAddress::Tcp(settings.admin));
    bootstrap.health_socket = settings.health_socket;
    match writeln!(io::stdout(), "{:#}", bootstrap.to_json()) {
        // A reader that closes the pipe early is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("write the bootstrap")?,
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}
