//! Operations on one instance: creating and deleting its VM, stopping and starting its jobs.

use std::{sync::Arc, time::Duration};

use super::run::{Halt, Run};
use crate::{
    ApplySpec, DirectorError,
    world::{Instance, Vm, VmShape},
};

/// Creates the VM of an instance with its assigned name and addresses.
pub(super) async fn create_vm(run: &Run, instance: &Instance, shape: &VmShape) -> Result<(), Halt> {
    let Some(vm) = &instance.vm else { return Ok(()) };
    let name = instance.name();
    let parent = run.with(|world, scribe| world.journal.record(scribe.vm("create", None, &name)));
    let spec = shape.spec(run.deployment(), instance, vm);
    let made = run.infrastructure().create_vm(&spec).await.map_err(|error| Halt::cpi("create_vm", &error));
    run.with(|world, scribe| {
        if made.is_ok() {
            let vm = Some(Vm { created_at: scribe.now, ..vm.clone() });
            world.bind_vm(&scribe.deployment, &Instance { vm, ..instance.clone() }, shape.clone());
        }
        let cid = made.is_ok().then(|| vm.cid.clone());
        let mut end = scribe.vm("create", cid, &name);
        (end.parent_id, end.error) = (Some(parent), made.as_ref().err().map(Halt::text));
        world.journal.record(end);
    });
    made
}

/// Deletes the VM of an instance; the instance keeps its addresses.
pub(super) async fn delete_vm(run: &Run, instance: &Instance) -> Result<(), Halt> {
    let Some(vm) = &instance.vm else { return Ok(()) };
    let name = instance.name();
    let deleted = async {
        run.with(|world, scribe| {
            for action in ["acquire", "release"] {
                world.journal.record(scribe.foreign_lock(action, format!("lock:vm:{}", vm.cid)));
            }
        });
        run.infrastructure().delete_vm(&vm.cid).await.map_err(|error| Halt::cpi("delete_vm", &error))?;
        run.with(|world, scribe| world.unbind_vm(&scribe.deployment, &instance.id, &vm.cid));
        Ok(())
    };
    run.recorded(|scribe| scribe.vm("delete", Some(vm.cid.clone()), &name), deleted).await
}

/// Stops the jobs of a VM.
pub(super) async fn stop(run: &Run, vm: &Vm, drain: bool) -> Result<(), Halt> {
    run.with(|world, _| world.touch_vm(&vm.cid, |facts| facts.dirty = true));
    run.infrastructure().stop(&vm.cid, drain).await.map_err(|error| run.agent_failed(&error))
}

/// Applies jobs and packages to a VM.
pub(super) async fn apply(run: &Run, vm: &Vm, spec: &Arc<ApplySpec>) -> Result<(), Halt> {
    run.with(|world, _| {
        world.touch_vm(&vm.cid, |facts| (facts.dirty, facts.applied) = (true, None));
    });
    run.infrastructure().apply(&vm.cid, Arc::clone(spec)).await.map_err(|error| run.agent_failed(&error))?;
    run.with(|world, _| world.touch_vm(&vm.cid, |facts| facts.applied = Some(Arc::clone(spec))));
    Ok(())
}

/// Starts the jobs of a VM and waits until they run.
pub(super) async fn start(run: &Run, instance: &Instance, vm: &Vm, patience: Duration) -> Result<(), Halt> {
    match run.infrastructure().start(&vm.cid, patience).await {
        Ok(()) => {
            run.with(|world, _| world.touch_vm(&vm.cid, |facts| facts.dirty = false));
            Ok(())
        }
        // The agent reports a failed script. Processes that do not run are found by asking for them.
        Err(error) if error.0.contains("scripts failed") => Err(run.agent_failed(&error)),
        Err(error) => match not_running(run, instance, vm).await {
            Some(not_running) => Err(Halt::Failed(not_running)),
            None => Err(run.agent_failed(&error)),
        },
    }
}

/// The director's error when processes do not run after their start; `None` when the error had another cause.
async fn not_running(run: &Run, instance: &Instance, vm: &Vm) -> Option<DirectorError> {
    let state = run.infrastructure().state(&vm.cid).await.ok()?;
    if state.job_state == "stopped" || state.job_state == "running" {
        return None;
    }
    let failing: Vec<&str> = state
        .processes
        .iter()
        .filter(|process| process.state != "running")
        .map(|process| process.name.as_str())
        .collect();
    let logs = match failing.as_slice() {
        [] => String::new(),
        failing => format!(" Review logs for failed jobs: {}", failing.join(", ")),
    };
    Some(DirectorError::new(500, 400_007, format!("'{}' is not running after update.{logs}", instance.title())))
}

/// Stops, deletes and forgets an instance.
pub(super) async fn delete(run: &Run, instance: &Instance, drain: bool, force: bool) -> Result<(), Halt> {
    let name = instance.name();
    let gone = async {
        if let Some(vm) = &instance.vm {
            let stopped = stop(run, vm, drain).await;
            if !force {
                stopped?;
            }
            let deleted = delete_vm(run, instance).await;
            if !force {
                deleted?;
            }
        }
        run.with(|world, scribe| world.remove_instance(&scribe.deployment, &instance.id));
        Ok(())
    };
    run.recorded(|scribe| scribe.instance("delete", &name), gone).await
}
