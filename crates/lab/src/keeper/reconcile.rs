//! Keeps the VMs as the director says: the whole view each time, never a hint about what changed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use ipnet::Ipv4Net;

use super::{
    BRIDGE, DRAIN_PAUSE, Keeper, NETWORK_PREFIX,
    plan::{Step, plan},
    vm::Vm,
};
use crate::{
    error::{Doing, LabError},
    facts::{VmFacts, Wanted},
    job_config,
    name::InstanceName,
    state_dir::fresh_directory,
    vm::protocol::{JobSpec, VmSpec},
};

/// VMs made at the same time.
const AT_ONCE: usize = 4;
/// From a VM that could not be made to the next try.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reconciles at each change of the director's mind and at each death of a VM.
pub(super) async fn forever(keeper: Arc<Keeper>) {
    let mut view = keeper.world.view();
    let ports = Arc::new(AtomicU32::new(0));
    loop {
        let wanted = Wanted::new(&view.borrow_and_update());
        let steps = plan(&keeper.fleet.present(), &wanted.vms);
        let (mut missing, mut made) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Create(facts) => missing.push(facts),
                Step::Bury(name) => {
                    keeper.say(format!("{name} died"));
                    keeper.fleet.left(&name);
                }
                Step::Remove(name) => drop(tokio::spawn(remove(Arc::clone(&keeper), name))),
            }
        }
        let wanted_now = missing.len();
        let mut making = futures::stream::iter(missing)
            .map(|facts| create(Arc::clone(&keeper), facts, ports.fetch_add(1, Ordering::Relaxed)))
            .buffer_unordered(AT_ONCE);
        while let Some(ok) = making.next().await {
            made += usize::from(ok);
        }
        drop(making);
        let retry = async {
            if made == wanted_now { std::future::pending().await } else { tokio::time::sleep(RETRY_PAUSE).await }
        };
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = keeper.fleet.changed() => {}
            () = retry => {}
        }
    }
}

/// The mesh has been told already, by the director; the jobs stop when it has had time to stop sending.
async fn remove(keeper: Arc<Keeper>, name: InstanceName) {
    if let Some(vm) = keeper.fleet.leaving(&name) {
        tokio::time::sleep(DRAIN_PAUSE).await;
        vm.shut_down().await;
    }
    keeper.say(format!("{name} removed"));
    keeper.fleet.left(&name);
}

async fn create(keeper: Arc<Keeper>, facts: VmFacts, port: u32) -> bool {
    let name = facts.name.clone();
    match make(&keeper, facts, port).await {
        Ok(vm) => {
            keeper.say(format!("{name} is up at {}", vm.facts.ip));
            keeper.fleet.joined(vm);
            true
        }
        Err(error) => {
            let reason = error.chain();
            keeper.say(format!("{name} could not be made, trying again: {reason}"));
            keeper.fleet.not_made(name, reason);
            false
        }
    }
}

async fn make(keeper: &Arc<Keeper>, facts: VmFacts, port: u32) -> Result<Vm, LabError> {
    let jobs = job_config::jobs(&keeper.lab, &keeper.world.access(), &facts)?;
    let directory = keeper.state.vm(&facts.name);
    fresh_directory(&directory)?;
    fresh_directory(&directory.join("root"))?;
    let vcap = keeper.state.vcap(&facts.name);
    lay_out(&vcap, &facts, &jobs)?;
    let mut programs = vec![(keeper.lab.boshy.clone(), PathBuf::from("boshy/bin/boshy"))];
    programs.extend(keeper.settings.envoy.clone().map(|envoy| (envoy, PathBuf::from("envoy/bin/envoy"))));
    let spec = VmSpec {
        hostname: facts.id.clone(),
        address: Ipv4Net::new_assert(facts.ip, NETWORK_PREFIX),
        root: directory.join("root"),
        vcap,
        programs,
        jobs,
    };
    let (name, owner) = (facts.name.clone(), Arc::clone(keeper));
    Vm::create(&keeper.lab.boshy, facts, spec, (BRIDGE, &format!("port{port}")), move |pid| {
        owner.fleet.ended(&name, pid);
    })
    .await
}

/// The part of BOSH's layout that jobs rely on.
fn lay_out(vcap: &Path, facts: &VmFacts, jobs: &[JobSpec]) -> Result<(), LabError> {
    for directory in ["jobs", "packages", "data", "store", "sys/log", "sys/run", "instance"] {
        fresh_directory(&vcap.join(directory))?;
    }
    let mut files: BTreeMap<PathBuf, &str> = BTreeMap::from([
        (PathBuf::from("instance/id"), facts.id.as_str()),
        (PathBuf::from("instance/name"), facts.name.group.as_str()),
        (PathBuf::from("instance/az"), facts.az.as_str()),
        (PathBuf::from("instance/deployment"), facts.name.deployment.as_str()),
    ]);
    for job in jobs {
        fresh_directory(&vcap.join("data").join(&job.name))?;
        fresh_directory(&vcap.join("sys/log").join(&job.name))?;
        for (path, content) in &job.files {
            files.insert(Path::new("jobs").join(&job.name).join(path), content);
        }
    }
    for (path, content) in files {
        let path = vcap.join(path);
        let doing = || format!("writing {}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).doing(doing)?;
        }
        std::fs::write(&path, content).doing(doing)?;
    }
    Ok(())
}
