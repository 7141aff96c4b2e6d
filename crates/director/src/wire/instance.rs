//! Instances and VMs: from the director's own tables, and (`?format=full`) as every agent reports itself.

use std::net::IpAddr;

use boshy_mesh::Instance;
use serde::{Deserialize, Serialize};

/// One line of `GET /deployments/:name/instances`, in no order. A stopped instance that keeps its VM looks like a running one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// Agent of the VM.
    pub agent_id: Option<String>,
    /// VM.
    pub cid: Option<String>,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Addresses over all networks, IPv4 first, each by number.
    #[serde(default)]
    pub ips: Vec<String>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// False for detached instances and for errands without a VM.
    pub expects_vm: bool,
}

/// An instance whose address is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {group}/{index} has the address {address:?}, which is no IP address")]
pub struct BadAddress {
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
    /// What is written there.
    pub address: String,
}

impl TryFrom<InstanceRow> for Instance {
    type Error = BadAddress;

    fn try_from(row: InstanceRow) -> Result<Self, BadAddress> {
        let ips = row.ips.iter().map(|ip| ip.parse::<IpAddr>().map_err(|_| ip.clone()));
        match ips.collect::<Result<_, _>>() {
            Ok(ips) => {
                Ok(Self { group: row.job, index: row.index, id: row.id, az: row.az, ips, expects_vm: row.expects_vm })
            }
            Err(address) => Err(BadAddress { group: row.job, index: row.index, address }),
        }
    }
}

/// One line of `GET /deployments/:name/vms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRow {
    /// Agent of the VM.
    pub agent_id: Option<String>,
    /// VM.
    pub cid: Option<String>,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid of the instance.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Addresses.
    pub ips: Vec<String>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// False while it waits to take over.
    pub active: bool,
    /// Whether its credentials for the message bus are its own.
    pub permanent_nats_credentials: bool,
}

/// `GET /deployments/:name/jobs/:group/:id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInstance {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub job: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid.
    pub id: String,
    /// `started`, `stopped` or `detached`.
    pub state: String,
    /// Disks.
    pub disks: Vec<serde_json::Value>,
}

/// One line of the result of `?format=full`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullRow {
    /// VM.
    pub vm_cid: Option<String>,
    /// False while it waits to take over.
    pub active: Option<bool>,
    /// `2026-11-23T15:13:34Z`.
    pub vm_created_at: Option<String>,
    /// As the cloud config says.
    pub cloud_properties: serde_json::Value,
    /// Disk.
    pub disk_cid: Option<String>,
    /// Disks.
    pub disk_cids: Vec<String>,
    /// Addresses.
    pub ips: Vec<String>,
    /// Agent.
    pub agent_id: Option<String>,
    /// Instance group.
    pub job_name: String,
    /// Index in the group.
    pub index: u32,
    /// `running`, `failing`, `unresponsive agent`, ...; null without a VM.
    pub job_state: Option<String>,
    /// `started`, `stopped` or `detached`.
    pub state: String,
    /// VM type.
    pub vm_type: Option<String>,
    /// Load and the like; numbers as text.
    pub vitals: Option<serde_json::Value>,
    /// What monit watches.
    pub processes: Vec<Process>,
    /// Availability zone.
    pub az: Option<String>,
    /// Uuid of the instance.
    pub id: String,
    /// Whether it is the first of its group.
    pub bootstrap: bool,
    /// Whether deploys pass it over.
    pub ignore: bool,
    /// Stemcell.
    pub stemcell: StemcellOf,
}

/// A process, by its monit name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Name.
    pub name: String,
    /// `running`, `failing`, `starting` or `unknown`.
    pub state: String,
    /// Seconds.
    pub uptime: serde_json::Value,
    /// Use of memory.
    pub mem: serde_json::Value,
    /// Use of processors.
    pub cpu: serde_json::Value,
}

/// The stemcell of a VM; nulls without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemcellOf {
    /// Name.
    pub name: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Version of the stemcell API.
    pub api_version: Option<u32>,
}
