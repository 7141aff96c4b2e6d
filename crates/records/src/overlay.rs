//! Applies changes of `records.json` to the director's facts, where both together say enough. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use boshy_mesh::{Address, Deployment, Instance, InstanceGroup, Inventory, Label, Moment, Timestamp};

use crate::{Record, change::Change};

/// Instances by id: the new state of each, and its deployment. `None` for one that is gone.
pub(crate) type Proposed = BTreeMap<String, (String, Option<Instance>)>;

/// An instance that is gone, and its group: the names of deployment and group.
struct End<'a> {
    id: &'a str,
    group: (String, String),
}

/// Where the facts have what.
pub(crate) struct Known<'i> {
    inventory: &'i Inventory,
    instances: HashMap<&'i str, (&'i Deployment, &'i Instance)>,
    deployments: HashMap<String, &'i Deployment>,
}

impl<'i> Known<'i> {
    pub(crate) fn of(inventory: &'i Inventory) -> Self {
        let all = inventory.deployments.iter();
        let of = |deployment: &'i Deployment| deployment.instances.iter().map(move |one| (&*one.id, (deployment, one)));
        let named = |deployment: &'i Deployment| Some((canonical(&deployment.name)?, deployment));
        Self { inventory, instances: all.clone().flat_map(of).collect(), deployments: all.filter_map(named).collect() }
    }

    /// The deployment of an instance, and the instance as the director knows it. `None` when neither is known.
    /// `recorded` is the deployment's canonical name.
    pub(crate) fn place(&self, id: &str, recorded: &str) -> Option<(&'i Deployment, Option<&'i Instance>)> {
        match self.instances.get(id) {
            Some((deployment, instance)) => Some((deployment, Some(instance))),
            None => Some((self.deployments.get(recorded)?, None)),
        }
    }

    /// What becomes of the instances. Left out are changes after which the mesh would have to guess: an instance whose
    /// group or networks the director has to tell first, an address that another instance has, and the end of the last
    /// reachable instances of a group.
    pub(crate) fn proposed<'c>(&self, changes: impl Iterator<Item = (&'c String, &'c Change)>) -> Proposed {
        let (mut proposed, mut ends) = (Proposed::new(), BTreeMap::<Moment, Vec<End<'_>>>::new());
        for (id, change) in changes {
            let Some((deployment, instance)) = self.place(id, &change.deployment) else { continue };
            let rows = if change.rows.is_empty() { &change.last } else { &change.rows };
            let next = next(deployment, instance, rows, change.since);
            if change.ended {
                proposed.insert(id.clone(), (deployment.name.clone(), None));
                continue;
            }
            if change.rows.is_empty() {
                let group = next.as_ref().or(instance).map(|instance| instance.group.clone()).unwrap_or_default();
                ends.entry(change.at).or_default().push(End { id, group: (deployment.name.clone(), group) });
            }
            if next.is_some() {
                proposed.insert(id.clone(), (deployment.name.clone(), next));
            }
        }
        self.keep_last_of_groups(&mut proposed, ends);
        self.keep_addresses(&mut proposed);
        proposed
    }

    /// All instances as they would be.
    fn after<'s>(&'s self, proposed: &'s Proposed) -> impl Iterator<Item = (&'s str, &'s Instance)> {
        let stays = |one: &&Instance| !proposed.contains_key(&one.id);
        let all = self.inventory.deployments.iter();
        let kept = all.flat_map(move |deployment| {
            deployment.instances.iter().filter(stays).map(|instance| (&*deployment.name, instance))
        });
        kept.chain(proposed.values().filter_map(|(deployment, instance)| Some((&**deployment, instance.as_ref()?))))
    }

    /// Takes the ends of instances one version of the file after the other. One that would leave a group without a
    /// reachable instance is not taken: it may be an empty file.
    fn keep_last_of_groups(&self, proposed: &mut Proposed, ends: BTreeMap<Moment, Vec<End<'_>>>) {
        for ended in ends.into_values() {
            let before: BTreeSet<(String, String)> = self.manned_groups(proposed);
            let end = |End { id, group }: End<'_>| {
                (proposed.insert(id.to_owned(), (group.0.clone(), None)), id.to_owned(), group)
            };
            let known: Vec<_> = ended.into_iter().map(end).collect();
            let after = self.manned_groups(proposed);
            for (known, id, group) in known {
                if !before.contains(&group) || after.contains(&group) {
                    continue;
                }
                match known {
                    Some(known) => proposed.insert(id, known),
                    None => proposed.remove(&id),
                };
            }
        }
    }

    /// The groups that have a reachable instance, each with its deployment.
    fn manned_groups(&self, proposed: &Proposed) -> BTreeSet<(String, String)> {
        let is_there = |(_, instance): &(&str, &Instance)| instance.expects_vm && !instance.ips.is_empty();
        let group = |(deployment, instance): (&str, &Instance)| (deployment.to_owned(), instance.group.clone());
        self.after(proposed).filter(is_there).map(group).collect()
    }

    /// An address that another instance has as well leads to none of those that the file alone puts there.
    fn keep_addresses(&self, proposed: &mut Proposed) {
        let mut claims: HashMap<IpAddr, u32> = HashMap::new();
        self.after(proposed)
            .flat_map(|(_, instance)| &instance.ips)
            .for_each(|address| *claims.entry(address.ip).or_default() += 1);
        for instance in proposed.values_mut().filter_map(|(_, instance)| instance.as_mut()) {
            instance.ips.retain(|address| claims.get(&address.ip) == Some(&1));
        }
    }
}

/// The instance with the VM of the rows; `None` when the director has to tell more.
fn next(deployment: &Deployment, instance: Option<&Instance>, rows: &[Record], since: Timestamp) -> Option<Instance> {
    let first = rows.first()?;
    let group = match instance {
        Some(instance) => deployment.group_of(instance)?,
        None => group_named(deployment, &first.instance_group)?,
    };
    let has_row = |network: &str| rows.iter().any(|row| canonical(network).as_deref() == Some(&row.network));
    if group.networks.is_empty() || !group.networks.iter().all(|network| has_row(&network.name)) {
        return None;
    }
    let known = instance.cloned().unwrap_or_else(|| Instance { group: group.name.clone(), ..Instance::default() });
    let addresses: BTreeSet<Address> = rows.iter().map(|row| row.address).collect();
    Some(Instance {
        id: first.id.clone(),
        index: first.index.or(known.index),
        az: first.az.clone().or(known.az.clone()),
        ips: addresses.into_iter().collect(),
        expects_vm: true,
        agent_id: first.agent_id.clone(),
        vm_created_at: None,
        since: since.0,
        ..known
    })
}

/// The only group with this canonical name.
fn group_named<'d>(deployment: &'d Deployment, recorded: &str) -> Option<&'d InstanceGroup> {
    let mut named = deployment.groups.iter().filter(|group| canonical(&group.name).as_deref() == Some(recorded));
    named.next().filter(|_| named.next().is_none())
}

/// The facts with the proposed states.
pub(crate) fn with(mut inventory: Inventory, proposed: Proposed) -> Inventory {
    let mut states: HashMap<String, Vec<Option<Instance>>> = HashMap::new();
    for deployment in &mut inventory.deployments {
        deployment.instances.retain(|instance| !proposed.contains_key(&instance.id));
    }
    proposed.into_values().for_each(|(deployment, state)| states.entry(deployment).or_default().push(state));
    for deployment in &mut inventory.deployments {
        let Some(states) = states.remove(&deployment.name) else { continue };
        deployment.instances.extend(states.into_iter().flatten());
        deployment.instances.sort();
    }
    inventory
}

/// A name in the form that BOSH uses in DNS names.
pub(crate) fn canonical(name: &str) -> Option<String> {
    Label::canonical(name).ok().map(|label| label.to_string())
}
