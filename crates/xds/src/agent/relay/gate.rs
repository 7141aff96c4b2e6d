//! Decides which names are answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use boshy_mesh::{Hostname, NameTable};

use crate::names::{Name, Needs};

/// A name that is answered from now on, or no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The name.
    pub host: Hostname,
    /// Its address.
    pub vip: Ipv4Addr,
    /// Whether it is answered from now on.
    pub answered: bool,
}

/// Numbers of names by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NameCounts {
    /// Answered by DNS.
    pub answered: usize,
    /// Not answered yet, because Envoy cannot carry their traffic.
    pub waiting: usize,
}

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its virtual IP.
    pub(super) vip: Ipv4Addr,
    /// What it needs; `None` from a pilot that does not say it.
    pub(super) needs: Option<Arc<Needs>>,
}

/// Names with their targets.
pub(super) type Targets = BTreeMap<Hostname, Target>;

/// All names of the mesh, each either answered or waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) answered: Targets,
    pub(super) waiting: Targets,
    /// Waiting names that were answered with the same address before.
    suspended: BTreeSet<Hostname>,
    /// What answered names needed before the pilot said otherwise. It counts until what they need now is served, which
    /// the pilot sends after the name.
    former: Targets,
}

impl Gate {
    pub(super) fn new(answered: Targets, waiting: Targets) -> Self {
        Self { answered, waiting, ..Self::default() }
    }

    pub(super) fn table(&self) -> NameTable {
        table(&self.answered)
    }

    pub(super) fn counts(&self) -> NameCounts {
        NameCounts { answered: self.answered.len(), waiting: self.waiting.len() }
    }

    /// The pilot announces a name. A name that is already answered with the same address stays answered.
    pub(super) fn announce(&mut self, name: &Name, changes: &mut Vec<NameChange>) {
        let Name { host, vip, needs } = name;
        let target = Target { vip: *vip, needs: needs.clone() };
        let known = self.answered.get_mut(host).map(|known| (known, true));
        let known = known.or_else(|| self.waiting.get_mut(host).map(|known| (known, false)));
        match known.filter(|(known, _)| known.vip == *vip) {
            Some((known, answered)) => {
                let former = std::mem::replace(known, target);
                if answered && former != *known {
                    self.former.entry(host.clone()).or_insert(former);
                }
            }
            None => {
                self.take_back(host.as_str(), changes);
                self.waiting.insert(host.clone(), target);
            }
        }
    }

    /// The pilot removes a name.
    pub(super) fn take_back(&mut self, name: &str, changes: &mut Vec<NameChange>) {
        self.waiting.remove(name);
        self.suspended.remove(name);
        self.former.remove(name);
        if let Some((host, Target { vip, .. })) = self.answered.remove_entry(name) {
            changes.push(NameChange { host, vip, answered: false });
        }
    }

    /// Moves answered names back to waiting that are not `backed`.
    pub(super) fn suspend(&mut self, backed: impl Fn(&Hostname, &Target) -> bool, changes: &mut Vec<NameChange>) {
        let Self { answered, waiting, suspended, former } = self;
        let unfit = |host: &Hostname, target: &mut Target| {
            !backed(host, target) && former.get(host).is_none_or(|former| !backed(host, former))
        };
        for (host, target) in answered.extract_if(.., unfit) {
            changes.push(NameChange { host: host.clone(), vip: target.vip, answered: false });
            suspended.insert(host.clone());
            waiting.insert(host, target);
        }
        former.retain(|host, _| answered.contains_key(host));
    }

    /// Forgets what answered names needed before, where what they need now is `backed`.
    pub(super) fn forget_former(&mut self, backed: impl Fn(&Hostname, &Target) -> bool) {
        let answered = &self.answered;
        self.former.retain(|host, _| answered.get(host).is_some_and(|target| !backed(host, target)));
    }

    /// Moves waiting names that are `ready` to answered. The last argument of `ready` is whether the name was answered
    /// before.
    pub(super) fn admit(&mut self, ready: impl Fn(&Hostname, &Target, bool) -> bool, changes: &mut Vec<NameChange>) {
        let Self { answered, waiting, suspended, .. } = self;
        let fit: Vec<_> =
            waiting.extract_if(.., |host, target| ready(host, target, suspended.contains(host))).collect();
        for (host, target) in fit {
            suspended.remove(&host);
            changes.push(NameChange { host: host.clone(), vip: target.vip, answered: true });
            answered.insert(host, target);
        }
    }
}

/// Names with their addresses.
pub(super) fn table(targets: &Targets) -> NameTable {
    targets.iter().map(|(host, target)| (host.clone(), target.vip)).collect()
}
