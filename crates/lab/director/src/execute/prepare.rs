//! All decisions before a VM is touched: the instances, their jobs, and whether all templates can be rendered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    run::{Halt, Run},
    update::GroupUpdate,
};
use crate::{
    ApplySpec, DirectorError, InstanceState,
    cloud::CloudConfig,
    manifest::{DeployGroup, DeployManifest},
    resolve::{self, Inputs, Peer, Resolved, Surroundings},
    world::{
        Agent, Asked, Change, ConfigIds, Converge, DeployOrder, DnsAlias, DnsLinks, InUse, Instance, Plan, Rollout,
        Scribe, Situation, Target, VmShape, World, plan as plan_instances,
    },
};

/// The planned instances.
pub(super) struct Planned {
    wanted: DeployManifest,
    /// The current instances.
    pub(super) existing: Vec<Instance>,
    plan: Plan,
    rollouts: BTreeMap<String, Rollout>,
    in_use: InUse,
    resolved: Arc<Resolved>,
}

/// The work to be done.
pub(super) struct Prepared {
    pub(super) wanted: DeployManifest,
    pub(super) in_use: InUse,
    pub(super) resolved: Arc<Resolved>,
    pub(super) links: DnsLinks,
    pub(super) deleted: Vec<Instance>,
    /// New instances, without a VM.
    pub(super) new_rows: Vec<Instance>,
    /// Only groups that need an update.
    pub(super) groups: Vec<GroupUpdate>,
    /// UUIDs of all instances in the order of the manifest.
    pub(super) order: Vec<String>,
}

/// Parses the manifest, looks up what it names, and plans instances and addresses.
pub(super) async fn plan(run: &Run, order: &DeployOrder) -> Result<Planned, Halt> {
    let planned = run.with(|world, scribe| plan_in(world, scribe, order))?;
    Ok(planned)
}

fn plan_in(world: &mut World, scribe: &Scribe, order: &DeployOrder) -> Result<Planned, DirectorError> {
    let (_, wanted) = DeployManifest::parse(&order.text)?;
    let rollouts = rollouts(&wanted, order)?;
    let existing = world.deployments.get(&scribe.deployment).map(|record| record.instances.clone()).unwrap_or_default();
    let configs = order.configs.clone().unwrap_or_else(|| world.latest_configs());
    let cloud = CloudConfig::parse(world.cloud_config(&configs)?)?;
    let resolved = resolved(world, &order.text, &configs)?;
    let asked_for = converged(&existing, order.converge.as_ref());
    let taken = world.taken_addresses();
    let situation =
        Situation { cloud: &cloud, existing: &asked_for, previous: &DeployManifest::default(), taken, now: scribe.now };
    let plan = plan_instances(situation, &wanted, world.ids())?;
    world.reserve(scribe.task, &plan.instances);
    let in_use = InUse { releases: resolved.releases().to_vec(), stemcells: resolved.stemcells().to_vec(), configs };
    Ok(Planned { wanted, existing, plan, rollouts, in_use, resolved: Arc::new(resolved) })
}

/// The jobs of each group, with the runtime configs of the deploy.
fn resolved(world: &mut World, manifest: &str, configs: &ConfigIds) -> Result<Resolved, DirectorError> {
    let mut runtime: Vec<_> = configs.runtime.iter().filter_map(|id| world.configs.version(id)).collect();
    runtime.sort_by_key(|config| (config.name != "default", config.name.clone()));
    let runtime_configs: Vec<String> = runtime.into_iter().map(|config| config.content.clone()).collect();
    let deployments = &world.deployments;
    let others = |name: &str| {
        let record = deployments.get(name)?;
        Some(record.resolved.clone().unwrap_or_else(|| Arc::new(Resolved::nothing(name))))
    };
    resolve::resolve(Inputs {
        manifest,
        runtime_configs: &runtime_configs,
        teams: &[],
        releases: &world.stores.releases,
        stemcells: &world.stores.stemcells,
        variables: &mut world.stores.variables,
        others: &others,
    })
}

fn rollouts(wanted: &DeployManifest, order: &DeployOrder) -> Result<BTreeMap<String, Rollout>, DirectorError> {
    let rollout = |group: &DeployGroup| {
        let (canaries, in_flight) = (order.canaries.as_deref(), order.max_in_flight.as_deref());
        let rollout = Rollout::new(wanted.update.as_ref(), group.update.as_ref(), canaries, in_flight)?;
        Ok((group.name.clone(), rollout))
    };
    wanted.instance_groups.iter().map(rollout).collect()
}

/// Instances with the requested states.
fn converged(existing: &[Instance], converge: Option<&Converge>) -> Vec<Instance> {
    let mut instances = existing.to_vec();
    for instance in instances.iter_mut().filter(|instance| is_meant(converge, instance)) {
        instance.state = match converge.map(|converge| converge.target) {
            Some(Target::Stopped) => InstanceState::Stopped,
            Some(Target::Detached) => InstanceState::Detached,
            Some(Target::Started | Target::Restart | Target::Recreate) => InstanceState::Started,
            None => instance.state,
        };
    }
    instances
}

fn is_meant(converge: Option<&Converge>, instance: &Instance) -> bool {
    converge.is_some_and(|converge| {
        converge.group.as_ref().is_none_or(|group| *group == instance.group)
            && converge.instance.as_ref().is_none_or(|id| *id == instance.id || *id == instance.index.to_string())
    })
}

/// Renders all templates and compares the result with the current state.
pub(super) async fn render(
    run: &Run,
    planned: Planned,
    agents: Vec<(String, Agent)>,
    order: &DeployOrder,
) -> Result<Prepared, Halt> {
    let specs = specs(run, &planned).await?;
    let agents: BTreeMap<String, Agent> = agents.into_iter().collect();
    run.with(|world, scribe| {
        let nothing = Arc::new(ApplySpec { jobs: Vec::new(), packages: Vec::new() });
        let mut groups = Vec::new();
        for group in &planned.wanted.instance_groups {
            let members = planned.plan.instances.iter().filter(|instance| instance.group == group.name);
            let changes = members.map(|instance| {
                let spec = specs.get(&instance.id).unwrap_or(&nothing);
                change(world, scribe, &planned, (group, instance, spec), &agents, order)
            });
            let changes: Vec<Change> = changes.filter(Change::is_needed).collect();
            let Some(rollout) = planned.rollouts.get(&group.name).cloned() else { continue };
            groups.push(GroupUpdate { name: group.name.clone(), size: group.instances as usize, rollout, changes });
        }
        let is_new = |instance: &&Instance| planned.plan.created.contains(&instance.id);
        let new_rows = planned.plan.instances.iter().filter(is_new).map(|new| Instance { vm: None, ..new.clone() });
        Ok(Prepared {
            new_rows: new_rows.collect(),
            order: planned.plan.instances.iter().map(|instance| instance.id.clone()).collect(),
            deleted: planned.plan.deleted,
            links: links(&planned.resolved, &planned.wanted),
            wanted: planned.wanted,
            in_use: planned.in_use,
            resolved: planned.resolved,
            groups,
        })
    })
}

fn change(
    world: &mut World,
    scribe: &Scribe,
    planned: &Planned,
    (group, wanted, spec): (&DeployGroup, &Instance, &Arc<ApplySpec>),
    agents: &BTreeMap<String, Agent>,
    order: &DeployOrder,
) -> Change {
    let before = planned.existing.iter().find(|existing| existing.id == wanted.id).cloned();
    let agent = agents.get(&wanted.id).copied().unwrap_or(Agent::None);
    let meant = is_meant(order.converge.as_ref(), wanted);
    let target = order.converge.as_ref().filter(|_| meant).map(|converge| converge.target);
    let asked = Asked {
        restart: target == Some(Target::Restart),
        recreate: order.recreate || target == Some(Target::Recreate),
    };
    let facts = before.as_ref().and_then(|before| world.vms.get(&before.vm.as_ref()?.cid)).cloned();
    let shape = shape(&planned.resolved, group, wanted);
    let to_be = (shape, Arc::clone(spec));
    let mut change = Change::new(before, wanted.clone(), to_be, facts.as_ref(), agent, asked);
    let had = change.before.as_ref().and_then(|before| before.vm.clone());
    if change.new_vm && change.after.vm == had {
        change.after.vm = Some(world.new_vm(scribe.now));
    } else if !change.new_vm && change.after.expects_vm() {
        change.after.vm = had;
    }
    change
}

fn shape(resolved: &Resolved, group: &DeployGroup, instance: &Instance) -> VmShape {
    let stemcell = resolved.stemcell_of(&group.name).map(|row| format!("{}/{}", row.name, row.version));
    VmShape {
        os: resolved.stemcell_os(&group.name).unwrap_or_default().to_owned(),
        stemcell: stemcell.unwrap_or_default(),
        vm_type: group.vm_type.clone(),
        networks: instance.networks.clone(),
    }
}

/// The DNS entries of a deployment's links.
fn links(resolved: &Resolved, wanted: &DeployManifest) -> DnsLinks {
    let groups = wanted.instance_groups.iter().map(|group| group.name.as_str());
    let provided =
        groups.flat_map(|group| resolved.link_groups(group).into_iter().map(|link| (group.to_owned(), link)));
    let aliases = resolved.aliases().into_iter().map(|alias| DnsAlias {
        domain: alias.domain,
        link: alias.link_group,
        health_filter: alias.health_filter,
        initial_health_check: alias.initial_health_check,
        placeholder_type: alias.placeholder_type,
    });
    DnsLinks { provided: provided.collect(), aliases: aliases.collect() }
}

/// The spec of each instance with a VM, by uuid. Rendering takes time, so nothing is locked in the meantime.
async fn specs(run: &Run, planned: &Planned) -> Result<BTreeMap<String, Arc<ApplySpec>>, Halt> {
    let instances = &planned.plan.instances;
    let with_vm: Vec<Instance> = instances.iter().filter(|instance| instance.expects_vm()).cloned().collect();
    let renderings = run.with(|world, _| {
        let zones: BTreeSet<String> = with_vm.iter().filter_map(|instance| instance.az.clone()).collect();
        let az_ids = zones.into_iter().map(|az| (az.clone(), world.dns.az_id(&az))).collect();
        let peers = |name: &str| {
            let record = world.deployments.get(name)?;
            let resolved = record.resolved.clone().unwrap_or_else(|| Arc::new(Resolved::nothing(name)));
            Some(Peer { resolved, instances: record.instances.clone() })
        };
        let surroundings = Surroundings { instances, peers: &peers, az_ids: &az_ids };
        planned.resolved.renderings(&with_vm, &surroundings)
    })?;
    let renderer = run.executor.renderer.clone();
    #[expect(clippy::disallowed_methods, reason = "its end is waited for, and its panic is an error of the task")]
    let rendered = tokio::task::spawn_blocking(move || renderings.render(&renderer)).await;
    let interrupted = |_| DirectorError::new(500, 100, "Rendering templates was interrupted");
    let specs = rendered.map_err(interrupted)??;
    Ok(specs.into_iter().map(|(id, spec)| (id, Arc::new(spec))).collect())
}
