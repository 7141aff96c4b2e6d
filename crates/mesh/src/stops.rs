//! Instances whose VMs are about to stop, and which of them callers no longer get.
//!
//! Only an instance itself says that it stops. It counts as stopping until it says otherwise, and at most
//! [`REPORT_LIFE`] longer than it repeats it: an agent that does not come back takes no instance out of the mesh.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{MeshRules, Moment, REPORT_LIFE, Service};

/// The instances that are about to stop, by id, and when each has last said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops(BTreeMap<Arc<str>, Moment>);

impl Stops {
    /// Records what an instance says. Returns whether it has said something else before.
    pub fn record(&mut self, instance: &str, stopping: bool, now: Moment) -> bool {
        if stopping { self.0.insert(instance.into(), now).is_none() } else { self.0.remove(instance).is_some() }
    }

    /// Drops the instances that no longer say so. Returns whether there were any.
    pub fn sweep(&mut self, now: Moment) -> bool {
        let before = self.0.len();
        self.0.retain(|_, at| now.since(*at) <= REPORT_LIFE);
        self.0.len() != before
    }

    /// The instances, and when each has last said so.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, Moment)> {
        self.0.iter().map(|(id, at)| (id, *at))
    }

    /// Ids of the instances.
    pub fn ids(&self) -> BTreeSet<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

impl MeshRules {
    /// The instances of a service that callers no longer get, because they are about to stop.
    ///
    /// When all are, callers keep all. Some may still answer, and an attempt at one that does not goes on to another;
    /// an empty list would fail every attempt.
    pub(crate) fn withdrawn(&self, service: &Service) -> BTreeSet<String> {
        if self.stopping.is_empty() {
            return BTreeSet::new();
        }
        let ids = service.endpoints.iter().map(|endpoint| &endpoint.workload.id);
        let (stop, stay): (BTreeSet<_>, BTreeSet<_>) = ids.partition(|id| self.stopping.contains(*id));
        if stay.is_empty() { BTreeSet::new() } else { stop.into_iter().cloned().collect() }
    }
}

#[cfg(test)]
#[path = "stops_tests.rs"]
mod tests;
