//! Determines the work of a deploy for one instance. Pure.
//!
//! An instance that is in its intended state is not touched. The director's events contain the reasons.

use std::{collections::BTreeSet, sync::Arc};

use super::{Instance, InstanceState, VmFacts, VmShape};
use crate::ApplySpec;

/// State of the agent of an instance's VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// The instance has no VM.
    None,
    Running,
    /// It answered, but not all its processes run.
    Idle,
    /// It does not answer.
    Silent,
}

/// Requests for this instance in addition to its manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) restart: bool,
    pub(crate) recreate: bool,
}

/// The present and the intended state of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) before: Option<Instance>,
    pub(crate) after: Instance,
    pub(crate) shape: VmShape,
    pub(crate) spec: Arc<ApplySpec>,
    pub(crate) agent: Agent,
    pub(crate) reasons: BTreeSet<&'static str>,
    /// Whether it needs another VM than it has.
    pub(crate) new_vm: bool,
    /// Whether jobs or packages have to be applied.
    pub(crate) apply: bool,
}

impl Change {
    pub(crate) fn new(
        before: Option<Instance>,
        after: Instance,
        (shape, spec): (VmShape, Arc<ApplySpec>),
        facts: Option<&VmFacts>,
        agent: Agent,
        asked: Asked,
    ) -> Self {
        let mut change =
            Self { before, after, shape, spec, agent, reasons: BTreeSet::new(), new_vm: false, apply: false };
        if change.after.expects_vm() {
            change.compare_vm(facts, asked);
            change.compare_spec(facts);
        }
        change.compare_state(facts, asked);
        change
    }

    /// Whether there is any work to do.
    pub(crate) fn is_needed(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// Whether a VM has to be created for an instance without one.
    pub(crate) fn lacks_vm(&self) -> bool {
        self.new_vm && self.before.as_ref().is_none_or(|before| before.vm.is_none())
    }

    fn because(&mut self, reason: &'static str, holds: bool) {
        if holds {
            self.reasons.insert(reason);
        }
    }

    fn compare_vm(&mut self, facts: Option<&VmFacts>, asked: Asked) {
        let Some(facts) = facts else {
            self.because("recreate", true);
            self.new_vm = true;
            return;
        };
        let (old, new) = (facts.shape.clone(), self.shape.clone());
        self.because("network", old.networks != new.networks);
        self.because("stemcell", (old.os, old.stemcell) != (new.os, new.stemcell));
        self.because("vm_type", old.vm_type != new.vm_type);
        self.because("recreate", asked.recreate || self.agent == Agent::Silent);
        self.new_vm = !self.reasons.is_empty();
    }

    fn compare_spec(&mut self, facts: Option<&VmFacts>) {
        let applied = facts.and_then(|facts| facts.applied.as_deref());
        let names = |spec: &ApplySpec| spec.jobs.iter().map(|job| job.name.clone()).collect::<Vec<_>>();
        self.because("configuration", applied.is_none_or(|applied| applied.jobs != self.spec.jobs));
        self.because("job", applied.is_none_or(|applied| names(applied) != names(&self.spec)));
        self.because("packages", applied.is_none_or(|applied| applied.packages != self.spec.packages));
        self.apply = self.new_vm || applied != Some(&*self.spec);
    }

    fn compare_state(&mut self, facts: Option<&VmFacts>, asked: Asked) {
        let before = self.before.as_ref().map(|before| before.state);
        let dirty = facts.is_some_and(|facts| facts.dirty);
        let differs = match self.after.state {
            InstanceState::Started => {
                self.after.expects_vm()
                    && (before != Some(InstanceState::Started) || dirty || self.agent == Agent::Idle)
            }
            InstanceState::Stopped => before != Some(InstanceState::Stopped) || self.agent == Agent::Running,
            InstanceState::Detached => self.before.as_ref().is_some_and(|before| before.vm.is_some()),
        };
        self.because("state", differs && !self.after.errand);
        self.because("restart", asked.restart && self.after.state == InstanceState::Started && self.after.expects_vm());
    }
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
