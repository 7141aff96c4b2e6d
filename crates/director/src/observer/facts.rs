//! What is known of each deployment. Pure: values in, values out, time is brought along.
//!
//! What only an error would say of a deployment that exists is believed when a second answer says the same, a few seconds later: that it is
//! not there though it is listed, that it is not listed, that its manifest has no instance groups, that no instance of one of its
//! groups can be reached any more. Everything else is believed at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use boshy_mesh::{Deployment, Instance, InstanceGroup, Inventory, Place, Problem, Timestamp};
use err_report::Report;

use super::{DeploymentStatus, Moment, agenda::Outcome};
use crate::{
    client::ClientError,
    manifest,
    wire::{DeploymentRow, InstanceRow, ReadInstances},
    yaml::Limits,
};

/// Problems of one manifest that a status names.
const MAX_PROBLEMS_SHOWN: usize = 10;

/// What two questions about a deployment were answered with.
#[derive(Debug)]
pub struct Reading {
    /// Text of the manifest, none before the first deploy has ended.
    pub manifest: Result<Option<String>, ClientError>,
    /// Its instances.
    pub instances: Result<Vec<InstanceRow>, ClientError>,
}

/// All that is known.
pub(super) struct Facts {
    limits: Limits,
    confirm_after: Duration,
    deployments: BTreeMap<String, Known>,
    listed_nothing_at: Option<Duration>,
    listed_once: bool,
    complete: bool,
    is_newer: bool,
    inventory: Arc<Inventory>,
}

/// What a list brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Deployments that were not known, and those that are known no longer.
    pub(super) changed: BTreeSet<String>,
    /// Those that it lacks for the first time: asked for by name, the director may say the same at once.
    pub(super) missing: BTreeSet<String>,
    /// It lacks something, and a second list is to say so as well.
    pub(super) doubtful: bool,
}

/// What a reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) outcome: Outcome,
    /// Whether the facts are others than before.
    pub(super) changed: bool,
    /// Whether the director says that there is no such deployment, which its list should say as well.
    pub(super) denied: bool,
}

/// Who said that there is no such deployment, and when first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    List(Duration),
    Reading(Duration),
}

/// What of one deployment goes into an inventory.
type Content = (Option<Vec<InstanceGroup>>, Option<Vec<Instance>>, [Vec<Problem>; 2]);

/// What is known of one deployment.
#[derive(Default)]
struct Known {
    groups: Option<Vec<InstanceGroup>>,
    instances: Option<Vec<Instance>>,
    manifest_problems: Vec<Problem>,
    instance_problems: Vec<Problem>,
    last_good: Option<Timestamp>,
    error: Option<String>,
    attempted: bool,
    denied: Option<Denial>,
    /// Since when the manifest is said to have no groups.
    no_groups_since: Option<Duration>,
    /// Groups of which no instance is said to be left, and since when.
    deserted: BTreeMap<String, Duration>,
}

impl Facts {
    pub(super) fn new(limits: Limits, confirm_after: Duration) -> Self {
        Self {
            limits,
            confirm_after,
            deployments: BTreeMap::new(),
            listed_nothing_at: None,
            listed_once: false,
            complete: false,
            is_newer: false,
            inventory: Arc::default(),
        }
    }

    /// Begins with facts of an earlier life. They stand in for what cannot be read, and everything is read anew.
    pub(super) fn resuming(limits: Limits, confirm_after: Duration, inventory: Arc<Inventory>) -> Self {
        let known = |deployment: &Deployment| Known {
            groups: Some(deployment.groups.clone()),
            instances: Some(deployment.instances.clone()),
            // Which half they are of is not kept, and both are read anew.
            instance_problems: deployment.problems.clone(),
            ..Known::default()
        };
        let deployments = inventory.deployments.iter().map(|each| (each.name.clone(), known(each))).collect();
        Self { deployments, inventory, ..Self::new(limits, confirm_after) }
    }

    /// Takes a list of the deployments there are.
    pub(super) fn list(&mut self, rows: &[DeploymentRow], now: Duration) -> Listed {
        let mut listed = Listed::default();
        let confirm_after = self.confirm_after;
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        self.deployments.retain(|name, known| {
            if names.contains(name.as_str()) {
                return true;
            }
            let is_first = known.denied.is_none();
            let is_gone = known.is_denied_by_list(now, confirm_after);
            if is_first {
                listed.missing.insert(name.clone());
            } else if is_gone {
                listed.changed.insert(name.clone());
            }
            !is_gone
        });
        for name in names {
            let known = self.deployments.entry(name.to_owned()).or_insert_with(|| {
                listed.changed.insert(name.to_owned());
                Known::default()
            });
            if matches!(known.denied, Some(Denial::List(_))) {
                known.denied = None;
            }
        }
        self.is_newer |= !listed.changed.is_empty();
        listed.doubtful = self.deployments.values().any(|known| matches!(known.denied, Some(Denial::List(_))));
        listed.doubtful |= rows.is_empty() && !self.is_confirmed_empty(now);
        self.listed_nothing_at = if rows.is_empty() { self.listed_nothing_at.or(Some(now)) } else { None };
        self.listed_once |= !rows.is_empty() || !listed.doubtful;
        listed
    }

    fn is_confirmed_empty(&self, now: Duration) -> bool {
        self.listed_nothing_at.is_some_and(|since| now >= since + self.confirm_after)
    }

    /// Takes what was read of one deployment.
    pub(super) fn take(&mut self, name: &str, reading: Reading, now: Moment) -> Option<Taken> {
        let taken = self.take_one(name, reading, now)?;
        self.is_newer |= taken.changed;
        Some(taken)
    }

    fn take_one(&mut self, name: &str, reading: Reading, now: Moment) -> Option<Taken> {
        let known = self.deployments.get_mut(name)?;
        let errors = [reading.manifest.as_ref().err(), reading.instances.as_ref().err()];
        let denial = errors.into_iter().flatten().find(|error| error.is_gone());
        if let Some(error) = denial {
            let error = Report::new(error).to_string();
            return self.deny(name, error, now.elapsed);
        }
        known.denied = known.denied.filter(|denial| matches!(denial, Denial::List(_)));
        Some(known.take(name, reading, now, &self.limits, self.confirm_after))
    }

    /// A deployment that is not listed any more is gone. One that is listed has no facts any more once that was said twice.
    fn deny(&mut self, name: &str, error: String, now: Duration) -> Option<Taken> {
        let known = self.deployments.get_mut(name)?;
        known.attempted = true;
        known.error = Some(error);
        let since = match known.denied {
            Some(Denial::List(_)) => {
                self.deployments.remove(name);
                return Some(Taken { outcome: Outcome::Wanting, changed: true, denied: true });
            }
            Some(Denial::Reading(since)) => since,
            None => now,
        };
        known.denied = Some(Denial::Reading(since));
        if now < since + self.confirm_after {
            return Some(Taken { outcome: Outcome::Doubtful, changed: false, denied: true });
        }
        let changed = known.groups.take().is_some() | known.instances.take().is_some();
        Some(Taken { outcome: Outcome::Wanting, changed, denied: true })
    }

    /// All that are known.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.deployments.keys().map(String::as_str)
    }

    /// What is known now, the same value as before when nothing changed. Before it is complete it is what was known at the beginning.
    pub(super) fn inventory(&mut self) -> Arc<Inventory> {
        if !self.is_complete() || !std::mem::take(&mut self.is_newer) {
            return Arc::clone(&self.inventory);
        }
        let deployments = self.deployments.iter().filter_map(|(name, known)| known.facts(name)).collect();
        let inventory = Inventory { deployments, ..Inventory::default() };
        if *self.inventory != inventory {
            self.inventory = Arc::new(inventory);
        }
        Arc::clone(&self.inventory)
    }

    /// Whether every listed deployment was read or refused once since the start.
    pub(super) fn is_complete(&mut self) -> bool {
        self.complete |= self.listed_once && self.deployments.values().all(|known| known.attempted);
        self.complete
    }

    pub(super) fn statuses(&self) -> Vec<DeploymentStatus> {
        let status = |(name, known): (&String, &Known)| DeploymentStatus {
            name: name.clone(),
            last_good: known.last_good,
            error: known.error.clone(),
        };
        self.deployments.iter().map(status).collect()
    }
}

impl Known {
    /// Whether a list that lacks it is the second to say so. Notes the first.
    fn is_denied_by_list(&mut self, now: Duration, confirm_after: Duration) -> bool {
        match self.denied {
            Some(Denial::Reading(_)) => true,
            Some(Denial::List(since)) => now >= since + confirm_after,
            None => {
                self.denied = Some(Denial::List(now));
                false
            }
        }
    }

    fn take(&mut self, name: &str, reading: Reading, now: Moment, limits: &Limits, confirm_after: Duration) -> Taken {
        let before = self.content();
        let (mut wanting, mut errors, mut doubts) = (false, Vec::new(), Vec::new());
        let text = reading.manifest.map_err(|error| Report::new(error).to_string());
        match text.and_then(|text| groups(name, text, limits)) {
            Ok(read) => {
                wanting |= read.is_none();
                doubts.extend(self.take_groups(read.unwrap_or_default(), now.elapsed, confirm_after));
            }
            Err(error) => errors.push(error),
        }
        match reading.instances.map_err(|error| Report::new(error).to_string()) {
            Ok(rows) => {
                let mut read = ReadInstances::of(&Place::deployment(name), rows);
                wanting |= !read.unread.is_empty();
                self.instance_problems = std::mem::take(&mut read.problems);
                doubts.extend(self.take_instances(read, now, confirm_after));
            }
            Err(error) => errors.push(error),
        }
        if errors.is_empty() && doubts.is_empty() {
            self.last_good = Some(now.wall);
        }
        let outcome = match (errors.is_empty() && !wanting, doubts.is_empty()) {
            (_, false) => Outcome::Doubtful,
            (true, true) => Outcome::Good,
            (false, true) => Outcome::Wanting,
        };
        errors.extend(doubts);
        self.error = (!errors.is_empty()).then(|| errors.join("; "));
        self.attempted = true;
        Taken { outcome, changed: before != self.content(), denied: false }
    }

    /// A manifest without any group where there were some is doubted. That a group is gone, or exposes nothing any more, is not.
    fn take_groups(&mut self, (groups, problems): Groups, now: Duration, confirm_after: Duration) -> Option<String> {
        let wipes = groups.is_empty() && self.groups.as_ref().is_some_and(|known| !known.is_empty());
        let since = wipes.then(|| self.no_groups_since.unwrap_or(now));
        if since.is_some_and(|since| now < since + confirm_after) {
            self.no_groups_since = since;
            return Some(
                "the manifest is said to have no instance groups any more, which is to be confirmed".to_owned(),
            );
        }
        self.no_groups_since = None;
        (self.groups, self.manifest_problems) = (Some(groups), problems);
        None
    }

    /// The instances of a group of which none can be reached any more are kept until that is confirmed, unless the manifest has
    /// dropped the group, or they are in another by now. That there are fewer is not doubted.
    fn take_instances(&mut self, read: ReadInstances, now: Moment, confirm_after: Duration) -> Option<String> {
        let known = self.instances.take().unwrap_or_default();
        let mut instances = remembering(read, &known, self.groups.as_deref().unwrap_or_default(), now.wall);
        let now = now.elapsed;
        let mut deserted = deserted_groups(&known, &instances);
        let groups: BTreeSet<&str> = self.groups.iter().flatten().map(|group| group.name.as_str()).collect();
        deserted.retain(|group| groups.contains(group.as_str()));
        let since = |group: String| {
            let since = self.deserted.get(&group).copied().unwrap_or(now);
            (group, since)
        };
        self.deserted = deserted.into_iter().map(since).filter(|(_, since)| now < *since + confirm_after).collect();
        instances.retain(|instance| !self.deserted.contains_key(&instance.group));
        instances.extend(known.into_iter().filter(|instance| self.deserted.contains_key(&instance.group)));
        instances.sort();
        self.instances = Some(instances);
        let groups = self.deserted.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        (!groups.is_empty()).then(|| format!("no instance of {groups} is said to be left, which is to be confirmed"))
    }

    fn content(&self) -> Content {
        let problems = [self.manifest_problems.clone(), self.instance_problems.clone()];
        (self.groups.clone(), self.instances.clone(), problems)
    }

    /// Facts once both halves have been read: a service without its instances would be worse than none.
    fn facts(&self, name: &str) -> Option<Deployment> {
        let (groups, instances) = (self.groups.clone()?, self.instances.clone()?);
        let problems = self.manifest_problems.iter().chain(&self.instance_problems).cloned().collect();
        Some(Deployment { name: name.to_owned(), groups, instances, problems })
    }
}

/// Groups that had instances that could be reached, none of which can be any more.
fn deserted_groups(known: &[Instance], instances: &[Instance]) -> BTreeSet<String> {
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

type Groups = (Vec<InstanceGroup>, Vec<Problem>);

/// What a manifest exposes, and what of it has no effect.
fn groups(name: &str, text: Option<String>, limits: &Limits) -> Result<Option<Groups>, String> {
    let Some(text) = text else { return Ok(None) };
    let written = manifest::read(name, &text, limits)
        .map_err(|error| format!("{}: {error}", Place::deployment(name).key("manifest")))?;
    let checked = written.check().map(|groups| Some((groups, written.problems)));
    checked.map_err(|problems| {
        let shown = problems.iter().take(MAX_PROBLEMS_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("; ");
        match problems.len().saturating_sub(MAX_PROBLEMS_SHOWN) {
            0 => shown,
            more => format!("{shown}; and {more} more"),
        }
    })
}

/// New facts beside those known of the same instances: since when each is as it is, and in which group it was last found. What could not be
/// read of an instance stays as it was.
fn remembering(read: ReadInstances, known: &[Instance], groups: &[InstanceGroup], now: Timestamp) -> Vec<Instance> {
    let is_group = |name: &str| groups.iter().any(|group| group.name == name);
    let mut instances = read.instances;
    let ids: BTreeSet<_> = instances.iter().map(|instance| instance.id.clone()).collect();
    let was_missed = |instance: &&Instance| read.nameless || read.unread.contains(&instance.id);
    instances.extend(known.iter().filter(|instance| !ids.contains(&instance.id)).filter(was_missed).cloned());
    let known: BTreeMap<&str, &Instance> = known.iter().map(|instance| (instance.id.as_str(), instance)).collect();
    // A group is renamed as a whole, so that what became of its known instances tells where new ones belong.
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

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
