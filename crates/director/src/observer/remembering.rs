//! Combines new facts about instances with those known before. Pure.

use std::collections::{BTreeMap, BTreeSet};

use boshy_mesh::{Instance, InstanceGroup, Timestamp};

use crate::wire::ReadInstances;

/// Groups that had reachable instances and have none any more.
pub(super) fn deserted_groups(known: &[Instance], instances: &[Instance]) -> BTreeSet<String> {
    let reachable = |instance: &&Instance| instance.expects_vm && !instance.ips.is_empty();
    let ids: BTreeSet<&str> = instances.iter().filter(reachable).map(|instance| instance.id.as_str()).collect();
    let groups: BTreeSet<&str> = instances.iter().filter(reachable).map(|instance| instance.group.as_str()).collect();
    let mut deserted: BTreeMap<&str, bool> = BTreeMap::new();
    for instance in known.iter().filter(reachable) {
        let is_there = groups.contains(instance.group.as_str()) || ids.contains(instance.id.as_str());
        *deserted.entry(&instance.group).or_insert(true) &= !is_there;
    }
    deserted.into_iter().filter(|(_, deserted)| *deserted).map(|(group, _)| group.to_owned()).collect()
}

/// Completes new facts with the known ones of the same instances: since when each is in its state, and its last known
/// group. What could not be read of an instance stays as it was.
pub(super) fn remembering(
    read: ReadInstances,
    known: &[Instance],
    groups: &[InstanceGroup],
    now: Timestamp,
) -> Vec<Instance> {
    let is_group = |name: &str| groups.iter().any(|group| group.name == name);
    let mut instances = read.instances;
    let ids: BTreeSet<_> = instances.iter().map(|instance| instance.id.clone()).collect();
    let was_missed = |instance: &&Instance| read.nameless || read.unread.contains(&instance.id);
    instances.extend(known.iter().filter(|instance| !ids.contains(&instance.id)).filter(was_missed).cloned());
    let known: BTreeMap<&str, &Instance> = known.iter().map(|instance| (instance.id.as_str(), instance)).collect();
    // A group is renamed as a whole, so the new group of its known instances shows where new ones belong.
    let mut renamed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for instance in &mut instances {
        let before = known.get(instance.id.as_str()).copied();
        if let Some(before) = before {
            if read.unread.contains(&instance.id) && same_vm(before, instance) {
                instance.ips.clone_from(&before.ips);
            }
            if same_vm(before, instance) {
                instance.recorded.clone_from(&before.recorded);
            }
        }
        let unchanged = before.filter(|before| same_vm(before, instance) && before.ips == instance.ips);
        instance.since = unchanged.map_or(now.0, |before| before.since);
        if !is_group(&instance.group) {
            let names = before.map(|before| [Some(&before.group), before.formerly.as_ref()]);
            instance.formerly = names.into_iter().flatten().flatten().find(|name| is_group(name)).cloned();
            if let Some(was) = &instance.formerly {
                renamed.entry(instance.group.clone()).or_default().insert(was.clone());
            }
        }
    }
    for instance in instances.iter_mut().filter(|instance| instance.formerly.is_none() && !is_group(&instance.group)) {
        let was = renamed.get(&instance.group).filter(|was| was.len() == 1);
        instance.formerly = was.and_then(|was| was.first().cloned());
    }
    instances.sort();
    instances
}

fn same_vm(one: &Instance, other: &Instance) -> bool {
    (&one.agent_id, one.vm_created_at) == (&other.agent_id, other.vm_created_at)
}
