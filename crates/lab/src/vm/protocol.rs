//! Protocol between the keeper and the first process of a VM: JSON, one value per line.
//!
//! Every order has a number and is answered once by [`Report::Done`] with that number. `Build` and `Boot` come first,
//! each after the answer to the previous order. All others may be sent at any time. `Apply`, `Start` and `Stop` are
//! carried out one after the other, in the order received; `State`, `Get`, `Job` and `SyncDns` run concurrently with
//! them.

use std::{path::PathBuf, time::Duration};

use boshy_lab_director::{AgentState, ApplySpec};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// Definition of a VM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VmSpec {
    pub(crate) hostname: String,
    /// Interfaces that the keeper adds between `Build` and `Boot`, each with its address.
    pub(crate) interfaces: Vec<(String, Ipv4Net)>,
    /// Empty directory on the host, on which the VM's root is mounted.
    pub(crate) root: PathBuf,
    /// Directory on the host that becomes the VM's `/var/vcap`; its content is kept.
    pub(crate) vcap: PathBuf,
    /// Directory on the host with compiled packages, `NAME/FINGERPRINT/...`, as `compile` leaves them. The VM sees it
    /// read-only as `/var/vcap/data/packages`, including later additions.
    pub(crate) packages: PathBuf,
    /// A library on the host that every program of the VM loads.
    #[serde(default)]
    pub(crate) preload: Option<PathBuf>,
    pub(crate) instance: InstanceFacts,
}

/// Content of the files in `/var/vcap/instance`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceFacts {
    /// UUID of the instance.
    pub(crate) id: String,
    /// Instance group.
    pub(crate) name: String,
    /// Availability zone; empty without one.
    pub(crate) az: String,
    pub(crate) deployment: String,
}

/// Message from the keeper to the VM.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Chosen by the keeper; repeated in the answer.
    pub(crate) id: u64,
    pub(crate) what: What,
}

/// An order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The first order. When it is done, the namespaces exist and the interfaces can be added.
    Build(VmSpec),
    /// The interfaces exist: set their addresses, and build the root and the layout of `/var/vcap`. After a reboot, the
    /// processes that monit would start are started from what is on disk, without pre-start and post-start.
    Boot { reboot: bool },
    /// Replace the jobs by these, all or none. Their packages must be compiled already. No process is started or
    /// stopped.
    Apply(ApplySpec),
    /// Run every job's pre-start, then start the processes, and when all run, every job's post-start.
    Start { patience: Duration },
    /// End restarts, run every job's pre-stop and, if requested, drain, stop the processes, and run every job's
    /// post-stop.
    Stop { drain: bool },
    /// Report the agent's `get_state`.
    State,
    /// Apply a new `records.json`.
    SyncDns(String),
    /// Send a command to one process, by monit's name for it. It is done when it is carried out, before its effect is
    /// visible.
    Job { process: String, action: JobAction },
    /// `GET http://127.0.0.1:PORT/PATH` inside the VM.
    Get { port: u16, path: String },
    /// End all processes without drain, then the VM. The answer is the VM's last message.
    ShutDown,
}

/// A command for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobAction {
    /// `monit start`.
    Start,
    /// `monit stop`.
    Stop,
    /// Send SIGKILL; the process is restarted.
    Kill,
}

/// Message from the VM to the keeper.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The order with this number is carried out, or the error.
    Done { id: u64, result: Result<Answer, String> },
    /// Current state of every process; sent at each change.
    Jobs(Vec<JobStatus>),
}

/// Result of an order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Carried out, with notes on differences from a VM of BOSH (from `Boot` and `Apply`).
    Done { notes: Vec<String> },
    /// Answer to `State`.
    State(AgentState),
    /// Answer to `Get`.
    Got { status: u16, body: String },
}

/// Current state of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobStatus {
    /// Monit's name for the process.
    pub(crate) name: String,
    /// Its job.
    pub(crate) job: String,
    pub(crate) state: JobState,
    /// Restarts since the jobs were started.
    pub(crate) restarts: u64,
    /// How its previous run ended.
    pub(crate) last_exit: Option<String>,
}

/// State of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Its hook runs, or its container is being created.
    Starting,
    Running,
    /// It died and is started again after a second.
    Restarting,
    /// Told to stop, but still running.
    Stopping,
    /// Stopped by a command.
    Stopped,
}

impl JobState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// A value as one line of JSON.
pub(crate) fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
