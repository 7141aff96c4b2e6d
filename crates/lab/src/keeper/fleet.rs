//! The VMs there are, by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{plan::Present, vm::Vm};
use crate::name::InstanceName;

enum Member {
    Alive(Arc<Vm>),
    Dead,
    Leaving(Option<Arc<Vm>>),
}

/// The VMs. One lock, held for a look or a change of the map and never across a wait.
#[derive(Default)]
pub(super) struct Fleet {
    members: Mutex<BTreeMap<InstanceName, Member>>,
    /// Why a VM that should be there could not be made.
    failures: Mutex<BTreeMap<InstanceName, String>>,
    changed: Notify,
}

impl Fleet {
    pub(super) fn present(&self) -> BTreeMap<InstanceName, Present> {
        let present = |member: &Member| match member {
            Member::Alive(vm) => Present::Alive(vm.facts.clone()),
            Member::Dead => Present::Dead,
            Member::Leaving(_) => Present::Leaving,
        };
        self.members().iter().map(|(name, member)| (name.clone(), present(member))).collect()
    }

    /// The VMs that run and are to stay.
    pub(super) fn alive(&self) -> Vec<Arc<Vm>> {
        let alive = |member: &Member| match member {
            Member::Alive(vm) => Some(Arc::clone(vm)),
            Member::Dead | Member::Leaving(_) => None,
        };
        self.members().values().filter_map(alive).collect()
    }

    /// The VM of this name that runs, whether it is to stay or not.
    pub(super) fn running(&self, name: &InstanceName) -> Option<Arc<Vm>> {
        match self.members().get(name)? {
            Member::Alive(vm) | Member::Leaving(Some(vm)) => Some(Arc::clone(vm)),
            Member::Dead | Member::Leaving(None) => None,
        }
    }

    pub(super) fn names(&self) -> Vec<InstanceName> {
        self.members().keys().cloned().collect()
    }

    pub(super) fn failures(&self) -> BTreeMap<InstanceName, String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn joined(&self, vm: Vm) {
        let name = vm.facts.name.clone();
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        // It may have ended before it got here; its `ended` has then found nothing to mark.
        let member = if vm.has_ended() { Member::Dead } else { Member::Alive(Arc::new(vm)) };
        self.members().insert(name, member);
        self.changed.notify_one();
    }

    pub(super) fn not_made(&self, name: InstanceName, reason: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).insert(name, reason);
    }

    /// The VM has ended; by itself unless it is leaving.
    pub(super) fn ended(&self, name: &InstanceName, pid: u32) {
        if let Some(member) = self.members().get_mut(name)
            && matches!(member, Member::Alive(vm) if vm.pid == pid)
        {
            *member = Member::Dead;
        }
        self.changed.notify_one();
    }

    /// Marks a VM as leaving, and gives it.
    pub(super) fn leaving(&self, name: &InstanceName) -> Option<Arc<Vm>> {
        let mut members = self.members();
        let member = members.get_mut(name)?;
        let vm = match member {
            Member::Alive(vm) | Member::Leaving(Some(vm)) => Some(Arc::clone(vm)),
            Member::Dead | Member::Leaving(None) => None,
        };
        *member = Member::Leaving(vm.clone());
        vm
    }

    pub(super) fn left(&self, name: &InstanceName) {
        self.members().remove(name);
        self.changed.notify_one();
    }

    /// Waits until a VM has ended or left.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<InstanceName, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
