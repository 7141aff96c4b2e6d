//! `boshy envoy`.

use std::{ffi::OsString, io, path::PathBuf, process::ExitCode};

use boshy_backoff::Falls;
use boshy_config::EnvoySettings;
use boshy_envoy_keeper::{End, EnvoySockets, KeeperParts, MakeBootstrap, TunnelEndParts, keep, version};
use boshy_xds::{AdminAddress, PROGRAM_HEADER};
use http::HeaderName;
use tracing::warn;

use crate::{
    bootstrap::{Protocol, bootstrap},
    logging::LogArgs,
    memory,
};

/// Arguments of `boshy envoy`.
#[derive(clap::Args)]
#[command(after_help = "Example:
  boshy envoy --config config/agent.example.yml --program /var/vcap/packages/envoy/bin/envoy -- --concurrency 2

Signals:
  TERM, INT  tell the agent, wait for open connections, then end Envoy
  HUP        start a second Envoy, and let the first end with its last connection")]
pub(crate) struct Args {
    /// Settings file of the agent (YAML); of its keys, only `node`, `ads_socket`, `health_socket`, `stop_timeout` and `envoy` are needed
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Envoy's program
    #[arg(long, value_name = "FILE", default_value = "envoy")]
    program: PathBuf,
    /// Variant of the xDS protocol that Envoy uses
    #[arg(long, value_enum, default_value_t = Protocol::Delta)]
    protocol: Protocol,
    /// Threads that carry tunnels to programs of this VM; as many as Envoy's `--concurrency` use what Envoy can give
    #[arg(long, value_name = "N", default_value_t = 2)]
    tunnel_threads: usize,
    #[command(flatten)]
    log: LogArgs,
    /// Further arguments for Envoy
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    memory::without_cores()?;
    let settings = EnvoySettings::load(&args.config)?;
    if let Some(trouble) = args.log.init() {
        warn!(trouble, "log settings");
    }
    let version = version(&args.program)?;
    // Two Envoys that run at the same time would share memory otherwise, and a killed one would leave it behind.
    let arguments = [OsString::from("--disable-hot-restart")].into_iter().chain(args.arguments).collect();
    let end = keep(KeeperParts {
        program: args.program,
        arguments,
        admin: settings.admin,
        health_socket: settings.health_socket.clone(),
        agent_socket: settings.agent_socket.clone(),
        tunnel_end: Some(TunnelEndParts {
            socket: settings.run_dir.join("programs.sock"),
            program: HeaderName::from_static(PROGRAM_HEADER),
            threads: args.tunnel_threads,
        }),
        run_dir: settings.run_dir.clone(),
        stop_timeout: settings.stop_timeout,
        overlap_timeout: settings.overlap_timeout,
        backoff: Falls::BACKOFF,
        bootstrap: bootstraps(settings, args.protocol, version),
    })?;
    Ok(match end {
        End::Told => ExitCode::SUCCESS,
        End::GaveUp => ExitCode::FAILURE,
    })
}

/// Makes the bootstrap anew for each Envoy, because the VM's address may have changed.
fn bootstraps(settings: EnvoySettings, protocol: Protocol, version: String) -> MakeBootstrap {
    Box::new(move |sockets: &EnvoySockets| {
        let mut bootstrap = bootstrap(&settings, protocol, &version).map_err(io::Error::other)?;
        bootstrap.admin = sockets.admin.clone().map(AdminAddress::Unix);
        bootstrap.health_socket = sockets.health.clone();
        bootstrap.tunnel_end = sockets.tunnel_end.clone();
        Ok(bootstrap.to_json().to_string())
    })
}
