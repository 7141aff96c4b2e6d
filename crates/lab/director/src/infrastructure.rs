//! What a director asks of the world outside it: VMs of a CPI, and work of the agent on each VM.
//!
//! A director without one is a director on paper: every deploy succeeds at once and releases need not exist.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// What comes of an order. It goes on whether or not it is awaited.
pub type Done<T> = Pin<Box<dyn Future<Output = Result<T, AgentError>> + Send>>;

/// An order that a CPI or an agent could not carry out; the text is what a task shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(pub String);

/// Makes VMs and talks to their agents. VMs are named by their cid.
pub trait Infrastructure: Send + Sync {
    /// Makes a VM that runs nothing but its agent (CPI `create_vm`, then the agent's first `ping`).
    fn create_vm(&self, vm: &VmSpec) -> Done<()>;

    /// Ends a VM and forgets it; its jobs were stopped before if that was wanted (CPI `delete_vm`).
    fn delete_vm(&self, cid: &str) -> Done<()>;

    /// Puts packages, rendered templates and monit files in place of those that are there (agent `apply`). Nothing runs.
    fn apply(&self, cid: &str, spec: Arc<ApplySpec>) -> Done<()>;

    /// Runs every job's pre-start, lets monit start the processes, waits until all run, runs every post-start (agent `run_script
    /// pre-start`, `start`, `get_state`, `run_script post-start`).
    fn start(&self, cid: &str, patience: Duration) -> Done<()>;

    /// Unmonitors, drains unless told otherwise, stops the processes, runs post-stop (agent `drain`, `stop`).
    fn stop(&self, cid: &str, drain: bool) -> Done<()>;

    /// What the agent's `get_state` says.
    fn state(&self, cid: &str) -> Done<AgentState>;

    /// Hands the VM a new `records.json` (agent `sync_dns`).
    fn sync_dns(&self, cid: &str, records: Arc<str>) -> Done<()>;

    /// `/var/vcap/sys/log` as a gzipped tar archive (agent `fetch_logs`).
    fn logs(&self, cid: &str) -> Done<Vec<u8>>;
}

/// A VM to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The CPI's name for it.
    pub cid: String,
    /// Its agent.
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

/// What a VM is to have and run, rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplySpec {
    /// In the order of the manifest, addons last.
    pub jobs: Vec<RenderedJob>,
    /// Every package the jobs need, each after those it depends on.
    pub packages: Vec<PackageRef>,
}

/// A job with its templates filled in.
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

/// A package, to be compiled once and linked as `/var/vcap/packages/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRef {
    /// Name.
    pub name: String,
    /// Of its content: equal fingerprints need one compilation.
    pub fingerprint: String,
    /// The package's gzipped tar archive on disk: sources and the script `packaging`.
    pub archive: PathBuf,
    /// Names of packages that have to be there when it is compiled.
    pub dependencies: Vec<String>,
}

/// How an agent finds its VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// `running`, `failing`, `starting` or `stopped`.
    pub job_state: String,
    /// What monit watches.
    pub processes: Vec<ProcessState>,
    /// Further facts shown by `bosh vms --vitals`, as the agent words them.
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
