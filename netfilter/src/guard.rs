//! Keeping rules in place: noticing that they are gone, and putting them back.
//!
//! Call [`Guard::check`] every 250 to 500 ms, or when [`Watch`](crate::Watch) has something to say, and [`Guard::apply`] when it
//! answers a drift: rules that something else removed are back within a second. By netlink a check is one question of
//! some microseconds while nothing changes on the VM; by a program it is a run of that program.
//!
//! Dropping a guard leaves the rules: an agent that ends unasked must not take working connections with it.

use crate::{
    apply::{Backend, BackendKind},
    difference::{Drift, difference},
    error::Error,
    ruleset::Ruleset,
};

/// A rule set and the backend that keeps it in place.
pub struct Guard {
    backend: Box<dyn Backend>,
    ruleset: Ruleset,
    /// The generation at which the rules were last found as desired.
    sound_at: Option<u32>,
}

impl Guard {
    /// Nothing is written yet.
    pub fn new(backend: Box<dyn Backend>, ruleset: Ruleset) -> Self {
        Self { backend, ruleset, sound_at: None }
    }

    /// The means by which rules are written.
    pub fn backend(&self) -> BackendKind {
        self.backend.kind()
    }

    /// What is desired.
    pub fn ruleset(&self) -> &Ruleset {
        &self.ruleset
    }

    /// Writes the desired rules, whatever is there, and reads them back. Also takes over a table that an earlier life left.
    ///
    /// # Errors
    /// When they are refused, or are others when read back.
    pub fn apply(&mut self) -> Result<(), Error> {
        self.sound_at = None;
        self.backend.apply(&self.ruleset)
    }

    /// Desires something else from now on, and writes it. When it is refused, the old rules stay, and each check answers a drift.
    ///
    /// # Errors
    /// As [`Guard::apply`].
    pub fn replace(&mut self, ruleset: Ruleset) -> Result<(), Error> {
        self.ruleset = ruleset;
        self.apply()
    }

    /// Whether the rules are as desired: `None`, or what is wrong.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn check(&mut self) -> Result<Option<Drift>, Error> {
        // Read before the rules: a change after it is then found by the next check.
        let generation = self.backend.generation()?;
        if generation.is_some() && generation == self.sound_at {
            return Ok(None);
        }
        let desired = self.ruleset.table(self.backend.layout());
        let deviations = difference(&desired, self.backend.read()?.as_ref());
        if deviations.is_empty() {
            self.sound_at = generation;
            return Ok(None);
        }
        Ok(Some(Drift { deviations }))
    }

    /// Removes the rules; succeeds when there are none.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&mut self) -> Result<(), Error> {
        self.sound_at = None;
        self.backend.remove()
    }
}
