//! Keeping rules and pairs in place: changing what is to change, noticing what somebody else changed, and putting it back.
//!
//! Call [`Guard::keep`] whenever other pairs are wanted, and every 250 to 500 ms besides: rules that something else removed are back
//! within a second. While nothing changes on the VM a call is one question of some microseconds; what is wanted is written
//! as a difference, so a call costs what changes and not what there is.
//!
//! Dropping a guard leaves the rules: an agent that ends unasked must not take working connections with it.

use std::sync::Arc;

use crate::{
    difference::{Drift, difference},
    error::{Cause, Error, Operation},
    kernel::{Netlink, Ownership},
    ruleset::{Chain, Pairs, Ruleset},
};

/// How often a change that was overtaken by one of somebody else is tried again.
const TRIES: usize = 20;

/// What a guard found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All was as it was left.
    Untouched,
    /// Nothing had been written by this guard.
    Beginning,
    /// Something else had changed it. It is put back.
    Drifted(Drift),
}

/// Rules, and what keeps them in place.
#[derive(Debug)]
pub struct Guard {
    kernel: Netlink,
    chains: Vec<Chain>,
    /// What this guard wrote last; `None` before it wrote anything.
    written: Option<Arc<Pairs>>,
    /// The generation at which everything was last found as written.
    sound_at: Option<u32>,
}

impl Guard {
    /// Nothing is written yet.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the process may not ask.
    pub fn open(ruleset: &Ruleset, ownership: Ownership) -> Result<Self, Error> {
        Ok(Self { kernel: Netlink::open(ownership)?, chains: ruleset.chains(), written: None, sound_at: None })
    }

    /// The pairs that an own table holds which is there, whoever wrote it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn present(&mut self) -> Result<Pairs, Error> {
        Ok(self.kernel.observe()?.unwrap_or_default().pairs)
    }

    /// What is in place as far as this guard knows: what it wrote, unless it had to give up since. `None` before it wrote anything.
    pub fn written(&self) -> Option<&Arc<Pairs>> {
        self.written.as_ref()
    }

    /// Brings it about that the rules are in place with exactly these pairs, and answers what was found before. Also takes over a table
    /// that an earlier life left, without a moment between the old and the new.
    ///
    /// # Errors
    /// When rules cannot be read or are refused. After an error about a difference what was written is still in place; after one
    /// about the whole, nothing is known to be.
    pub fn keep(&mut self, wanted: &Arc<Pairs>) -> Result<Found, Error> {
        for _ in 0..TRIES {
            // Read before the rules: a change after it is then found by the next call.
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

    /// Removes the rules; succeeds when there are none.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&mut self) -> Result<(), Error> {
        (self.written, self.sound_at) = (None, None);
        self.kernel.remove()
    }

    /// Writes everything, and reads it back.
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

/// The generation after one transaction. The kernel passes over zero.
fn after(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}
