//! What the keeper and the first process of a VM say to each other: JSON, one value a line.
//!
//! Every order has a number, and every order is answered once by [`Report::Done`] with that number. `Build` and `Boot` come
//! first, each after the answer to the one before; all others may be given at any time. `Apply`, `Start` and `Stop` are
//! carried out one after the other, in the order in which they were given; `State`, `Get`, `Job` and `SyncDns` meanwhile.

use std::{path::PathBuf, time::Duration};

use boshy_lab_director::{AgentState, ApplySpec};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// What a VM is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VmSpec {
    pub(crate) hostname: String,
    /// Interfaces that the keeper puts in between `Build` and `Boot`, each with its address.
    pub(crate) interfaces: Vec<(String, Ipv4Net)>,
    /// Empty directory on the host, over which the VM's root is mounted.
    pub(crate) root: PathBuf,
    /// Directory on the host that the VM sees as `/var/vcap`; what is in it is kept.
    pub(crate) vcap: PathBuf,
    /// Directory on the host with compiled packages, `NAME/FINGERPRINT/...`, as `compile` leaves them; the VM sees it
    /// read-only as `/var/vcap/data/packages`, what is added later included.
    pub(crate) packages: PathBuf,
    pub(crate) instance: InstanceFacts,
}

/// What the files in `/var/vcap/instance` say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InstanceFacts {
    /// Instance uuid.
    pub(crate) id: String,
    /// Instance group.
    pub(crate) name: String,
    /// Empty when it is in none.
    pub(crate) az: String,
    pub(crate) deployment: String,
}

/// Keeper to VM.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Chosen by the keeper; names the answer.
    pub(crate) id: u64,
    pub(crate) what: What,
}

/// An order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The first order. When it is done, the namespaces are there and the interfaces can be put in.
    Build(VmSpec),
    /// The interfaces are there: give them their addresses, build the root and the layout of `/var/vcap`. After a reboot the
    /// processes start that monit would start, from what is on disk: no pre-start, no post-start.
    Boot { reboot: bool },
    /// Put these jobs in place of those that are there, all or none. Their packages have to be compiled. Nothing runs or ends.
    Apply(ApplySpec),
    /// Every job's pre-start; the processes; when all run, every job's post-start.
    Start { patience: Duration },
    /// No restarts any more; every job's pre-stop and, if wanted, drain; end of the processes; every job's post-stop.
    Stop { drain: bool },
    /// What the agent's `get_state` says.
    State,
    /// A new `records.json`.
    SyncDns(String),
    /// A command for one process, by monit's name for it. Done when it is carried out, not when it has had its effect.
    Job { process: String, action: JobAction },
    /// `GET http://127.0.0.1:PORT/PATH`, asked inside the VM.
    Get { port: u16, path: String },
    /// End all processes, without drain, then the VM. The answer is the VM's last word.
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
    /// SIGKILL; it comes back.
    Kill,
}

/// VM to keeper.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The order with this number is carried out, or why it could not be.
    Done { id: u64, result: Result<Answer, String> },
    /// What every process does now; sent at each change.
    Jobs(Vec<JobStatus>),
}

/// What comes of an order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Carried out; with sentences for people about what is not here as it would be on a VM of BOSH (`Boot` and `Apply`).
    Done { notes: Vec<String> },
    /// To `State`.
    State(AgentState),
    /// To `Get`.
    Got { status: u16, body: String },
}

/// What a process does now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobStatus {
    /// Monit's name for the process.
    pub(crate) name: String,
    /// The job it belongs to.
    pub(crate) job: String,
    pub(crate) state: JobState,
    /// Restarts since the jobs were started.
    pub(crate) restarts: u64,
    /// How its last life ended.
    pub(crate) last_exit: Option<String>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Its hook runs, or its container is being made.
    Starting,
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
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}
