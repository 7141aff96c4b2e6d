//! What has to happen so that the VMs there are become the VMs there should be: a function of two values.

use std::collections::BTreeMap;

use crate::{facts::VmFacts, name::InstanceName};

/// A VM there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Present {
    /// Running, made from these facts.
    Alive(VmFacts),
    /// Its first process has ended by itself.
    Dead,
    /// Being removed.
    Leaving,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make this VM.
    Create(VmFacts),
    /// Let the mesh stop sending, stop the jobs, remove the VM.
    Remove(InstanceName),
    /// Clear away what is left of a VM that died.
    Bury(InstanceName),
}

/// The steps, those that free something first. A VM that changed is removed now and made when it is gone.
pub(super) fn plan(present: &BTreeMap<InstanceName, Present>, wanted: &BTreeMap<InstanceName, VmFacts>) -> Vec<Step> {
    let away = present.iter().filter_map(|(name, vm)| match vm {
        Present::Leaving => None,
        Present::Dead => Some(Step::Bury(name.clone())),
        Present::Alive(facts) if wanted.get(name) == Some(facts) => None,
        Present::Alive(_) => Some(Step::Remove(name.clone())),
    });
    let missing = wanted.values().filter(|facts| !present.contains_key(&facts.name));
    away.chain(missing.cloned().map(Step::Create)).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
