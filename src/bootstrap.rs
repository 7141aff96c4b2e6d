//! Envoy's bootstrap, from the agent's settings and what this process knows of itself.

use anyhow::Context;
use boshy_config::{EnvoySettings, NodeSettings};
use boshy_vm::{Sources, Wanted};
use boshy_xds::{Bootstrap, EnvoyVersion, Flavour, PeerTimeout};
use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit};

/// Variant of the xDS protocol.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Protocol {
    /// Incremental: a change sends the changed resources
    Delta,
    /// State of the world: a change sends all resources of its type
    Sotw,
}

/// The bootstrap of an Envoy that has no admin interface and no health listener yet. `version` is the output of `envoy
/// --version`.
pub(crate) fn bootstrap(settings: &EnvoySettings, protocol: Protocol, version: &str) -> anyhow::Result<Bootstrap> {
    let flavour = match protocol {
        Protocol::Delta => Flavour::Delta,
        Protocol::Sotw => Flavour::Sotw,
    };
    // Envoy inherits the limit from the process that starts it, as this one does.
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE).context("look how many files may be open")?;
    let NodeSettings { ip, id, records, .. } = settings.node.clone();
    // Envoy needs no address of its own: the agent configures any process that can open its socket. The node id shows
    // the VM's address where it is known.
    let address = Sources::new(Wanted { given: ip, id, records }).address(settings.vip_range).ok();
    Ok(Bootstrap {
        node: settings.node.id_at(address),
        ads_socket: settings.ads_socket.clone(),
        admin: None,
        flavour,
        version: EnvoyVersion::parse(version),
        peer_timeout: settings.peer_timeout.and_then(PeerTimeout::new),
        open_files,
        health_socket: None,
        tunnel_end: None,
    })
}
