//! What the local Envoy is started with.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use boshy_mesh::VipRange;

use super::{
    node::NodeSettings,
    raw::{RawAgent, RawEnvoy, stop_timeout},
};
use crate::load::{self, SettingsError};

/// Settings with which the local Envoy is started: the part of the agent's settings that concerns both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoySettings {
    /// Identity of this VM.
    pub node: NodeSettings,
    /// Range of virtual IPs, which cannot contain the VM's own address.
    pub vip_range: VipRange,
    /// Unix socket of the agent.
    pub ads_socket: PathBuf,
    /// Unix socket at which the agent is told that Envoy stops.
    pub agent_socket: Option<PathBuf>,
    /// Address of Envoy's admin interface.
    pub admin: SocketAddr,
    /// Time after which a connection to a vanished peer ends; `None` leaves it to the kernel.
    pub peer_timeout: Option<Duration>,
    /// Unix socket at which Envoy answers monit's checks.
    pub health_socket: Option<PathBuf>,
    /// Directory of the sockets that each Envoy has for itself.
    pub run_dir: PathBuf,
    /// How long SIGTERM waits for open connections before Envoy ends.
    pub stop_timeout: Duration,
    /// How long an Envoy that is replaced may keep its connections.
    pub overlap_timeout: Duration,
}

impl EnvoySettings {
    /// Reads the part of the agent's settings that Envoy needs. Where Envoy is started, the rest may be missing, and
    /// the files it names need not exist.
    ///
    /// # Errors
    /// The file, the key and the reason.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let raw: RawAgent = load::read(file)?;
        let node = raw.node.check(file)?;
        let (peer_timeout, stop_timeout) = (raw.envoy.peer_timeout(file)?, stop_timeout(file, raw.stop_timeout)?);
        let RawEnvoy { admin, health_socket, run_dir, overlap_timeout, .. } = raw.envoy;
        let (vip_range, ads_socket, agent_socket) = (raw.vip_range, raw.ads_socket, raw.health_socket);
        Ok(Self {
            node,
            vip_range,
            ads_socket,
            agent_socket,
            admin,
            peer_timeout,
            health_socket,
            run_dir,
            stop_timeout,
            overlap_timeout,
        })
    }
}
