//! The director's interface to the outside: VMs of a CPI, and the agent on each VM.
//!
//! A director without it is a director on paper: every deploy succeeds at once, and releases need not exist.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// Result of an order. The order is carried out whether the result is awaited or not.
pub type Done<T> = Pin<Box<dyn Future<Output = Result<T, AgentError>> + Send>>;

/// An order that a CPI or an agent could not carry out. The text is shown by the task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

/// Creates VMs and sends orders to their agents. VMs are identified by their cid.
pub trait Infrastructure: Send + Sync {
    /// Creates a VM that runs only its agent (CPI `create_vm`, then the agent's first `ping`).
    fn create_vm(&self, vm: &VmSpec) -> Done<()>;

    /// Deletes a VM. Its jobs have been stopped before, if requested (CPI `delete_vm`).
    fn delete_vm(&self, cid: &str) -> Done<()>;

    /// Replaces packages, rendered templates and monit files (agent `apply`). No process is started.
    fn apply(&self, cid: &str, spec: Arc<ApplySpec>) -> Done<()>;

    /// Runs every job's pre-start, starts the processes through monit, waits until all run, and runs every post-start
    /// (agent `run_script pre-start`, `start`, `get_state`, `run_script post-start`).
    fn start(&self, cid: &str, patience: Duration) -> Done<()>;

    /// Ends monitoring, drains unless told otherwise, stops the processes, and runs post-stop (agent `drain`, `stop`).
    fn stop(&self, cid: &str, drain: bool) -> Done<()>;

    /// The agent's `get_state`.
    fn state(&self, cid: &str) -> Done<AgentState>;

    /// Sends a new `records.json` to the VM (agent `sync_dns`).
    fn sync_dns(&self, cid: &str, records: Arc<str>) -> Done<()>;

    /// `/var/vcap/sys/log` as a gzipped tar archive (agent `fetch_logs`).
    fn logs(&self, cid: &str) -> Done<Vec<u8>>;
}

/// A VM to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The CPI's id of the VM.
    pub cid: String,
    /// Its agent id.
    pub agent_id: String,
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub group: String,
    /// Index in the group.
    pub index: u32,
    /// Uuid of the instance.
    pub id: String,
    /// Availability zone.
    pub az: Option<String>,
    /// Operating system of the stemcell, such as `ubuntu-jammy`.
    pub stemcell_os: String,
    /// Addresses by network.
    pub networks: Vec<(String, Ipv4Addr)>,
}

/// Rendered jobs and packages for a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplySpec {
    /// In the order of the manifest, addons last.
    pub jobs: Vec<RenderedJob>,
    /// Every package that the jobs need, each after its dependencies.
    pub packages: Vec<PackageRef>,
}

/// A job with rendered templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedJob {
    /// Name.
    pub name: String,
    /// Release it comes from.
    pub release: String,
    /// Files below `/var/vcap/jobs/NAME`.
    pub files: Vec<RenderedFile>,
    /// The job's monit file.
    pub monit: String,
}

/// A file of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedFile {
    /// Path below the job's folder. Those in `bin/` are installed with mode 0750, others with 0640, owned by root:vcap.
    pub path: String,
    /// Content.
    pub content: String,
}

/// A package, compiled once and linked as `/var/vcap/packages/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    /// Name.
    pub name: String,
    /// Fingerprint of its content: packages with equal fingerprints are compiled once.
    pub fingerprint: String,
    /// The package's gzipped tar archive on disk: sources and the script `packaging`.
    pub archive: PathBuf,
    /// Names of packages that must exist when it is compiled.
    pub dependencies: Vec<String>,
}

/// State of a VM as reported by its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// `running`, `failing`, `starting` or `stopped`.
    pub job_state: String,
    /// Processes watched by monit.
    pub processes: Vec<ProcessState>,
    /// Further values shown by `bosh vms --vitals`, as the agent reports them.
    pub vitals: BTreeMap<String, String>,
}

/// A process that monit watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// Monit's name for it.
    pub name: String,
    /// `running`, `failing`, `starting` or `unknown`.
    pub state: String,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Resident memory, kB.
    pub memory_kb: u64,
}
