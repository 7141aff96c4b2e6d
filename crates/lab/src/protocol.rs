//! What the commands and the keeper say to each other: JSON, one value a line. A connection carries one request, and its
//! answer is any number of [`Answer::Progress`] and then one of the others.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{
    name::{InstanceName, InstanceRef},
    vm::protocol::{JobAction, JobStatus},
};

/// Command to keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Wait until every process runs and every proxy knows every service.
    Ready,
    /// Take the lab down when this connection ends.
    Hold,
    /// End a VM's processes and boot it again.
    Reboot { instance: InstanceRef },
    /// A command for a process of a VM.
    Job { instance: InstanceRef, job: String, action: JobAction },
    /// Where a VM's first process is.
    Find { instance: InstanceRef },
    /// Everything.
    Status,
    /// End.
    Down,
}

/// Keeper to command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// How far it has come.
    Progress(Progress),
    /// It is done.
    Done,
    /// It is done, and this is what the lab is now.
    Status(LabStatus),
    /// The VM asked for: its name, and the process id in the keeper's PID namespace.
    Found { name: InstanceName, pid: u32 },
    /// It could not be done.
    Failed(String),
}

/// A step on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// Something has happened.
    Said(String),
    /// Of so many things waited for, so many are there; and the first that is missing.
    Waiting { what: String, ready: usize, of: usize, missing: Option<String> },
}

/// The lab at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabStatus {
    pub(crate) vms: Vec<VmStatus>,
    /// As the pilot says; empty while it does not answer.
    pub(crate) services: Vec<ServiceStatus>,
    /// What is wrong, if anything.
    pub(crate) problems: Vec<String>,
    /// What is not here as it would be on VMs of BOSH.
    pub(crate) notes: Vec<String>,
}

/// A VM at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VmStatus {
    #[serde(flatten)]
    pub(crate) name: InstanceName,
    /// The director's name for it, and that of its directory.
    pub(crate) cid: String,
    /// Whether its agent answers.
    pub(crate) alive: bool,
    pub(crate) id: String,
    pub(crate) az: String,
    pub(crate) ip: Ipv4Addr,
    pub(crate) jobs: Vec<JobStatus>,
}

/// A service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceStatus {
    pub(crate) hostname: String,
    pub(crate) vip: IpAddr,
    pub(crate) ports: Vec<u16>,
    /// How many instances it has.
    pub(crate) instances: usize,
}
