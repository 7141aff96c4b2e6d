//! Updates the instances of a deployment: group by group, canaries first.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde_json::json;

use super::{
    instance,
    run::{Halt, Run, in_flight},
};
use crate::{
    InstanceState,
    world::{Agent, Change, Progress, Rollout, SkipDrain, Step},
};
use boshy_director::wire::Event;

/// The changes of a group, and how to roll them out.
pub(super) struct GroupUpdate {
    pub(super) name: String,
    pub(super) size: usize,
    pub(super) rollout: Rollout,
    pub(super) changes: Vec<Change>,
}

/// Updates all groups: a serial one alone, others together with their neighbours.
pub(super) async fn all(run: &Run, groups: Vec<GroupUpdate>, skip_drain: &SkipDrain, verb: &str) -> Result<(), Halt> {
    let mut groups = groups.into_iter().peekable();
    while let Some(first) = groups.next() {
        let mut together = vec![first];
        while let Some(next) = groups.next_if(|next| !together[0].rollout.serial && !next.rollout.serial) {
            together.push(next);
        }
        let updates = together.into_iter().map(|group| one_group(run, group, skip_drain, verb));
        join_all(updates).await.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

async fn one_group(run: &Run, group: GroupUpdate, skip_drain: &SkipDrain, verb: &str) -> Result<(), Halt> {
    let GroupUpdate { name, size, rollout, changes } = group;
    let total = changes.len();
    let waves = rollout.waves(changes, size, |change| change.after.az.clone());
    let mut index = 0;
    for wave in waves {
        let patience = if wave.canary { rollout.canary_patience } else { rollout.patience };
        let mut updates = Vec::new();
        for change in wave.instances {
            index += 1;
            let suffix = if wave.canary { " (canary)" } else { "" };
            let step = Step {
                stage: "Updating instance".into(),
                tags: vec![name.clone()],
                total,
                index,
                name: format!("{}{suffix}", change.after.title()),
            };
            let drain = skip_drain.drains(&name);
            updates.push(async move { run.step(&step, one(run, &step, &change, drain, patience, verb)).await });
        }
        in_flight(wave.width, updates).await?;
    }
    Ok(())
}

/// Updates one instance, with its events.
async fn one(run: &Run, step: &Step, change: &Change, drain: bool, patience: Duration, verb: &str) -> Result<(), Halt> {
    let name = change.after.name();
    let action = if change.before.is_none() { "create" } else { verb };
    let context = match action {
        "create" => json!({"az": change.after.az}),
        "update" => json!({"az": change.after.az, "changes": change.reasons}),
        _ => json!({}),
    };
    let parent_id =
        Some(run.with(|world, scribe| world.journal.record(Event { context, ..scribe.instance(action, &name) })));
    let result = carry_out(run, step, change, drain, patience).await;
    run.with(|world, scribe| {
        let error = result.as_ref().err().map(Halt::text);
        world.journal.record(Event { parent_id, error, ..scribe.instance(action, &name) })
    });
    result
}

async fn carry_out(run: &Run, step: &Step, change: &Change, drain: bool, patience: Duration) -> Result<(), Halt> {
    let at = |percent, status| run.progress(step, Progress::At(percent, status));
    let had = change.before.as_ref().filter(|before| before.vm.is_some());
    if let Some((before, vm)) = had.and_then(|before| Some((before, before.vm.as_ref()?))) {
        if change.agent != Agent::Silent && before.state == InstanceState::Started {
            for (percent, status) in [(5, "executing pre-stop"), (10, "executing drain"), (30, "stopping jobs")] {
                at(percent, status);
            }
            instance::stop(run, vm, drain).await?;
            at(40, "executing post-stop");
        }
        if change.after.state != InstanceState::Started {
            set_state(run, change);
        }
        if change.new_vm || change.after.state == InstanceState::Detached {
            run.go_on()?;
            instance::delete_vm(run, before).await?;
        }
        if change.new_vm {
            run.go_on()?;
            instance::create_vm(run, &change.after, &change.shape).await?;
        }
    }
    let Some(vm) = change.after.vm.as_ref().filter(|_| change.after.expects_vm()) else {
        set_state(run, change);
        return Ok(());
    };
    run.go_on()?;
    if change.apply {
        at(50, "installing packages");
        at(60, "configuring jobs");
        instance::apply(run, vm, &change.spec).await?;
        run.with(|world, _| {
            world.set_last(&change.after.id, change.shape.clone(), Arc::clone(&change.spec));
        });
    }
    run.executor.sync_dns().await;
    if change.after.state == InstanceState::Started {
        run.go_on()?;
        at(70, "executing pre-start");
        at(90, "starting jobs");
        instance::start(run, &change.after, vm, patience).await?;
        at(100, "executing post-start");
    } else {
        run.with(|world, _| world.touch_vm(&vm.cid, |facts| facts.dirty = false));
    }
    set_state(run, change);
    Ok(())
}

fn set_state(run: &Run, change: &Change) {
    run.with(|world, scribe| world.set_state(&scribe.deployment, &change.after.id, change.after.state));
}
