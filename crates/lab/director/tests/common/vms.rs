//! VMs in memory, whose orders are recorded and can be held or made to fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use boshy_lab_director::{AgentError, AgentState, ApplySpec, Done, Infrastructure, ProcessState, VmSpec};
use tokio::sync::Notify;

#[derive(Clone, Default)]
pub(crate) struct Vms {
    state: Arc<Mutex<State>>,
    released: Arc<Notify>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) vms: BTreeMap<String, Vm>,
    orders: Vec<String>,
    failing: BTreeMap<String, String>,
    held: BTreeSet<String>,
}

pub(crate) struct Vm {
    pub(crate) spec: VmSpec,
    pub(crate) applied: Option<Arc<ApplySpec>>,
    pub(crate) running: bool,
    /// Its agent never answers.
    pub(crate) silent: bool,
    pub(crate) records: Option<Arc<str>>,
}

impl Vm {
    fn name(&self) -> String {
        format!("{}/{}", self.spec.group, self.spec.index)
    }
}

impl Vms {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Orders since the last call, except for those that send DNS records or only query.
    pub(crate) fn take_orders(&self) -> Vec<String> {
        std::mem::take(&mut self.state().orders)
    }

    /// Makes an order such as `start web/0` fail until [`Vms::heal`].
    pub(crate) fn fail(&self, order: &str, error: &str) {
        self.state().failing.insert(order.to_owned(), error.to_owned());
    }

    /// Makes an order wait until [`Vms::heal`].
    pub(crate) fn hold(&self, order: &str) {
        self.state().held.insert(order.to_owned());
    }

    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.failing.clear();
        state.held.clear();
        drop(state);
        self.released.notify_waiters();
    }

    /// The content of a rendered file of an instance such as `web/0`.
    pub(crate) fn file(&self, instance: &str, path: &str) -> String {
        let state = self.state();
        let vm = state.vms.values().find(|vm| vm.name() == instance).unwrap();
        let jobs = &vm.applied.as_ref().unwrap().jobs;
        let file = jobs.iter().flat_map(|job| &job.files).find(|file| file.path == path);
        file.unwrap_or_else(|| panic!("{instance} has no {path}")).content.clone()
    }

    fn order(&self, verb: &'static str, cid: &str, act: impl FnOnce(&mut Vm) + Send + 'static) -> Done<()> {
        let (vms, cid) = (self.clone(), cid.to_owned());
        Box::pin(async move {
            let name = vms.state().vms.get(&cid).map(Vm::name);
            let name = name.ok_or_else(|| AgentError(format!("there is no VM {cid}")))?;
            let order = format!("{verb} {name}");
            vms.pass(&order).await?;
            vms.state().vms.get_mut(&cid).map(act);
            Ok(())
        })
    }

    async fn pass(&self, order: &str) -> Result<(), AgentError> {
        self.state().orders.push(order.to_owned());
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if !self.state().held.contains(order) {
                break;
            }
            released.await;
        }
        self.state().failing.get(order).map_or(Ok(()), |error| Err(AgentError(error.clone())))
    }
}

impl Infrastructure for Vms {
    fn create_vm(&self, vm: &VmSpec) -> Done<()> {
        let (vms, spec) = (self.clone(), vm.clone());
        Box::pin(async move {
            let made = Vm { spec: spec.clone(), applied: None, running: false, silent: false, records: None };
            vms.pass(&format!("create {}", made.name())).await?;
            vms.state().vms.insert(spec.cid, made);
            Ok(())
        })
    }

    fn delete_vm(&self, cid: &str) -> Done<()> {
        let (vms, deleted, cid) = (self.clone(), self.order("delete", cid, |_| {}), cid.to_owned());
        Box::pin(async move {
            deleted.await?;
            vms.state().vms.remove(&cid);
            Ok(())
        })
    }

    fn apply(&self, cid: &str, spec: Arc<ApplySpec>) -> Done<()> {
        self.order("apply", cid, |vm| vm.applied = Some(spec))
    }

    fn start(&self, cid: &str, _: Duration) -> Done<()> {
        self.order("start", cid, |vm| vm.running = true)
    }

    fn stop(&self, cid: &str, drain: bool) -> Done<()> {
        self.order(if drain { "drain" } else { "stop" }, cid, |vm| vm.running = false)
    }

    fn state(&self, cid: &str) -> Done<AgentState> {
        let (vms, cid) = (self.clone(), cid.to_owned());
        Box::pin(async move {
            let silent = vms.state().vms.get(&cid).is_some_and(|vm| vm.silent);
            if silent {
                std::future::pending::<()>().await;
            }
            let state = vms.state();
            let vm = state.vms.get(&cid).ok_or_else(|| AgentError("no agent".to_owned()))?;
            let failing = state.failing.contains_key(&format!("start {}", vm.name()));
            let (job_state, process) = match (vm.running, failing) {
                (true, _) => ("running", "running"),
                (false, true) => ("failing", "failing"),
                (false, false) => ("stopped", "unknown"),
            };
            let jobs = vm.applied.iter().flat_map(|spec| &spec.jobs);
            let processes = jobs.map(|job| ProcessState {
                name: job.name.clone(),
                state: process.to_owned(),
                uptime_seconds: 7,
                memory_kb: 1024,
            });
            let vitals = BTreeMap::from([("cpu.sys".to_owned(), "0.1".to_owned())]);
            Ok(AgentState { job_state: job_state.to_owned(), processes: processes.collect(), vitals })
        })
    }

    fn sync_dns(&self, cid: &str, records: Arc<str>) -> Done<()> {
        let (vms, cid) = (self.clone(), cid.to_owned());
        Box::pin(async move {
            if let Some(vm) = vms.state().vms.get_mut(&cid) {
                vm.records = Some(records);
            }
            Ok(())
        })
    }

    fn logs(&self, cid: &str) -> Done<Vec<u8>> {
        let bytes = format!("logs of {cid}").into_bytes();
        Box::pin(async move { Ok(bytes) })
    }
}
