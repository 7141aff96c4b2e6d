//! Instance groups of a checked manifest.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Port;

/// How long a group's processes live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Runs permanently.
    #[default]
    Service,
    /// Runs on demand; never an endpoint.
    Errand,
}

/// A job, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    /// Job name as written.
    pub name: String,
    /// Exposed ports, in the order written.
    pub ports: Vec<Port>,
    /// The runtime config that adds this job, when the job is not in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_config: Option<String>,
}

/// An instance group, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstanceGroup {
    /// Group name as written.
    pub name: String,
    /// Service or errand.
    pub lifecycle: Lifecycle,
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// Its networks, in the order written.
    #[serde(default)]
    pub networks: Vec<GroupNetwork>,
    /// Groups whose instances move to this group.
    #[serde(default)]
    pub migrated_from: Vec<String>,
}

/// A network of an instance group, as written in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupNetwork {
    /// Name as written.
    pub name: String,
    /// What this network is the default for: `gateway`, `dns`, `addressable`.
    pub default: Vec<String>,
    /// `static_ips`, first and last address of each range.
    pub static_ips: Vec<(IpAddr, IpAddr)>,
}

impl InstanceGroup {
    pub(crate) fn exposes(&self) -> bool {
        self.lifecycle == Lifecycle::Service && self.jobs.iter().any(|job| !job.ports.is_empty())
    }
}
