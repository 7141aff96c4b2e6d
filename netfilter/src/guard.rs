//! Keeps rules and sets in place: it applies changes, detects foreign changes, and undoes them.
//!
//! Call [`Guard::keep`] whenever the wanted content changes, and every 250 to 500 ms in any case: rules that another
//! process removed are then back within a second. While nothing changes on the VM, a call is one request of some
//! microseconds. Changes are written as a difference, so a call costs what changes and not what exists.
//!
//! Dropping a guard leaves the rules in place: an agent that crashes must not break working connections.

use crate::{
    difference::{Deviation, Drift, Observed, difference},
    error::{Cause, Error, Operation},
    kernel::{Netlink, Ownership},
    ruleset::Ruleset,
};

/// How often a change is retried when another process changed the tables first.
const TRIES: usize = 20;

/// State that a guard found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Everything was as the guard left it.
    Untouched,
    /// This guard had written nothing before.
    Beginning,
    /// Another process had changed the rules. They have been restored.
    Drifted(Drift),
}

/// The table `inet boshy`, and the means to keep its content in place.
#[derive(Debug)]
pub struct Guard {
    kernel: Netlink,
    /// What this guard wrote last; `None` before it wrote anything.
    written: Option<Ruleset>,
    /// The generation at which everything was last found as written.
    sound_at: Option<u32>,
}

impl Guard {
    /// A guard that has written nothing yet.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the process lacks the permission.
    pub fn open(ownership: Ownership) -> Result<Self, Error> {
        Ok(Self { kernel: Netlink::open(ownership)?, written: None, sound_at: None })
    }

    /// The content of boshy's existing table, which an earlier process may have written; empty when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn present(&mut self) -> Result<Observed, Error> {
        Ok(self.kernel.observe()?.unwrap_or_default())
    }

    /// What is in place as far as this guard knows: what it wrote, unless it has had to give up since. `None` before it
    /// wrote anything.
    pub fn written(&self) -> Option<&Ruleset> {
        self.written.as_ref()
    }

    /// Makes exactly this the content of the table, and returns what was found before. It also takes over a table that
    /// an earlier process left, with no gap between the old rules and the new. Where only elements of sets differ from
    /// what was written, only these are changed.
    ///
    /// # Errors
    /// When rules cannot be read or are refused. What was written before is then still in place, unless it had drifted
    /// or the new table is not as written: nothing is known to be in place then.
    pub fn keep(&mut self, wanted: &Ruleset) -> Result<Found, Error> {
        for _ in 0..TRIES {
            // Read before the rules, so that the next call notices a later change.
            let generation = self.kernel.generation()?;
            let Some(written) = &self.written else {
                self.replace(wanted)?;
                return Ok(Found::Beginning);
            };
            if self.sound_at != Some(generation) {
                let deviations = deviations(&mut self.kernel, written)?;
                if !deviations.is_empty() {
                    self.written = None;
                    self.replace(wanted)?;
                    return Ok(Found::Drifted(Drift { deviations }));
                }
                self.sound_at = Some(generation);
            }
            if written == wanted {
                return Ok(Found::Untouched);
            }
            if !written.has_the_rules_of(wanted) {
                self.replace(wanted)?;
                return Ok(Found::Untouched);
            }
            if self.kernel.change(&written.sets, &wanted.sets, generation)? {
                self.written = Some(wanted.clone());
                self.sound_at = Some(after(generation));
                return Ok(Found::Untouched);
            }
        }
        Err(Error { operation: Operation::Apply, cause: Cause::Unsettled })
    }

    /// Removes the rules. Succeeds when there are none.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&mut self) -> Result<(), Error> {
        (self.written, self.sound_at) = (None, None);
        self.kernel.remove()
    }

    /// Writes the whole table and reads it back.
    fn replace(&mut self, wanted: &Ruleset) -> Result<(), Error> {
        self.kernel.replace(wanted)?;
        (self.written, self.sound_at) = (None, None);
        let generation = self.kernel.generation()?;
        let deviations = deviations(&mut self.kernel, wanted)?;
        if !deviations.is_empty() {
            let cause = Cause::NotAsWritten(Drift { deviations });
            return Err(Error { operation: Operation::Apply, cause });
        }
        (self.written, self.sound_at) = (Some(wanted.clone()), Some(generation));
        Ok(())
    }
}

/// All deviations of the table from what is wanted.
///
/// A deviation counts once two readings in a row show it: while the kernel resizes the hash table of a set, which it
/// does in the background after many elements were added, a reading may lack some of them.
fn deviations(kernel: &mut Netlink, wanted: &Ruleset) -> Result<Vec<Deviation>, Error> {
    let mut last = None;
    for _ in 0..TRIES {
        let found = difference(wanted, kernel.observe()?.as_ref());
        if found.is_empty() || last.as_ref() == Some(&found) {
            return Ok(found);
        }
        last = Some(found);
    }
    Err(Error { operation: Operation::Read, cause: Cause::Unsettled })
}

/// The generation after one transaction. The kernel skips zero.
fn after(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}
