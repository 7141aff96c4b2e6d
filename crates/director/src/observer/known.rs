//! Known facts about one deployment, and how a reading changes them. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use boshy_mesh::{Deployment, DeploymentLinks, Instance, InstanceGroup, Place, Problem, Timestamp};
use err_report::Report;

use super::{
    AppliedConfigs, ClockReading,
    agenda::Outcome,
    remembering::{deserted_groups, remembering},
};
use crate::{
    client::ClientError,
    manifest::{self, RuntimeConfig, Surroundings},
    wire::{InstanceRow, ReadInstances},
};
use boshy_yaml::Limits;

/// Number of problems of one manifest that a status names.
const MAX_PROBLEMS_SHOWN: usize = 10;

/// Answers to the requests about a deployment.
#[derive(Debug)]
pub struct Reading {
    /// Text of the manifest; `None` before the first deploy has ended.
    pub manifest: Result<Option<String>, ClientError>,
    /// Its instances.
    pub instances: Result<Vec<InstanceRow>, ClientError>,
    /// The runtime configs that it was deployed with, when they were requested.
    pub configs: Option<Result<AppliedConfigs, ClientError>>,
    /// Its links, when they were requested.
    pub links: Option<Result<DeploymentLinks, ClientError>>,
}

/// Parameters for handling a reading.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// Limits on the cost of a manifest.
    pub(super) limits: &'a Limits,
    /// Time after which a second answer is accepted.
    pub(super) confirm_after: Duration,
    /// The latest runtime configs.
    pub(super) latest: &'a [Arc<RuntimeConfig>],
}

/// Result of a reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) outcome: Outcome,
    /// Whether the facts have changed.
    pub(super) changed: bool,
    /// Whether the director says that the deployment does not exist, which its list should confirm.
    pub(super) denied: bool,
}

/// Which answer first said that the deployment does not exist, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    List(Duration),
    Reading(Duration),
}

/// The part of a deployment that goes into an inventory.
type Content = (Option<Vec<InstanceGroup>>, Option<Vec<Instance>>, [Vec<Problem>; 2], Option<DeploymentLinks>);

/// Known facts about one deployment.
#[derive(Default)]
pub(super) struct Known {
    pub(super) groups: Option<Vec<InstanceGroup>>,
    pub(super) instances: Option<Vec<Instance>>,
    /// Its links, once they were requested.
    pub(super) links: Option<DeploymentLinks>,
    /// Teams that own it.
    pub(super) teams: Vec<String>,
    /// The runtime configs that it was deployed with, once they were needed and could be read.
    pub(super) runtime_configs: Option<Vec<Arc<RuntimeConfig>>>,
    /// The names of the runtime configs whose contents are not known.
    pub(super) missing_configs: BTreeSet<String>,
    manifest_problems: Vec<Problem>,
    instance_problems: Vec<Problem>,
    pub(super) last_good: Option<Timestamp>,
    /// When the instances were asked for that are known, as time since the observer's start.
    pub(super) asked: Option<Duration>,
    pub(super) error: Option<String>,
    pub(super) attempted: bool,
    pub(super) denied: Option<Denial>,
    /// Since when the manifest is reported to have no groups.
    no_groups_since: Option<Duration>,
    /// Groups reported to have no reachable instance, and since when.
    deserted: BTreeMap<String, Duration>,
}

impl Known {
    /// Facts of an earlier life.
    pub(super) fn resuming(deployment: &Deployment) -> Self {
        Self {
            groups: Some(deployment.groups.clone()),
            instances: Some(deployment.instances.clone()),
            links: deployment.links.clone(),
            // The source of the problems is not stored; both halves are read anew.
            instance_problems: deployment.problems.clone(),
            ..Self::default()
        }
    }

    /// Whether this list is the second one from which it is missing. Records the first.
    pub(super) fn is_denied_by_list(&mut self, now: Duration, confirm_after: Duration) -> bool {
        match self.denied {
            Some(Denial::Reading(_)) => true,
            Some(Denial::List(since)) => now >= since + confirm_after,
            None => {
                self.denied = Some(Denial::List(now));
                false
            }
        }
    }

    pub(super) fn take(&mut self, name: &str, reading: Reading, now: ClockReading, terms: &Terms<'_>) -> Taken {
        let before = self.content();
        let (mut wanting, mut errors, mut doubts) = (false, Vec::new(), Vec::new());
        let text = reading.manifest.map_err(|error| Report::new(error).to_string());
        match text.and_then(|text| groups(name, text, terms.limits, self.surroundings(terms.latest))) {
            Ok(read) => {
                wanting |= read.is_none();
                let (groups, problems) = read.unwrap_or_default();
                let groups = self.with_jobs_of_unread_configs(groups);
                doubts.extend(self.take_groups((groups, problems), now.elapsed, terms.confirm_after));
            }
            Err(error) => errors.push(error),
        }
        match reading.instances.map_err(|error| Report::new(error).to_string()) {
            Ok(rows) => {
                let mut read = ReadInstances::of(&Place::deployment(name), rows);
                wanting |= !read.unread.is_empty();
                self.instance_problems = std::mem::take(&mut read.problems);
                doubts.extend(self.take_instances(read, now, terms.confirm_after));
            }
            Err(error) => errors.push(error),
        }
        match reading.links {
            Some(Ok(links)) => self.links = Some(links),
            Some(Err(error)) => errors.push(Report::new(error).to_string()),
            None => {}
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

    fn surroundings<'a>(&'a self, latest: &'a [Arc<RuntimeConfig>]) -> Surroundings<'a> {
        Surroundings {
            teams: &self.teams,
            runtime_configs: self.runtime_configs.as_deref().unwrap_or_default(),
            latest,
        }
    }

    /// While the contents of a runtime config cannot be read, the jobs that it added stay. This happens after a restart
    /// of the pilot, when the version was deleted meanwhile.
    fn with_jobs_of_unread_configs(&self, mut groups: Vec<InstanceGroup>) -> Vec<InstanceGroup> {
        let is_unread = |name: &String| self.runtime_configs.is_none() || self.missing_configs.contains(name);
        for known in self.groups.iter().flatten() {
            let jobs = known.jobs.iter().filter(|job| job.runtime_config.as_ref().is_some_and(is_unread));
            if let Some(group) = groups.iter_mut().find(|group| group.name == known.name) {
                group.jobs.extend(jobs.cloned());
            }
        }
        groups
    }

    /// A manifest that has lost all its groups needs confirmation. The removal of a single group, or of its ports, does
    /// not.
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

    /// When no instance of a group is reachable any more, the known ones are kept until that is confirmed, unless the
    /// manifest has dropped the group or they have moved to another one. A smaller number of instances needs no
    /// confirmation.
    fn take_instances(&mut self, read: ReadInstances, now: ClockReading, confirm_after: Duration) -> Option<String> {
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
        (self.groups.clone(), self.instances.clone(), problems, self.links.clone())
    }

    /// The facts, once both halves have been read: a service without its instances would be worse than none.
    pub(super) fn facts(&self, name: &str) -> Option<Deployment> {
        let (groups, instances) = (self.groups.clone()?, self.instances.clone()?);
        let problems = self.manifest_problems.iter().chain(&self.instance_problems).cloned().collect();
        Some(Deployment { name: name.to_owned(), groups, instances, problems, links: self.links.clone() })
    }
}

pub(super) type Groups = (Vec<InstanceGroup>, Vec<Problem>);

/// The groups of a manifest, and its problems.
pub(super) fn groups(
    name: &str,
    text: Option<String>,
    limits: &Limits,
    surroundings: Surroundings<'_>,
) -> Result<Option<Groups>, String> {
    let Some(text) = text else { return Ok(None) };
    let written = manifest::read_within(name, &text, limits, surroundings)
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
