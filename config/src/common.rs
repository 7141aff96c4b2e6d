//! What both roles' settings have.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// A port to listen on, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) listen: SocketAddr,
}

/// Where BOSH puts `records.json`.
pub(crate) fn default_records() -> PathBuf {
    PathBuf::from("/var/vcap/instance/dns/records.json")
}
