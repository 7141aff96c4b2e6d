//! What is known of each deployment, and which of them to read again. Pure: values in, values out, time is brought along.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use boshy_mesh::{Deployment, Instance, InstanceGroup, Inventory, Place, Problem, Timestamp};
use err_report::Report;

use super::{DeploymentStatus, ObserverSettings, events::News};
use crate::{
    client::ClientError,
    manifest,
    wire::{DeploymentRow, InstanceRow, ReadInstances},
    yaml::Limits,
};

/// Pause before the third attempt at a deployment that cannot be read. The second is made in the next round; from the third
/// on pauses double, up to a full pass.
const FIRST_PAUSE_SECONDS: u64 = 5;
/// Problems of one manifest that a status names.
const MAX_PROBLEMS_SHOWN: usize = 10;

/// What two questions about a deployment were answered with.
pub(super) struct Reading {
    pub(super) manifest: Result<Option<String>, ClientError>,
    pub(super) instances: Result<Vec<InstanceRow>, ClientError>,
}

/// All that is known.
pub(super) struct Facts {
    settings: ObserverSettings,
    deployments: BTreeMap<String, Known>,
    last_full_pass: Option<Timestamp>,
    seen_empty: bool,
    listed_once: bool,
    complete: bool,
    inventory: Arc<Inventory>,
}

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
    fresh: bool,
    // Readings in a row that leave something to be desired: an error, no manifest yet, an emptiness to be confirmed.
    wanting: u32,
    retry_at: Option<Timestamp>,
    doubts_manifest: bool,
    doubts_instances: bool,
}

impl Facts {
    pub(super) fn new(settings: ObserverSettings) -> Self {
        Self {
            settings,
            deployments: BTreeMap::new(),
            last_full_pass: None,
            seen_empty: false,
            listed_once: false,
            complete: false,
            inventory: Arc::default(),
        }
    }

    /// Begins with facts of an earlier life. They stand in for what cannot be read, and everything is read anew.
    pub(super) fn resuming(settings: ObserverSettings, inventory: Arc<Inventory>) -> Self {
        let known = |deployment: &Deployment| Known {
            groups: Some(deployment.groups.clone()),
            instances: Some(deployment.instances.clone()),
            // Which half they are of is not kept, and both are read anew.
            instance_problems: deployment.problems.clone(),
            ..Known::default()
        };
        let deployments = inventory.deployments.iter().map(|each| (each.name.clone(), known(each))).collect();
        Self { deployments, inventory, ..Self::new(settings) }
    }

    /// Takes the list of deployments and says whether it is believed. One that leaves the list is gone; that all are gone is
    /// believed only when a second list says so.
    pub(super) fn list(&mut self, rows: &[DeploymentRow]) -> bool {
        let first_time = rows.is_empty() && !self.seen_empty;
        self.seen_empty = rows.is_empty();
        if first_time {
            return false;
        }
        self.listed_once = true;
        self.deployments.retain(|name, _| rows.iter().any(|row| row.name == *name));
        for row in rows {
            self.deployments.entry(row.name.clone()).or_default();
        }
        true
    }

    /// The deployments to read now, those that fail least first.
    ///
    /// `events_work` is false while events cannot be read or none was ever seen; then full passes are all there is, and come at
    /// their shorter period.
    pub(super) fn due(&mut self, news: &News, events_work: bool, now: Timestamp) -> Vec<String> {
        let period = if events_work { self.settings.full_pass } else { self.settings.full_pass_without_events };
        let full =
            news.missed_some || self.last_full_pass.is_none_or(|last| now.0.saturating_sub(last.0) >= period.as_secs());
        if full {
            self.last_full_pass = Some(now);
        }
        for (name, known) in &mut self.deployments {
            known.fresh &= !full && !news.deployments.contains(name);
        }
        let mut due: Vec<_> = self.deployments.iter().filter(|(_, known)| known.is_due(now)).collect();
        due.sort_by_key(|(_, known)| known.wanting);
        due.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Takes what was read of one deployment. One that vanished between two questions is simply gone.
    pub(super) fn take(&mut self, name: &str, reading: Reading, now: Timestamp) {
        let gone = |error: &ClientError| error.is_gone();
        if reading.manifest.as_ref().is_err_and(gone) || reading.instances.as_ref().is_err_and(gone) {
            self.deployments.remove(name);
            return;
        }
        let Some(known) = self.deployments.get_mut(name) else { return };
        known.take(name, reading, now, &self.settings);
    }

    /// What is known now, the same value as before when nothing changed.
    pub(super) fn inventory(&mut self) -> Arc<Inventory> {
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
    fn is_due(&self, now: Timestamp) -> bool {
        !self.fresh || self.retry_at.is_some_and(|at| at <= now)
    }

    fn take(&mut self, name: &str, reading: Reading, now: Timestamp, settings: &ObserverSettings) {
        let mut wanting = false;
        let mut errors = Vec::new();
        match reading
            .manifest
            .map_err(|error| Report::new(error).to_string())
            .and_then(|text| groups(name, text, &settings.limits))
        {
            Ok(read) => {
                let (groups, problems) = read.unzip();
                wanting |= groups.is_none();
                let wipes = groups.is_none() && self.groups.as_ref().is_some_and(|known| !known.is_empty());
                if !doubt(&mut self.doubts_manifest, wipes) {
                    self.groups = Some(groups.unwrap_or_default());
                    self.manifest_problems = problems.unwrap_or_default();
                }
            }
            Err(error) => errors.push(error),
        }
        match reading.instances.map_err(|error| Report::new(error).to_string()) {
            Ok(rows) => {
                let mut read = ReadInstances::of(&Place::deployment(name), rows);
                wanting |= !read.unread.is_empty();
                self.instance_problems = std::mem::take(&mut read.problems);
                let known = self.instances.as_deref().unwrap_or_default();
                let instances = remembering(read, known, self.groups.as_deref().unwrap_or_default(), now);
                let wipes = instances.is_empty() && self.instances.as_ref().is_some_and(|known| !known.is_empty());
                if !doubt(&mut self.doubts_instances, wipes) {
                    self.instances = Some(instances);
                }
            }
            Err(error) => errors.push(error),
        }
        if errors.is_empty() {
            self.last_good = Some(now);
        }
        wanting |= !errors.is_empty() || self.doubts_manifest || self.doubts_instances;
        self.error = (!errors.is_empty()).then(|| errors.join("; "));
        self.attempted = true;
        self.fresh = true;
        self.wanting = if wanting { self.wanting + 1 } else { 0 };
        self.retry_at = wanting.then(|| Timestamp(now.0 + pause(self.wanting, settings.full_pass.as_secs())));
    }

    /// Facts once both halves have been read: a service without its instances would be worse than none.
    fn facts(&self, name: &str) -> Option<Deployment> {
        let (groups, instances) = (self.groups.clone()?, self.instances.clone()?);
        let problems = self.manifest_problems.iter().chain(&self.instance_problems).cloned().collect();
        Some(Deployment { name: name.to_owned(), groups, instances, problems })
    }
}

/// Whether to wait for a second reading: what would wipe facts is believed only when it is seen twice in a row.
fn doubt(doubted: &mut bool, wipes: bool) -> bool {
    *doubted = wipes && !*doubted;
    *doubted
}

fn pause(wanting: u32, longest: u64) -> u64 {
    match wanting {
        0 | 1 => 0,
        n => (FIRST_PAUSE_SECONDS << (n - 2).min(20)).min(longest),
    }
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
