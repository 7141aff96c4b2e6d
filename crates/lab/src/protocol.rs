//! Protocol between the commands and the keeper: JSON, one value per line. A connection carries one request. Its answer
//! is any number of [`Answer::Progress`] and then one of the others.

use std::net::{IpAddr, Ipv4Addr};

use boshy_lab_director::Fault;
use serde::{Deserialize, Serialize};

use crate::{
    name::{InstanceName, InstanceRef},
    vm::protocol::{JobAction, JobStatus},
};

/// Request of a command to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Wait until every process runs and every proxy knows every service.
    Ready,
    /// Take the lab down when this connection ends.
    Hold,
    /// End a VM's processes and boot it again.
    Reboot { instance: InstanceRef },
    /// Send a command to a process of a VM.
    Job { instance: InstanceRef, job: String, action: JobAction },
    /// Find a VM's first process.
    Find { instance: InstanceRef },
    /// Spoil the director's answers: of one route, or of all, and so many of them, or all.
    Spoil { fault: Fault, route: Option<String>, times: Option<u32> },
    /// Let the director answer as it should.
    Heal,
    /// Report the whole status.
    Status,
    /// End the lab.
    Down,
}

/// Answer of the keeper to a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Progress so far.
    Progress(Progress),
    /// The request is done.
    Done,
    /// The request is done, and this is the lab's status.
    Status(LabStatus),
    /// The requested VM: its name, and the process id in the keeper's PID namespace.
    Found { name: InstanceName, pid: u32 },
    /// The request failed.
    Failed(String),
}

/// A step of progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// An event.
    Said(String),
    /// Progress of waiting: how many of the awaited things are ready, and the first that is missing.
    Waiting { what: String, ready: usize, of: usize, missing: Option<String> },
}

/// The lab at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LabStatus {
    pub(crate) vms: Vec<VmStatus>,
    /// Services by the pilot's status; empty while it does not answer.
    pub(crate) services: Vec<ServiceStatus>,
    /// Problems of the lab.
    pub(crate) problems: Vec<String>,
    /// Differences from VMs of BOSH.
    pub(crate) notes: Vec<String>,
}

/// A VM at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VmStatus {
    #[serde(flatten)]
    pub(crate) name: InstanceName,
    /// The director's id of the VM, also the name of its directory.
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
    /// Number of instances.
    pub(crate) instances: usize,
}
