//! `POST /deployments`, and state changes that converge the deployment.

use std::sync::Arc;

use serde_json::json;

use super::{
    agents::state_of,
    instance,
    prepare::{self, Prepared},
    run::{Halt, Run, in_flight, step},
    update,
};
use crate::world::{Agent, Change, DeployOrder, DeploymentRecord, Target};
use boshy_director::wire::Event;

/// Number of VMs created or deleted at a time (director: `max_threads`).
const WIDTH: usize = 32;

/// Deploys and records events: a deployment counts as created or updated only at the very end, or when that failed.
pub(super) async fn deploy(run: &Run, order: DeployOrder) -> Result<String, Halt> {
    let name = run.deployment().to_owned();
    let (is_new, before) = run.with(|world, scribe| {
        world.journal.record(scribe.lock("acquire"));
        let before = world.deployments.get(&name).map(DeploymentRecord::context);
        if !order.dry_run {
            world.deployments.entry(name.clone()).or_default();
        }
        (before.is_none(), before.unwrap_or_else(|| json!({})))
    });
    let result = carry_out(run, &order).await;
    run.executor.sync_dns().await;
    run.with(|world, scribe| {
        let is_first = world.deployments.get(&name).is_none_or(|record| record.manifest.is_none());
        let action = if is_new || is_first { "create" } else { "update" };
        if result.is_err() || order.dry_run {
            world.journal.record(scribe.lock("release"));
        }
        if !order.dry_run {
            let after = world.deployments.get(&name).map(DeploymentRecord::context);
            let error = result.as_ref().err().map(Halt::text);
            let context = if error.is_none() { json!({"before": before, "after": after}) } else { json!({}) };
            let end = Event { context, error, ..scribe.deployment(action) };
            world.journal.pair(scribe.deployment(action), end);
        }
        if result.is_ok() && !order.dry_run {
            if let Some(record) = world.deployments.get_mut(&name) {
                record.manifest = Some(order.text.clone());
            }
            world.journal.record(scribe.lock("release"));
        }
    });
    result.map(|()| format!("/deployments/{name}"))
}

async fn carry_out(run: &Run, order: &DeployOrder) -> Result<(), Halt> {
    let total = 1;
    let planned =
        run.step(&step("Preparing deployment", total, 0, "Preparing deployment"), prepare::plan(run, order)).await?;
    let agents = ask_agents(run, &planned, order).await?;
    let rendering = prepare::render(run, planned, agents, order);
    let prepared = run.step(&step("Preparing deployment", total, 1, "Rendering templates"), rendering).await?;
    if order.dry_run {
        return Ok(());
    }
    let finding = step("Preparing package compilation", 1, 0, "Finding packages to compile");
    run.step(&finding, async { Ok(()) }).await?;
    bind(run, &prepared);
    delete_unneeded(run, &prepared, order).await?;
    create_missing(run, &prepared).await?;
    let verb = match order.converge.as_ref().map(|converge| converge.target) {
        None => "update",
        Some(Target::Started) => "start",
        Some(Target::Stopped | Target::Detached) => "stop",
        Some(Target::Restart) => "restart",
        Some(Target::Recreate) => "recreate",
    };
    update::all(run, prepared.groups, &order.skip_drain, verb).await?;
    run.with(|world, scribe| {
        if let Some(record) = world.deployments.get_mut(&scribe.deployment) {
            let order: Vec<String> = prepared.order.clone();
            let place = |id: &str| order.iter().position(|known| known == id);
            record.instances.sort_by_key(|instance| place(&instance.id));
        }
    });
    Ok(())
}

/// The state of the agents of all VMs. An agent that does not answer fails the deploy, unless its VM is recreated
/// anyway.
async fn ask_agents(run: &Run, planned: &prepare::Planned, order: &DeployOrder) -> Result<Vec<(String, Agent)>, Halt> {
    let with_vm = planned.existing.iter().filter(|instance| instance.vm.is_some());
    let asked = with_vm.map(|instance| async move {
        let Some(vm) = &instance.vm else { return Ok((instance.id.clone(), Agent::None)) };
        let agent = match state_of(run, vm).await {
            Some(state) if state.job_state == "running" => Agent::Running,
            Some(_) => Agent::Idle,
            None if order.fix => Agent::Silent,
            None => {
                let (name, agent) = (instance.name(), &vm.agent_id);
                let text =
                    format!("Timed out sending 'get_state' to instance: '{name}', agent-id: '{agent}' after 5 seconds");
                return Err(Halt::Failed(crate::DirectorError::new(500, 450_002, text)));
            }
        };
        Ok((instance.id.clone(), agent))
    });
    futures::future::join_all(asked).await.into_iter().collect()
}

/// Records the new state: new instances, which have no VM yet, and the releases and stemcells of the deployment.
fn bind(run: &Run, prepared: &Prepared) {
    run.with(|world, scribe| {
        for action in ["acquire", "release"] {
            for release in &prepared.in_use.releases {
                world.journal.record(scribe.foreign_lock(action, format!("lock:release:{}", release.name)));
            }
        }
        world.dns.set_links(&scribe.deployment, prepared.links.clone());
        let record = world.deployments.entry(scribe.deployment.clone()).or_default();
        record.wanted = prepared.wanted.clone();
        record.in_use = Some(prepared.in_use.clone());
        record.resolved = Some(Arc::clone(&prepared.resolved));
        record.instances.extend(prepared.new_rows.iter().cloned());
    });
}

async fn delete_unneeded(run: &Run, prepared: &Prepared, order: &DeployOrder) -> Result<(), Halt> {
    let total = prepared.deleted.len();
    let deletions = prepared.deleted.iter().enumerate().map(|(index, instance)| async move {
        let step = step("Deleting unneeded instances", total, index, instance.title());
        let drain = order.skip_drain.drains(&instance.group);
        run.step(&step, instance::delete(run, instance, drain, order.fix)).await
    });
    in_flight(WIDTH, deletions).await?;
    if total > 0 {
        run.executor.sync_dns().await;
    }
    Ok(())
}

async fn create_missing(run: &Run, prepared: &Prepared) -> Result<(), Halt> {
    let missing: Vec<&Change> =
        prepared.groups.iter().flat_map(|group| &group.changes).filter(|change| change.lacks_vm()).collect();
    let total = missing.len();
    let creations = missing.into_iter().enumerate().map(|(index, change)| async move {
        let step = step("Creating missing vms", total, index, change.after.title());
        run.step(&step, instance::create_vm(run, &change.after, &change.shape)).await
    });
    in_flight(WIDTH, creations).await?;
    if total > 0 {
        run.executor.sync_dns().await;
    }
    Ok(())
}
