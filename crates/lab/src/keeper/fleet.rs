//! The VMs by cid.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::vm::{Facts, Vm};

/// A VM, running or dead.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) facts: Facts,
    /// `None` when its first process has ended unexpectedly. To the director this is an agent that does not answer.
    pub(super) vm: Option<Arc<Vm>>,
    /// Its applied jobs.
    pub(super) jobs: BTreeSet<String>,
}

/// All VMs. The one lock is held for reading or changing the map, and never across a wait.
#[derive(Default)]
pub(super) struct Fleet {
    members: Mutex<BTreeMap<String, Member>>,
    /// Differences from VMs of BOSH, as reported by the VMs.
    notes: Mutex<BTreeSet<String>>,
}

impl Fleet {
    /// All VMs, ordered by name.
    pub(super) fn all(&self) -> Vec<Member> {
        let mut all: Vec<Member> = self.members().values().cloned().collect();
        all.sort_by(|one, other| one.facts.name.cmp(&other.facts.name));
        all
    }

    pub(super) fn get(&self, cid: &str) -> Option<Member> {
        self.members().get(cid).cloned()
    }

    /// A VM has booted, for the first time or again.
    pub(super) fn joined(&self, facts: Facts, vm: Vm) {
        let mut members = self.members();
        let jobs = members.remove(&facts.cid).map(|member| member.jobs).unwrap_or_default();
        // The VM may have ended already, before `ended` could find it here.
        let vm = (!vm.has_ended()).then(|| Arc::new(vm));
        members.insert(facts.cid.clone(), Member { facts, vm, jobs });
    }

    /// The VM's jobs have been applied.
    pub(super) fn given(&self, cid: &str, jobs: BTreeSet<String>) {
        if let Some(member) = self.members().get_mut(cid) {
            member.jobs = jobs;
        }
    }

    /// The first process with this pid has ended. Returns whether it was still that of the VM.
    pub(super) fn ended(&self, cid: &str, pid: u32) -> bool {
        let mut members = self.members();
        match members.get_mut(cid) {
            Some(member) if member.vm.as_ref().is_some_and(|vm| vm.pid == pid) => {
                member.vm = None;
                true
            }
            _ => false,
        }
    }

    /// Removes a VM whose end is intended; `None` when it does not exist.
    pub(super) fn left(&self, cid: &str) -> Option<Member> {
        self.members().remove(cid)
    }

    /// Takes out a VM's first process, whose end is intended.
    pub(super) fn resting(&self, cid: &str) -> Option<Arc<Vm>> {
        self.members().get_mut(cid)?.vm.take()
    }

    /// Adds notes. A note is kept once, however many VMs report it.
    pub(super) fn note(&self, notes: impl IntoIterator<Item = String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).extend(notes);
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
