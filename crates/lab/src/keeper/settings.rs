//! What a keeper is told, and what every keeper has.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

/// Prefix length of the lab's network.
pub(super) const NETWORK_PREFIX: u8 = 16;

/// What the keeper prints once it listens.
pub(crate) const LISTENING: &str = "listening";

/// The director's address, which is the bridge's.
pub(crate) const DIRECTOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 2)), 25555);

/// The bridge that joins the VMs.
pub(super) const BRIDGE: &str = "switch";

/// Settings of a keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeeperSettings {
    /// Whether the director accepts clients of a UAA instead of its own users.
    pub(crate) uaa: bool,
    /// A library that every program of the VMs loads.
    pub(crate) preload: Option<PathBuf>,
}
