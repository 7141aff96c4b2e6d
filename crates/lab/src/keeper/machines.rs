//! The infrastructure of the lab's director: it creates, commands and ends VMs as the director asks. It makes no
//! decisions.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use boshy_lab_director::{AgentError, AgentState, ApplySpec, Done, Infrastructure, VmSpec as Wanted};
use ipnet::Ipv4Net;
use tokio::sync::broadcast;

use super::{
    fleet::Fleet,
    packages,
    settings::{BRIDGE, NETWORK_PREFIX},
    vm::{Facts, Vm},
};
use crate::{
    error::{Doing, LabError},
    name::{InstanceName, check_directory},
    protocol::Progress,
    state_dir::{StateDir, fresh_directory},
    vm::protocol::{Answer, InstanceFacts, VmSpec, What},
};

/// The VMs and the means to create them.
pub(super) struct Machines {
    pub(super) boshy: PathBuf,
    /// A library that every program of the VMs loads.
    preload: Option<PathBuf>,
    pub(super) state: StateDir,
    pub(super) fleet: Fleet,
    pub(super) progress: broadcast::Sender<Progress>,
    runtime: tokio::runtime::Handle,
    ports: AtomicU32,
    /// Held while a package is compiled, so that no package is compiled twice.
    compiling: Arc<tokio::sync::Mutex<()>>,
}

impl Machines {
    pub(super) fn new(
        boshy: PathBuf,
        preload: Option<PathBuf>,
        state: StateDir,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            boshy,
            preload,
            state,
            fleet: Fleet::default(),
            progress: broadcast::channel(1024).0,
            runtime,
            ports: AtomicU32::new(0),
            compiling: Arc::default(),
        }
    }

    /// Reports an event to all listeners.
    pub(super) fn say(&self, text: String) {
        tracing::info!("{text}");
        // An error only means that there are no listeners.
        let _ = self.progress.send(Progress::Said(text));
    }

    /// Ends a VM's processes at once, and boots it again from what is on its disk.
    pub(super) async fn reboot(self: &Arc<Self>, cid: &str) -> Result<(), LabError> {
        let member = self.fleet.get(cid).ok_or_else(|| no_vm(cid))?;
        if let Some(vm) = self.fleet.resting(cid) {
            vm.shut_down().await;
        }
        fresh_directory(&member.facts.spec.root)?;
        self.boot(member.facts, true).await
    }

    async fn boot(self: &Arc<Self>, facts: Facts, reboot: bool) -> Result<(), LabError> {
        let port = format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed));
        let (cid, owner) = (facts.cid.clone(), Arc::clone(self));
        let over = move |pid| {
            if owner.fleet.ended(&cid, pid) {
                owner.say(format!("VM {cid} died"));
            }
        };
        let vm = Vm::boot(&self.boshy, &facts, reboot, (BRIDGE, &port), over).await?;
        self.say(format!("{} is {} as VM {}", facts.name, if reboot { "up again" } else { "up" }, facts.cid));
        self.fleet.joined(facts, vm);
        Ok(())
    }

    async fn create(self: Arc<Self>, wanted: Wanted) -> Result<(), LabError> {
        let Wanted { cid, deployment, group, index, id, az, networks, .. } = wanted;
        // Names become names of directories.
        for part in [&cid, &id, &deployment, &group] {
            check_directory(part).map_err(LabError::Refused)?;
        }
        let directory = self.state.vm(&cid);
        for directory in [&directory, &directory.join("root"), &directory.join("vcap"), &self.state.packages()] {
            fs::create_dir_all(directory).doing(|| format!("making {}", directory.display()))?;
        }
        // Every instance has a persistent disk that outlives its VM.
        move_if_there(&self.state.disk(&id), &directory.join("vcap/store"))?;
        let interfaces = networks
            .iter()
            .enumerate()
            .map(|(position, (_, address))| (format!("eth{position}"), Ipv4Net::new_assert(*address, NETWORK_PREFIX)));
        let spec = VmSpec {
            hostname: id.clone(),
            interfaces: interfaces.collect(),
            root: directory.join("root"),
            vcap: directory.join("vcap"),
            packages: self.state.packages(),
            preload: self.preload.clone(),
            instance: InstanceFacts {
                id,
                name: group.clone(),
                az: az.unwrap_or_default(),
                deployment: deployment.clone(),
            },
        };
        let name = InstanceName { deployment, group, index };
        self.boot(Facts { cid, name, spec }, false).await
    }

    async fn delete(self: Arc<Self>, cid: String) -> Result<(), LabError> {
        let Some(member) = self.fleet.left(&cid) else { return Ok(()) };
        if let Some(vm) = member.vm {
            vm.shut_down().await;
        }
        move_if_there(&self.state.vcap(&cid).join("store"), &self.state.disk(&member.facts.spec.instance.id))?;
        let directory = self.state.vm(&cid);
        fs::remove_dir_all(&directory).doing(|| format!("removing {}", directory.display()))?;
        self.say(format!("{} is gone", member.facts.name));
        Ok(())
    }

    async fn apply(self: Arc<Self>, cid: String, spec: Arc<ApplySpec>) -> Result<(), LabError> {
        let vm = self.vm(&cid)?;
        let (store, say) = (self.state.packages(), |text| self.say(text));
        packages::compile_all(&self.boshy, &store, &self.compiling, &spec.packages, say).await?;
        let jobs: BTreeSet<String> = spec.jobs.iter().map(|job| job.name.clone()).collect();
        let notes = vm.carries_out(What::Apply(ApplySpec::clone(&spec))).await?;
        self.fleet.note(notes);
        self.fleet.given(&cid, jobs);
        Ok(())
    }

    async fn order(self: Arc<Self>, cid: String, what: What) -> Result<(), LabError> {
        self.vm(&cid)?.carries_out(what).await.map(drop)
    }

    async fn look(self: Arc<Self>, cid: String) -> Result<AgentState, LabError> {
        match self.vm(&cid)?.ask(What::State).await.map_err(LabError::Refused)? {
            Answer::State(state) => Ok(state),
            Answer::Done { .. } | Answer::Got { .. } => {
                Err(LabError::Refused("the VM's answer came out of turn".to_owned()))
            }
        }
    }

    async fn collect_logs(self: Arc<Self>, cid: String) -> Result<Vec<u8>, LabError> {
        let logs = self.state.vcap(&cid).join("sys/log");
        let packed = tokio::task::spawn_blocking(move || pack(&logs)).await;
        packed.map_err(|_| LabError::Refused("packing the logs panicked".to_owned()))?
    }

    fn vm(&self, cid: &str) -> Result<Arc<Vm>, LabError> {
        let member = self.fleet.get(cid).ok_or_else(|| no_vm(cid))?;
        member.vm.ok_or_else(|| LabError::Refused(format!("the agent of VM {cid} does not answer")))
    }

    /// Starts work that continues whether it is awaited or not.
    fn begin<T: Send + 'static>(&self, work: impl Future<Output = Result<T, LabError>> + Send + 'static) -> Done<T> {
        let begun = self.runtime.spawn(work);
        Box::pin(async move {
            let ended = begun.await.map_err(|_| AgentError("the lab panicked over it".to_owned()))?;
            ended.map_err(|error| AgentError(error.chain()))
        })
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), LabError> {
    let doing = || format!("moving {} to {}", from.display(), to.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).doing(doing)?;
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing(doing),
        _ => Ok(()),
    }
}

fn no_vm(cid: &str) -> LabError {
    LabError::Refused(format!("there is no VM {cid}"))
}

/// Packs logs as the BOSH agent does.
fn pack(logs: &Path) -> Result<Vec<u8>, LabError> {
    let doing = || format!("packing {}", logs.display());
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    archive.follow_symlinks(false);
    archive.append_dir_all(".", logs).doing(doing)?;
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).doing(doing)
}

/// The director's interface to [`Machines`].
pub(super) struct Cpi(pub(super) Arc<Machines>);

impl Cpi {
    fn machines(&self) -> Arc<Machines> {
        Arc::clone(&self.0)
    }

    fn order(&self, cid: &str, what: What) -> Done<()> {
        self.0.begin(self.machines().order(cid.to_owned(), what))
    }
}

impl Infrastructure for Cpi {
    fn create_vm(&self, vm: &Wanted) -> Done<()> {
        self.0.begin(self.machines().create(vm.clone()))
    }

    fn delete_vm(&self, cid: &str) -> Done<()> {
        self.0.begin(self.machines().delete(cid.to_owned()))
    }

    fn apply(&self, cid: &str, spec: Arc<ApplySpec>) -> Done<()> {
        self.0.begin(self.machines().apply(cid.to_owned(), spec))
    }

    fn start(&self, cid: &str, patience: Duration) -> Done<()> {
        self.order(cid, What::Start { patience })
    }

    fn stop(&self, cid: &str, drain: bool) -> Done<()> {
        self.order(cid, What::Stop { drain })
    }

    fn state(&self, cid: &str) -> Done<AgentState> {
        self.0.begin(self.machines().look(cid.to_owned()))
    }

    fn sync_dns(&self, cid: &str, records: Arc<str>) -> Done<()> {
        self.order(cid, What::SyncDns(records.as_ref().to_owned()))
    }

    fn logs(&self, cid: &str) -> Done<Vec<u8>> {
        self.0.begin(self.machines().collect_logs(cid.to_owned()))
    }
}
