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

/// All names of the mesh, each either answered or waiting. What is stored shares them until one changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) answered: Arc<Targets>,
    pub(super) waiting: Arc<Targets>,
    /// Waiting names that were answered with the same address before.
    suspended: BTreeSet<Hostname>,
    /// What answered names needed before the pilot said otherwise. It counts until what they need now is served, which
    /// the pilot sends after the name.
    former: Targets,
}

impl Gate {
    pub(super) fn new(answered: Arc<Targets>, waiting: Arc<Targets>) -> Self {
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
        let answered = self.answered.get(host);
        match answered.or_else(|| self.waiting.get(host)).filter(|known| known.vip == *vip).cloned() {
            Some(known) if known == target => {}
            Some(known) if answered.is_some() => {
                Arc::make_mut(&mut self.answered).insert(host.clone(), target);
                self.former.entry(host.clone()).or_insert(known);
            }
            known => {
                if known.is_none() {
                    self.take_back(host.as_str(), changes);
                }
                Arc::make_mut(&mut self.waiting).insert(host.clone(), target);
            }
        }
    }

    /// The pilot removes a name.
    pub(super) fn take_back(&mut self, name: &str, changes: &mut Vec<NameChange>) {
        if self.waiting.contains_key(name) {
            Arc::make_mut(&mut self.waiting).remove(name);
        }
        self.suspended.remove(name);
        self.former.remove(name);
        if self.answered.contains_key(name)
            && let Some((host, Target { vip, .. })) = Arc::make_mut(&mut self.answered).remove_entry(name)
        {
            changes.push(NameChange { host, vip, answered: false });
        }
    }

    /// Moves answered names back to waiting that are not `backed`.
    pub(super) fn suspend(&mut self, backed: impl Fn(&Hostname, &Target) -> bool, changes: &mut Vec<NameChange>) {
        let Self { answered, waiting, suspended, former } = self;
        let unfit = |(host, target): &(&Hostname, &Target)| {
            !backed(host, target) && former.get(*host).is_none_or(|former| !backed(host, former))
        };
        for (host, target) in moved(answered, waiting, unfit) {
            changes.push(NameChange { host: host.clone(), vip: target.vip, answered: false });
            suspended.insert(host);
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
        for (host, target) in moved(waiting, answered, |(host, target)| ready(host, target, suspended.contains(*host)))
        {
            suspended.remove(&host);
            changes.push(NameChange { host, vip: target.vip, answered: true });
        }
    }
}

/// Moves those that `are_to` from one to the other, and returns them. Neither is copied when there are none.
fn moved(
    from: &mut Arc<Targets>,
    to: &mut Arc<Targets>,
    are_to: impl Fn(&(&Hostname, &Target)) -> bool,
) -> Vec<(Hostname, Target)> {
    let moved: Vec<_> = from.iter().filter(are_to).map(|(host, target)| (host.clone(), target.clone())).collect();
    if !moved.is_empty() {
        let from = Arc::make_mut(from);
        moved.iter().for_each(|(host, _)| drop(from.remove(host)));
        Arc::make_mut(to).extend(moved.iter().cloned());
    }
    moved
}

/// Names with their addresses.
pub(super) fn table(targets: &Targets) -> NameTable {
    targets.iter().map(|(host, target)| (host.clone(), target.vip)).collect()
}
