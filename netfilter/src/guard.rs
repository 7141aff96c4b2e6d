//! Keeps rules and pairs in place: it applies changes, detects foreign changes, and undoes them.
//!
//! Call [`Guard::keep`] whenever the wanted pairs change, and every 250 to 500 ms in any case: rules that another
//! process removed are then back within a second. While nothing changes on the VM, a call is one request of some
//! microseconds. Changes are written as a difference, so a call costs what changes and not what exists.
//!
//! Dropping a guard leaves the rules in place: an agent that crashes must not break working connections.

use std::sync::Arc;

use crate::{
    difference::{Drift, difference},
    error::{Cause, Error, Operation},
    kernel::{Netlink, Ownership},
    ruleset::{Chain, Pairs, Ruleset},
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

/// A rule set, and the means to keep it in place.
#[derive(Debug)]
pub struct Guard {
    kernel: Netlink,
    chains: Vec<Chain>,
    /// Pairs that this guard wrote last; `None` before it wrote any.
    written: Option<Arc<Pairs>>,
    /// The generation at which everything was last found as written.
    sound_at: Option<u32>,
}

impl Guard {
    /// A guard that has written nothing yet.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the process lacks the permission.
    pub fn open(ruleset: &Ruleset, ownership: Ownership) -> Result<Self, Error> {
        Ok(Self { kernel: Netlink::open(ownership)?, chains: ruleset.chains(), written: None, sound_at: None })
    }

    /// The pairs in boshy's existing table, which an earlier process may have written.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn present(&mut self) -> Result<Pairs, Error> {
        Ok(self.kernel.observe()?.unwrap_or_default().pairs)
    }

    /// What is in place as far as this guard knows: the pairs it wrote, unless it has had to give up since. `None`
    /// before it wrote any.
    pub fn written(&self) -> Option<&Arc<Pairs>> {
        self.written.as_ref()
    }

    /// Puts the rules in place with exactly these pairs, and returns what was found before. It also takes over a table
    /// that an earlier process left, with no gap between the old rules and the new.
    ///
    /// # Errors
    /// When rules cannot be read or are refused. If writing a difference failed, the pairs written before are still in
    /// place. If writing the whole table failed, nothing is known to be in place.
    pub fn keep(&mut self, wanted: &Arc<Pairs>) -> Result<Found, Error> {
        for _ in 0..TRIES {
            // Read before the rules, so that the next call notices a later change.
            let generation = self.kernel.generation()?;
            let Some(written) = self.written.clone() else {
                self.replace(wanted)?;
                return Ok(Found::Beginning);
            };
            if self.sound_at != Some(generation) {
                let deviations = difference(&self.chains, &written, self.kernel.observe()?.as_ref());
                if !deviations.is_empty() {
                    self.written = None;
                    self.replace(wanted)?;
                    return Ok(Found::Drifted(Drift { deviations }));
                }
                self.sound_at = Some(generation);
            }
            if written == *wanted {
                return Ok(Found::Untouched);
            }
            if self.kernel.change(written.difference(wanted), wanted.difference(&written), generation)? {
                self.written = Some(Arc::clone(wanted));
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
    fn replace(&mut self, wanted: &Arc<Pairs>) -> Result<(), Error> {
        self.sound_at = None;
        self.kernel.replace(&self.chains, wanted)?;
        let generation = self.kernel.generation()?;
        let deviations = difference(&self.chains, wanted, self.kernel.observe()?.as_ref());
        if !deviations.is_empty() {
            let cause = Cause::NotAsWritten(Drift { deviations });
            return Err(Error { operation: Operation::Apply, cause });
        }
        (self.written, self.sound_at) = (Some(Arc::clone(wanted)), Some(generation));
        Ok(())
    }
}

/// The generation after one transaction. The kernel skips zero.
fn after(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}
