//! One change of the file that the director has not confirmed. Pure.

use std::{collections::BTreeSet, time::Duration};

use boshy_mesh::{Moment, Timestamp};

use crate::Record;

/// How long the director may go on to show the VM that the file has no more.
pub const GRACE: Duration = Duration::from_secs(10);

/// The VM of an instance, by its agent id; `None` for no instance.
pub(crate) type Vm = Option<String>;

/// What the file has changed about an instance.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The VMs that the file showed before.
    pub(crate) before: BTreeSet<Vm>,
    pub(crate) vm: Vm,
    /// Canonical name of the deployment.
    pub(crate) deployment: String,
    /// The rows now; none when the instance is gone.
    pub(crate) rows: Vec<Record>,
    /// When it is gone: the rows of the VM that the file showed after the director's, if any.
    pub(crate) last: Vec<Record>,
    pub(crate) at: Moment,
    /// The same by the wall clock.
    pub(crate) since: Timestamp,
    /// Whether it was applied.
    pub(crate) shown: bool,
    /// Whether a VM was shown that the director has not told.
    pub(crate) followed: bool,
    /// Whether the instance was shown as gone.
    pub(crate) ended: bool,
}

/// What the director's last answer says about an instance.
pub(crate) enum Said<'a> {
    Vm(Option<&'a str>),
    /// It has no VM, or one without an agent id.
    Other,
}

impl Change {
    /// Whether it is still to be confirmed. `asked` is when the director was asked what it said.
    pub(crate) fn is_open(&mut self, said: &Said<'_>, asked: Option<Moment>) -> bool {
        let asked_since = asked.filter(|asked| *asked >= self.at);
        let is_before = |vm: &Option<&str>| self.before.iter().any(|before| before.as_deref() == *vm);
        match (said, asked_since) {
            (Said::Vm(vm), None) if *vm == self.vm.as_deref() || is_before(vm) => {
                self.shown = true;
                true
            }
            (_, None) => self.shown,
            // An instance that is not there may have come and gone.
            (Said::Vm(vm @ Some(_)), Some(asked)) if is_before(vm) => {
                let is_early = asked.since(self.at) < GRACE;
                self.shown |= is_early;
                is_early
            }
            (_, Some(_)) => false,
        }
    }
}
