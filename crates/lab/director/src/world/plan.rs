//! Compares the instances that a manifest wants with the existing ones. Pure.
//!
//! Instances that stay keep index, availability zone, id and addresses. New ones get the lowest free index and the
//! availability zone with the fewest instances, in the order of the group's zones. Superfluous ones are those with the
//! highest index. An address of a deleted instance is not assigned again in the same deploy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use boshy_mesh::Timestamp;

use super::{Instance, InstanceState, Vm, ids::Ids};
use crate::{
    DirectorError,
    cloud::CloudConfig,
    manifest::{DeployGroup, DeployManifest, GroupNetwork},
};

/// Changes of a deploy.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// All instances afterwards.
    pub(crate) instances: Vec<Instance>,
    /// Ids of new instances.
    pub(crate) created: BTreeSet<String>,
    /// Ids of instances that stay and change.
    pub(crate) updated: BTreeSet<String>,
    /// Deleted instances.
    pub(crate) deleted: Vec<Instance>,
}

/// Inputs of a plan.
pub(crate) struct Situation<'a> {
    pub(crate) cloud: &'a CloudConfig,
    pub(crate) existing: &'a [Instance],
    pub(crate) previous: &'a DeployManifest,
    /// Addresses of all instances of all deployments.
    pub(crate) taken: BTreeSet<Ipv4Addr>,
    pub(crate) now: Timestamp,
}

/// Plans a deploy.
pub(crate) fn plan(
    mut situation: Situation<'_>,
    wanted: &DeployManifest,
    ids: &mut Ids,
) -> Result<Plan, DirectorError> {
    let mut plan = Plan::default();
    for group in &wanted.instance_groups {
        check(situation.cloud, group)?;
        place(&mut situation, group, ids, &mut plan)?;
    }
    let stays: BTreeSet<&str> = plan.instances.iter().map(|instance| instance.id.as_str()).collect();
    plan.deleted =
        situation.existing.iter().filter(|instance| !stays.contains(instance.id.as_str())).cloned().collect();
    Ok(plan)
}

fn check(cloud: &CloudConfig, group: &DeployGroup) -> Result<(), DirectorError> {
    let name = &group.name;
    if let Some(az) = group.azs.iter().flatten().find(|az| !cloud.azs.contains(*az)) {
        let text = format!("Instance group '{name}' references unknown availability zone '{az}'");
        return Err(DirectorError::new(400, 140_018, text));
    }
    if group.networks.is_empty() {
        return Err(DirectorError::new(
            400,
            140_009,
            format!("Instance group '{name}' must specify at least one network"),
        ));
    }
    match group.networks.iter().find(|network| cloud.network(&network.name).is_none()) {
        Some(network) => {
            let text = format!("Instance group '{name}' references an unknown network '{}'", network.name);
            Err(DirectorError::new(400, 150_001, text))
        }
        None => Ok(()),
    }
}

fn place(
    situation: &mut Situation<'_>,
    group: &DeployGroup,
    ids: &mut Ids,
    plan: &mut Plan,
) -> Result<(), DirectorError> {
    let azs = group.azs.as_deref().unwrap_or_default();
    let zone_fits = |instance: &Instance| match &instance.az {
        Some(az) => azs.contains(az),
        None => azs.is_empty(),
    };
    let mut instances: Vec<Instance> = situation
        .existing
        .iter()
        .filter(|instance| instance.group == group.name && instance.errand == group.is_errand() && zone_fits(instance))
        .cloned()
        .collect();
    instances.sort_by_key(|instance| instance.index);
    instances.truncate(group.instances as usize);
    let kept: BTreeSet<String> = instances.iter().map(|instance| instance.id.clone()).collect();
    while instances.len() < group.instances as usize {
        let instance = new_instance(group, &instances, ids.uuid());
        instances.push(instance);
    }
    let previous = situation.previous.instance_groups.iter().find(|previous| previous.name == group.name);
    let changed = !previous.is_some_and(|previous| previous.makes_the_same_as(group));
    for mut instance in instances {
        let moved = settle(situation, group, &mut instance)?;
        let wants_vm = instance.expects_vm() && (instance.vm.is_none() || moved);
        if wants_vm {
            instance.vm = Some(new_vm(ids, situation.now));
        }
        if !kept.contains(&instance.id) {
            plan.created.insert(instance.id.clone());
        } else if (changed || wants_vm) && instance.expects_vm() {
            plan.updated.insert(instance.id.clone());
        }
        plan.instances.push(instance);
    }
    Ok(())
}

pub(super) fn new_vm(ids: &mut Ids, now: Timestamp) -> Vm {
    Vm { cid: format!("vm-{}", ids.uuid()), agent_id: ids.uuid(), created_at: now }
}

fn new_instance(group: &DeployGroup, others: &[Instance], id: String) -> Instance {
    let used: BTreeSet<u32> = others.iter().map(|instance| instance.index).collect();
    let index = (0..).find(|index| !used.contains(index)).unwrap_or(u32::MAX);
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    for az in others.iter().filter_map(|instance| instance.az.as_deref()) {
        *load.entry(az).or_default() += 1;
    }
    let azs = group.azs.as_deref().unwrap_or_default();
    let az = azs.iter().min_by_key(|az| load.get(az.as_str()).copied().unwrap_or(0)).cloned();
    let (state, errand) = (InstanceState::Started, group.is_errand());
    Instance { group: group.name.clone(), index, id, az, networks: Vec::new(), state, errand, vm: None }
}

/// Assigns addresses to an instance. Returns whether they changed.
fn settle(situation: &mut Situation<'_>, group: &DeployGroup, instance: &mut Instance) -> Result<bool, DirectorError> {
    if instance.errand {
        return Ok(false);
    }
    let mut networks = Vec::new();
    for network in &group.networks {
        let current = instance.networks.iter().find(|(name, _)| *name == network.name).map(|(_, ip)| *ip);
        let ip = match network.static_ips(&group.name)? {
            Some(wanted) => static_ip(situation, group, network, instance, &wanted, current)?,
            None => dynamic_ip(situation, network, instance, current)?,
        };
        situation.taken.insert(ip);
        networks.push((network.name.clone(), ip));
    }
    let moved = !instance.networks.is_empty() && instance.networks != networks;
    instance.networks = networks;
    Ok(moved)
}

fn dynamic_ip(
    situation: &Situation<'_>,
    network: &GroupNetwork,
    instance: &Instance,
    current: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, DirectorError> {
    let az = instance.az.as_deref();
    let known = situation.cloud.network(&network.name);
    let stays = current.filter(|ip| known.is_some_and(|known| known.is_dynamic(*ip, az)));
    stays.or_else(|| known?.free(az, &situation.taken)).ok_or_else(|| {
        let text = format!(
            "Failed to reserve IP for '{} ({})' for manual network '{}': no more available",
            instance.name(),
            instance.index,
            network.name
        );
        DirectorError::new(400, 130_011, text)
    })
}

fn static_ip(
    situation: &Situation<'_>,
    group: &DeployGroup,
    network: &GroupNetwork,
    instance: &Instance,
    wanted: &[Ipv4Addr],
    current: Option<Ipv4Addr>,
) -> Result<Ipv4Addr, DirectorError> {
    if wanted.len() < group.instances as usize {
        let (name, count) = (&group.name, group.instances);
        let text = format!(
            "Instance group '{name}' with network '{}' declares {} static IPs for {count} instances",
            network.name,
            wanted.len()
        );
        return Err(DirectorError::new(400, 150_002, text));
    }
    if let Some(current) = current.filter(|current| wanted.contains(current)) {
        return Ok(current);
    }
    let known = situation.cloud.network(&network.name);
    let fits = |ip: &Ipv4Addr| known.is_some_and(|known| known.is_static(*ip, instance.az.as_deref()));
    if let Some(outside) = wanted.iter().find(|ip| known.is_some_and(|known| !known.is_static_anywhere(**ip))) {
        let text = format!("IP '{outside}' on network '{}' does not belong to static pool", network.name);
        return Err(DirectorError::new(400, 130_009, text));
    }
    wanted.iter().find(|ip| fits(ip) && !situation.taken.contains(ip)).copied().ok_or_else(|| {
        let text = format!(
            "Failed to reserve a static IP of network '{}' for '{} ({})': all are in use or in another availability zone",
            network.name,
            instance.name(),
            instance.index
        );
        DirectorError::new(400, 130_008, text)
    })
}
