//! `POST …/instance_groups/:group/:id/actions/:action`: acts on one instance as it was last deployed, regardless of the
//! rest of its deployment.

use std::{sync::Arc, time::Duration};

use super::{
    instance,
    run::{Halt, Run, step},
};
use crate::{
    ApplySpec, DirectorError, InstanceState,
    world::{Action, Instance, IsolatedOrder, VmFacts, VmShape},
};

/// Time for jobs to start when no manifest sets it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Carries out the action on the instance.
pub(super) async fn act(run: &Run, order: IsolatedOrder) -> Result<String, Halt> {
    run.with(|world, scribe| world.journal.record(scribe.lock("acquire")));
    let result = on_instance(run, &order).await;
    run.with(|world, scribe| world.journal.record(scribe.lock("release")));
    result
}

async fn on_instance(run: &Run, order: &IsolatedOrder) -> Result<String, Halt> {
    let found = |run: &Run| {
        run.with(|world, scribe| {
            let index = world.find(&scribe.deployment, &order.group, &order.instance)?;
            Ok::<_, DirectorError>(world.deployment(&scribe.deployment)?.instances[index].clone())
        })
    };
    let instance = found(run)?;
    let drain = !order.skip_drain;
    match order.action {
        Action::Stop => stop(run, &instance, drain, order.hard).await?,
        Action::Start => start(run, &instance).await?,
        Action::Restart => {
            let name = instance.name();
            let both = async {
                stop(run, &instance, drain, false).await?;
                start(run, &found(run)?).await
            };
            run.recorded(|scribe| scribe.instance("restart", &name), both).await?;
        }
        Action::Recreate => {
            let name = instance.name();
            let both = async {
                stop(run, &instance, drain, true).await?;
                start(run, &found(run)?).await
            };
            run.recorded(|scribe| scribe.instance("recreate", &name), both).await?;
        }
    }
    Ok(instance.name())
}

async fn stop(run: &Run, instance: &Instance, drain: bool, hard: bool) -> Result<(), Halt> {
    let name = instance.name();
    let stopped = async {
        if let Some(vm) = instance.vm.as_ref().filter(|_| instance.state == InstanceState::Started) {
            instance::stop(run, vm, drain).await?;
        }
        run.with(|world, scribe| world.set_state(&scribe.deployment, &instance.id, InstanceState::Stopped));
        Ok(())
    };
    let both = async {
        run.recorded(|scribe| scribe.instance("stop", &name), stopped).await?;
        if hard {
            run.with(|world, scribe| world.set_state(&scribe.deployment, &instance.id, InstanceState::Detached));
            instance::delete_vm(run, instance).await?;
        }
        Ok(())
    };
    run.step(&step(format!("Stopping instance {}", instance.group), 1, 0, instance.title()), both).await
}

async fn start(run: &Run, instance: &Instance) -> Result<(), Halt> {
    let step = step(format!("Starting instance {}", instance.group), 1, 0, instance.title());
    run.step(&step, started(run, instance)).await
}

async fn started(run: &Run, instance: &Instance) -> Result<(), Halt> {
    let (instance, facts) = with_vm(run, instance).await?;
    let name = instance.name();
    let Some(vm) = &instance.vm else { return Ok(()) };
    let started = async {
        if facts.applied.is_none() {
            let (_, spec) = last_of(run, &instance)?;
            instance::apply(run, vm, &spec).await?;
        }
        run.executor.sync_dns().await;
        instance::start(run, &instance, vm, PATIENCE).await?;
        run.with(|world, scribe| world.set_state(&scribe.deployment, &instance.id, InstanceState::Started));
        Ok(())
    };
    run.recorded(|scribe| scribe.instance("start", &name), started).await
}

fn last_of(run: &Run, instance: &Instance) -> Result<(VmShape, Arc<ApplySpec>), Halt> {
    let last = run.with(|world, _| world.last(&instance.id));
    let text = || format!("Instance '{}' was never deployed, deploy it first", instance.name());
    Ok(last.ok_or_else(|| DirectorError::new(400, 70_006, text()))?)
}

/// The instance with a VM; a new one if it has none.
async fn with_vm(run: &Run, instance: &Instance) -> Result<(Instance, VmFacts), Halt> {
    let mut instance = instance.clone();
    if instance.vm.is_none() {
        let (shape, _) = last_of(run, &instance)?;
        instance.vm = Some(run.with(|world, scribe| world.new_vm(scribe.now)));
        instance.state = InstanceState::Stopped;
        instance::create_vm(run, &instance, &shape).await?;
    }
    let facts = run.with(|world, _| instance.vm.as_ref().and_then(|vm| world.vms.get(&vm.cid).cloned()));
    let lost = || DirectorError::new(500, 100, format!("The VM of '{}' is not known", instance.name()));
    Ok((instance.clone(), facts.ok_or_else(lost)?))
}
