//! The part of a manifest that a director uses. Other keys do not affect the instances.

use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::Value;

use super::{DirectorError, cloud};
use boshy_director::wire::NameVersion;
use boshy_yaml::Limits;

/// Maximum number of addresses in one entry of `static_ips`.
const MAX_STATIC_IPS: u32 = 65_536;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct DeployManifest {
    pub(super) name: Option<String>,
    pub(super) releases: Vec<NameVersion>,
    pub(super) stemcells: Vec<Stemcell>,
    pub(super) update: Option<UpdateSettings>,
    pub(super) instance_groups: Vec<DeployGroup>,
}

/// Settings for updating instances, of a deployment or of one group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct UpdateSettings {
    pub(super) serial: Option<bool>,
    pub(super) canaries: Option<Value>,
    pub(super) max_in_flight: Option<Value>,
    pub(super) canary_watch_time: Option<Value>,
    pub(super) update_watch_time: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Stemcell {
    pub(super) alias: Option<String>,
    pub(super) os: Option<String>,
    pub(super) name: Option<String>,
    pub(super) version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct DeployGroup {
    pub(super) name: String,
    pub(super) azs: Option<Vec<String>>,
    #[serde(default)]
    pub(super) instances: u32,
    pub(super) lifecycle: Option<String>,
    pub(super) vm_type: Option<String>,
    pub(super) stemcell: Option<String>,
    #[serde(default)]
    pub(super) networks: Vec<GroupNetwork>,
    #[serde(default)]
    pub(super) jobs: Vec<DeployJob>,
    pub(super) update: Option<UpdateSettings>,
    persistent_disk_type: Option<Value>,
    env: Option<Value>,
    properties: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct GroupNetwork {
    pub(super) name: String,
    static_ips: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct DeployJob {
    pub(super) name: String,
    release: Option<String>,
    properties: Option<Value>,
    provides: Option<Value>,
    consumes: Option<Value>,
}

impl DeployManifest {
    /// Parses a client's manifest. The errors are those that a director returns at once.
    pub(super) fn parse(text: &str) -> Result<(String, Self), DirectorError> {
        let bad = |error: boshy_yaml::YamlError| {
            let description = format!("Incorrect YAML structure of the uploaded manifest: {error}");
            DirectorError::new(400, 440_001, description)
        };
        let manifest: Self = boshy_yaml::from_text(text, &Limits::default()).map_err(bad)?;
        match manifest.name.clone() {
            Some(name) => Ok((name, manifest)),
            None => Err(DirectorError::new(400, 40_001, "Deployment manifest must have a 'name' key")),
        }
    }

    /// Stemcells in use, by the name that a director shows.
    pub(super) fn stemcell_rows(&self) -> Vec<NameVersion> {
        let row = |stemcell: &Stemcell| NameVersion { name: stemcell.shown_name(), version: stemcell.version.clone() };
        self.stemcells.iter().map(row).collect()
    }
}

impl Stemcell {
    fn shown_name(&self) -> String {
        match (&self.name, &self.os) {
            (Some(name), _) => name.clone(),
            (None, Some(os)) => format!("bosh-warden-boshlite-{os}-go_agent"),
            (None, None) => String::new(),
        }
    }
}

impl DeployGroup {
    pub(super) fn is_errand(&self) -> bool {
        self.lifecycle.as_deref() == Some("errand")
    }

    /// Whether instances of another version of this group need no update.
    pub(super) fn makes_the_same_as(&self, other: &Self) -> bool {
        let kept = |group: &Self| Self { instances: 0, azs: None, update: None, ..group.clone() };
        kept(self) == kept(other)
    }
}

impl GroupNetwork {
    /// The addresses that the group requests; `None` when any will do.
    pub(super) fn static_ips(&self, group: &str) -> Result<Option<Vec<Ipv4Addr>>, DirectorError> {
        let Some(written) = &self.static_ips else { return Ok(None) };
        let mut ips = Vec::new();
        for text in written {
            let range = cloud::range(text).map(|range| u32::from(*range.start())..=u32::from(*range.end()));
            let range = range.filter(|range| range.end() - range.start() < MAX_STATIC_IPS).ok_or_else(|| {
                DirectorError::new(400, 150_009, format!("Instance group '{group}' has the invalid static IP '{text}'"))
            })?;
            ips.extend(range.map(Ipv4Addr::from));
        }
        Ok(Some(ips))
    }
}
