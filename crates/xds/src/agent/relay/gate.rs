//! Decides which names are answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use boshy_mesh::{Hostname, NameTable};

use super::NameCounts;

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

/// All names of the mesh, each either answered or waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    pub(super) answered: BTreeMap<Hostname, Ipv4Addr>,
    pub(super) waiting: BTreeMap<Hostname, Ipv4Addr>,
    /// Waiting names that were answered with the same address before.
    suspended: BTreeSet<Hostname>,
}

impl Gate {
    pub(super) fn new(answered: BTreeMap<Hostname, Ipv4Addr>, waiting: BTreeMap<Hostname, Ipv4Addr>) -> Self {
        Self { answered, waiting, suspended: BTreeSet::new() }
    }

    pub(super) fn table(&self) -> NameTable {
        self.answered.iter().map(|(host, vip)| (host.clone(), *vip)).collect()
    }

    pub(super) fn counts(&self) -> NameCounts {
        NameCounts { answered: self.answered.len(), waiting: self.waiting.len() }
    }

    /// The pilot announces a name. A name that is already answered with the same address stays answered.
    pub(super) fn announce(&mut self, host: &Hostname, vip: Ipv4Addr, changes: &mut Vec<NameChange>) {
        if self.answered.get(host) != Some(&vip) && self.waiting.get(host) != Some(&vip) {
            self.take_back(host.as_str(), changes);
            self.waiting.insert(host.clone(), vip);
        }
    }

    /// The pilot removes a name.
    pub(super) fn take_back(&mut self, name: &str, changes: &mut Vec<NameChange>) {
        self.waiting.remove(name);
        self.suspended.remove(name);
        if let Some((host, vip)) = self.answered.remove_entry(name) {
            changes.push(NameChange { host, vip, answered: false });
        }
    }

    /// Moves answered names for which `unfit` holds back to waiting.
    pub(super) fn suspend(&mut self, unfit: impl Fn(&Hostname, Ipv4Addr) -> bool, changes: &mut Vec<NameChange>) {
        for (host, vip) in self.answered.extract_if(.., |host, vip| unfit(host, *vip)) {
            changes.push(NameChange { host: host.clone(), vip, answered: false });
            self.suspended.insert(host.clone());
            self.waiting.insert(host, vip);
        }
    }

    /// Moves waiting names that are `ready` to answered. The last argument of `ready` is whether the name was answered
    /// before.
    pub(super) fn admit(&mut self, ready: impl Fn(&Hostname, Ipv4Addr, bool) -> bool, changes: &mut Vec<NameChange>) {
        let Self { answered, waiting, suspended } = self;
        let fit: Vec<_> = waiting.extract_if(.., |host, vip| ready(host, *vip, suspended.contains(host))).collect();
        for (host, vip) in fit {
            suspended.remove(&host);
            changes.push(NameChange { host: host.clone(), vip, answered: true });
            answered.insert(host, vip);
        }
    }
}
