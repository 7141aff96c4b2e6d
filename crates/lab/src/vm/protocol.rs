//! What the keeper and the first process of a VM say to each other: JSON, one value a line.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// What a VM is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VmSpec {
    pub(crate) hostname: String,
    pub(crate) address: Ipv4Net,
    /// Empty directory on the host, over which the VM's root is mounted.
    pub(crate) root: PathBuf,
    /// Directory on the host that the VM sees as `/var/vcap`.
    pub(crate) vcap: PathBuf,
    /// Programs of the host, and where the VM sees them below `/var/vcap/packages`.
    pub(crate) programs: Vec<(PathBuf, PathBuf)>,
    pub(crate) jobs: Vec<JobSpec>,
}

/// A process that a VM keeps alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobSpec {
    pub(crate) name: String,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Files below `/var/vcap/jobs/NAME/`, with their content.
    pub(crate) files: Vec<(PathBuf, String)>,
}

/// Keeper to VM.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The first order.
    Build(VmSpec),
    /// `eth0` is there.
    Boot,
    /// A command for one job.
    Job { job: String, action: JobAction },
    /// `GET http://127.0.0.1:PORT/PATH`, asked inside the VM.
    Get { id: u64, port: u16, path: String },
    /// Stop all jobs, then end.
    ShutDown,
}

/// A command for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobAction {
    Start,
    Stop,
    Kill,
}

/// VM to keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The namespaces are there: an interface can be put in.
    Unshared,
    /// Root and network are there; the jobs are being started.
    Booted,
    /// What every job does now; sent at each change.
    Jobs(Vec<JobStatus>),
    /// Answer to a `Get`: status and body, or why there is none.
    Got { id: u64, answer: Result<(u16, String), String> },
    /// The VM could not be made.
    Failed(String),
}

/// What a job does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobStatus {
    pub(crate) name: String,
    pub(crate) state: JobState,
    /// Restarts since the VM began.
    pub(crate) restarts: u64,
    /// How its last process ended.
    pub(crate) last_exit: Option<String>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    Running,
    /// Died; starts again in a second.
    Restarting,
    /// Told to stop, still there.
    Stopping,
    /// Stopped by command.
    Stopped,
}

impl JobState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}
