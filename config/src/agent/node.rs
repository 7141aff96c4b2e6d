//! Who this VM is.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use boshy_mesh::NodeId;
use serde::Deserialize;

use crate::{common::default_records, load::SettingsError};

/// Identity of this VM, as known when the settings were rendered. The VM's interfaces decide about its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its address as given by the director, which may not know any.
    pub ip: Option<IpAddr>,
    /// UUID of its instance.
    pub id: String,
    /// Third part of its node id.
    pub domain: String,
    /// Path of `records.json`, which lists the instance's addresses.
    pub records: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNode {
    ip: Option<IpAddr>,
    #[serde(default = "unnamed")]
    id: String,
    #[serde(default = "unnamed")]
    domain: String,
    #[serde(default = "default_records")]
    records: PathBuf,
}

fn unnamed() -> String {
    "x".to_owned()
}

impl RawNode {
    pub(super) fn check(self, file: &Path) -> Result<NodeSettings, SettingsError> {
        for (key, part) in [("node.id", &self.id), ("node.domain", &self.domain)] {
            if part.contains('~') {
                return Err(SettingsError::key(file, key, "must not hold `~`, which separates the parts of a node id"));
            }
        }
        Ok(NodeSettings { ip: self.ip, id: self.id, domain: self.domain, records: self.records })
    }
}

impl NodeSettings {
    /// The node id of this VM at an address, or at `0.0.0.0` when it has none.
    pub fn id_at(&self, ip: Option<Ipv4Addr>) -> NodeId {
        NodeId::sidecar(IpAddr::V4(ip.unwrap_or(Ipv4Addr::UNSPECIFIED)), &self.id, &self.domain)
    }
}
