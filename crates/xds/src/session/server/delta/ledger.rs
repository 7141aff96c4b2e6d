//! What a proxy was sent of one type, and what is still to be sent.
//!
//! A ledger says: the proxy has all of `base`, a state that streams share by reference, but for the names in `since`.
//! The exceptions are dropped once the proxy was sent everything, so an idle stream costs the same however many
//! resources there are.
//!
//! The cost of a stream is decided here. Two ledgers without exceptions at the same base and target send the same
//! responses, but for the nonce. So whatever streams are to share, such as the names that differ between two
//! generations or the encoded messages, replaces [`Ledger::replan`] and [`Ledger::take`] for those without exceptions,
//! and is kept beside the layers (`crate::layers`). [`ResponseToProxy`](super::ResponseToProxy) is the only form in
//! which it leaves the session.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{TypedResources, order::Turn, session::server::response::weight};

/// Maximum size of a response in octets; a single larger resource is sent alone. The transport keeps a buffer for each
/// stream that is as large as its largest message.
const MAX_MESSAGE: usize = 32 << 10;

/// What the proxy was last sent about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing since it subscribed.
    Nothing,
    /// The proxy may or may not have it: it rejected the resource together with others, or dropped one of its two
    /// subscriptions to it.
    Unsure,
    /// That the resource does not exist. This also holds for names that a wildcard subscriber was never sent.
    Absent,
    /// This version of the resource.
    Version(Arc<str>),
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    target: TypedResources,
    base: TypedResources,
    since: BTreeMap<Arc<str>, Told>,
    /// Names to send: existing resources, and the answer that a requested one does not exist.
    additions: BTreeSet<Arc<str>>,
    /// Names to send as removed.
    withdrawals: BTreeSet<Arc<str>>,
}

impl Ledger {
    /// A proxy that should have `target` and has nothing.
    pub(super) fn new(target: TypedResources) -> Self {
        Self {
            target,
            base: TypedResources::default(),
            since: BTreeMap::new(),
            additions: BTreeSet::new(),
            withdrawals: BTreeSet::new(),
        }
    }

    /// What the proxy should have.
    pub(super) fn target(&self) -> &TypedResources {
        &self.target
    }

    /// Sets what the proxy should have. [`Ledger::replan`] follows.
    pub(super) fn retarget(&mut self, target: TypedResources) {
        self.target = target;
    }

    /// What is still to be sent.
    pub(super) fn pending(&self) -> Turn {
        Turn { additions: !self.additions.is_empty(), withdrawals: !self.withdrawals.is_empty() }
    }

    /// What the proxy was last sent about a name.
    pub(super) fn told(&self, name: &str) -> Told {
        if let Some(told) = self.since.get(name) {
            return told.clone();
        }
        self.base.get(name).map_or(Told::Absent, |resource| Told::Version(resource.version.clone()))
    }

    /// Records what the proxy was last sent about a name, or has.
    pub(super) fn note(&mut self, name: Arc<str>, told: Told) {
        self.since.insert(name, told);
    }

    /// Records that the name is being sent as it should be. Returns its version.
    pub(super) fn tell(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let version = self.target.get(&name).map(|resource| resource.version.clone());
        self.note(name, version.clone().map_or(Told::Absent, Told::Version));
        version
    }

    /// Forgets everything about a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.additions.remove(name);
        self.withdrawals.remove(name);
        self.since.remove(name);
    }

    /// Forgets everything but these names.
    pub(super) fn forget_all_but<'n>(&mut self, names: impl Iterator<Item = &'n Arc<str>>) {
        self.since = names.map(|name| (name.clone(), self.told(name))).collect();
        self.base = TypedResources::default();
    }

    /// Plans to send nothing. Returns the names that are to be considered again: all others are as they should be.
    pub(super) fn replan(&mut self) -> Vec<Arc<str>> {
        self.additions.clear();
        self.withdrawals.clear();
        if !self.target.is_known() {
            return Vec::new();
        }
        let changed = self.target.changed_since(&self.base);
        changed.into_iter().chain(self.since.keys()).cloned().collect()
    }

    /// Plans what to send about one name.
    pub(super) fn consider(&mut self, name: Arc<str>) {
        self.additions.remove(&name);
        self.withdrawals.remove(&name);
        match (self.told(&name), self.target.get(&name)) {
            (Told::Version(told), Some(resource)) if told == resource.version => {}
            (Told::Absent, None) => {}
            (Told::Unsure | Told::Version(_), None) => {
                self.withdrawals.insert(name);
            }
            _ => {
                self.additions.insert(name);
            }
        }
    }

    /// Takes the names of the next response from the plan: one that is to be sent `alone`, or as many others as fit.
    pub(super) fn take(&mut self, may: Turn, alone: impl Fn(&Arc<str>) -> bool) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        let mut octets = 0;
        for (allowed, names) in [(may.additions, &mut self.additions), (may.withdrawals, &mut self.withdrawals)] {
            while allowed && let Some(name) = names.first() {
                let size = self.target.get(name).map_or(name.len(), |resource| weight(resource));
                let alone = alone(name);
                if !taken.is_empty() && (alone || octets + size > MAX_MESSAGE) {
                    return taken;
                }
                octets += size;
                taken.extend(names.pop_first());
                if alone {
                    return taken;
                }
            }
        }
        taken
    }

    /// Once everything is sent, the target becomes the base.
    pub(super) fn settle(&mut self) {
        if self.target.is_known() && self.pending() == Turn::default() {
            self.base = self.target.clone();
            self.since.clear();
        }
    }
}
