//! What the parent of Envoy is made of.

use std::{ffi::OsString, io, net::SocketAddr, path::PathBuf, time::Duration};

use boshy_backoff::Backoff;
use boshy_tunnel_end::Parts as TunnelEndParts;

/// Makes Envoy's bootstrap for these sockets.
pub type MakeBootstrap = Box<dyn Fn(&EnvoySockets) -> io::Result<String>>;

/// What the parent of Envoy needs to know.
pub struct KeeperParts {
    /// Envoy's program.
    pub program: PathBuf,
    /// Arguments of every Envoy, in addition to its bootstrap.
    pub arguments: Vec<OsString>,
    /// Makes the bootstrap of each Envoy.
    pub bootstrap: MakeBootstrap,
    /// Address at which the admin interface of the current Envoy is reached. It has no authentication, so it must be on
    /// loopback.
    pub admin: SocketAddr,
    /// Unix socket at which the health listener of the current Envoy is reached.
    pub health_socket: Option<PathBuf>,
    /// Unix socket of the agent, which is told before Envoy stops; `None` where nobody is.
    pub agent_socket: Option<PathBuf>,
    /// The VM's end of tunnels; `None` for Envoys without.
    pub tunnel_end: Option<TunnelEndParts>,
    /// Directory of the sockets of each Envoy.
    pub run_dir: PathBuf,
    /// How long SIGTERM waits for open connections.
    pub stop_timeout: Duration,
    /// How long a replaced Envoy may keep its connections.
    pub overlap_timeout: Duration,
    /// Pauses between crashes in a row.
    pub backoff: Backoff,
}

/// Unix sockets of one Envoy. One that cannot be bound is left out: Envoy exits when it cannot bind a socket, and then
/// carries no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoySockets {
    /// The admin interface.
    pub admin: Option<PathBuf>,
    /// The health listener.
    pub health: Option<PathBuf>,
    /// The VM's end of tunnels, which all Envoys share. The parent has bound it.
    pub tunnel_end: Option<PathBuf>,
}
