//! Known facts about each deployment. Pure: callers supply the time.
//!
//! Some conclusions about an existing deployment would usually be due to an error: that it does not exist though it is
//! listed, that it is not listed, that its manifest has no instance groups, that no instance of one of its groups is
//! reachable any more. These are accepted when a second answer says the same, a few seconds later. Everything else is
//! accepted at once.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use boshy_mesh::{CloudNetwork, Deployment, Inventory, Label, PolicyConfig, Problem};
use err_report::Report;

use super::{
    ClockReading, DeploymentStatus,
    agenda::Outcome,
    configs::Configs,
    known::{Denial, Known, Reading, Taken, Terms},
};
use crate::{manifest::RuntimeConfig, wire::DeploymentRow};
use boshy_yaml::Limits;

/// All known facts.
pub(super) struct Facts {
    limits: Limits,
    confirm_after: Duration,
    deployments: BTreeMap<String, Known>,
    listed_nothing_at: Option<Duration>,
    listed_once: bool,
    complete: bool,
    is_newer: bool,
    networks: Vec<CloudNetwork>,
    policies: Vec<PolicyConfig>,
    config_problems: Vec<Problem>,
    latest_configs: Vec<Arc<RuntimeConfig>>,
    inventory: Arc<Inventory>,
    /// What is known of the readings, until there is another one or the list changes.
    readings: OnceCell<Arc<BTreeMap<String, Duration>>>,
    statuses: OnceCell<Arc<[DeploymentStatus]>>,
}

/// Changes found in a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Deployments that are new, and those that are no longer known.
    pub(super) changed: BTreeSet<String>,
    /// Deployments missing for the first time. Requested by name, the director may confirm at once that they are gone.
    pub(super) missing: BTreeSet<String>,
    /// Whether a deployment is missing, which a second list has to confirm.
    pub(super) doubtful: bool,
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
            networks: Vec::new(),
            policies: Vec::new(),
            config_problems: Vec::new(),
            latest_configs: Vec::new(),
            inventory: Arc::default(),
            readings: OnceCell::new(),
            statuses: OnceCell::new(),
        }
    }

    /// Starts with facts of an earlier life. They are used for what cannot be read, and everything is read anew.
    pub(super) fn resuming(limits: Limits, confirm_after: Duration, inventory: Arc<Inventory>) -> Self {
        let known = |deployment: &Deployment| Known::resuming(deployment);
        let deployments = inventory.deployments.iter().map(|each| (each.name.clone(), known(each))).collect();
        Self {
            deployments,
            networks: inventory.networks.clone(),
            policies: inventory.policies.clone(),
            config_problems: inventory.problems.clone(),
            inventory,
            ..Self::new(limits, confirm_after)
        }
    }

    /// Applies configs to all deployments.
    pub(super) fn take_configs(&mut self, configs: &Configs) {
        let (networks, policies, problems) = (configs.networks(), configs.policies(), configs.problems());
        self.is_newer |= self.networks != networks || self.policies != policies || self.config_problems != problems;
        (self.networks, self.policies, self.config_problems) = (networks.to_vec(), policies.to_vec(), problems);
        self.latest_configs = configs.latest();
    }

    /// Sets the runtime configs that a deployment was deployed with, and the names of those whose contents are not
    /// known, for its next reading.
    pub(super) fn apply(&mut self, name: &str, configs: Vec<Arc<RuntimeConfig>>, missing: BTreeSet<String>) {
        if let Some(known) = self.deployments.get_mut(name) {
            (known.runtime_configs, known.missing_configs) = (Some(configs), missing);
        }
    }

    /// Handles a list of the existing deployments.
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
        for row in rows {
            let known = self.deployments.entry(row.name.clone()).or_insert_with(|| {
                listed.changed.insert(row.name.clone());
                Known::default()
            });
            known.teams.clone_from(&row.teams);
            if matches!(known.denied, Some(Denial::List(_))) {
                known.denied = None;
            }
        }
        if !listed.changed.is_empty() {
            self.is_newer = true;
            self.show_anew();
        }
        listed.doubtful = self.deployments.values().any(|known| matches!(known.denied, Some(Denial::List(_))));
        listed.doubtful |= rows.is_empty() && !self.is_confirmed_empty(now);
        self.listed_nothing_at = if rows.is_empty() { self.listed_nothing_at.or(Some(now)) } else { None };
        self.listed_once |= !rows.is_empty() || !listed.doubtful;
        listed
    }

    fn is_confirmed_empty(&self, now: Duration) -> bool {
        self.listed_nothing_at.is_some_and(|since| now >= since + self.confirm_after)
    }

    /// Handles a reading of one deployment.
    pub(super) fn take(&mut self, name: &str, reading: Reading, now: ClockReading) -> Option<Taken> {
        self.show_anew();
        let taken = self.take_one(name, reading, now)?;
        self.is_newer |= taken.changed;
        Some(taken)
    }

    fn take_one(&mut self, name: &str, reading: Reading, now: ClockReading) -> Option<Taken> {
        let known = self.deployments.get_mut(name)?;
        let errors = [reading.manifest.as_ref().err(), reading.instances.as_ref().err()];
        let denial = errors.into_iter().flatten().find(|error| error.is_gone());
        if let Some(error) = denial {
            let error = Report::new(error).to_string();
            return self.deny(name, error, now.elapsed);
        }
        known.denied = known.denied.filter(|denial| matches!(denial, Denial::List(_)));
        let terms = Terms { limits: &self.limits, confirm_after: self.confirm_after, latest: &self.latest_configs };
        Some(known.take(name, reading, now, &terms))
    }

    /// The director said that a deployment does not exist. When it is no longer listed either, it is removed. When it
    /// is listed, its facts are removed once this was said twice.
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

    /// Records when the instances were asked for that a reading has brought, if it has.
    pub(super) fn asked(&mut self, name: &str, at: Option<Duration>) {
        if let Some(known) = self.deployments.get_mut(name) {
            known.asked = at.or(known.asked);
            self.show_anew();
        }
    }

    fn show_anew(&mut self) {
        (self.readings, self.statuses) = (OnceCell::new(), OnceCell::new());
    }

    /// When the instances of each deployment were asked for that are known.
    pub(super) fn readings(&self) -> Arc<BTreeMap<String, Duration>> {
        let asked = || self.deployments.iter().filter_map(|(name, known)| Some((name.clone(), known.asked?)));
        Arc::clone(self.readings.get_or_init(|| Arc::new(asked().collect())))
    }

    /// Whether the links of a deployment are known.
    pub(super) fn knows_links(&self, name: &str) -> bool {
        self.deployments.get(name).is_some_and(|known| known.links.is_some())
    }

    /// The known deployments that have one of these names in DNS.
    pub(super) fn recorded_as(&self, canonical: &BTreeSet<String>) -> Vec<String> {
        let is_one = |name: &&str| Label::canonical(name).is_ok_and(|label| canonical.contains(&label.to_string()));
        self.names().filter(is_one).map(str::to_owned).collect()
    }

    /// All known deployments.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.deployments.keys().map(String::as_str)
    }

    /// The known facts; the same value as before when nothing has changed. Until it is complete, it is the initial one.
    pub(super) fn inventory(&mut self) -> Arc<Inventory> {
        if !self.is_complete() || !std::mem::take(&mut self.is_newer) {
            return Arc::clone(&self.inventory);
        }
        let deployments = self.deployments.iter().filter_map(|(name, known)| known.facts(name)).collect();
        let (networks, policies) = (self.networks.clone(), self.policies.clone());
        let inventory = Inventory { deployments, networks, policies, problems: self.config_problems.clone() };
        if *self.inventory != inventory {
            self.inventory = Arc::new(inventory);
        }
        Arc::clone(&self.inventory)
    }

    /// Whether every listed deployment has been read, or the reading has failed, once since the start.
    pub(super) fn is_complete(&mut self) -> bool {
        self.complete |= self.listed_once && self.deployments.values().all(|known| known.attempted);
        self.complete
    }

    pub(super) fn statuses(&self) -> Arc<[DeploymentStatus]> {
        let status = |(name, known): (&String, &Known)| DeploymentStatus {
            name: name.clone(),
            last_good: known.last_good,
            error: known.error.clone(),
        };
        Arc::clone(self.statuses.get_or_init(|| self.deployments.iter().map(status).collect()))
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
