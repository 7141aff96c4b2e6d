//! Holds back until the state is on disk: names that become answered, and answers to the pilot.
//!
//! ```text
//!   relay ──> state, names, answers ──> Commit ──(the state is on disk)──> names to DNS, answers to the pilot
//!                    └──> the writer, always the newest ──── told ────^
//! ```
//!
//! While one state is being written, newer ones gather, and the next write takes the newest: everything that waits for
//! any of them is released with it. The removal of a name never waits. When nothing can be written, nothing waits: a
//! broken disk costs the guarantee across restarts, but not the mesh (docs/adr).

use std::{collections::VecDeque, sync::Arc};

use boshy_mesh::NameTable;

use super::relay::Stored;
use crate::session::client::RequestToPilot;

/// State of the disk.
#[derive(Clone, Debug, Default)]
pub enum Kept {
    /// No state is ever written. Nothing waits.
    #[default]
    Nowhere,
    /// This state is on disk, compared by identity.
    State(Arc<Stored>),
    /// A newer state cannot be written, or not in time. Nothing waits.
    Broken,
}

/// Held-back items that are released.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// The names to be answered, when they changed.
    pub(super) names: Option<Arc<NameTable>>,
    /// Answers to the pilot.
    pub(super) answers: Vec<RequestToPilot>,
}

#[derive(Debug)]
struct Entry {
    state: Arc<Stored>,
    names: Arc<NameTable>,
    answers: Vec<RequestToPilot>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Commit {
    /// Newest last. Never empty; the first is on disk if `kept` is set.
    entries: VecDeque<Entry>,
    /// Whether the first entry is on disk.
    kept: bool,
    /// Names that are answered now.
    published: Arc<NameTable>,
}

impl Commit {
    /// Starts with a state that may be on disk, and the names that are answered already.
    pub(super) fn new(state: Arc<Stored>, published: Arc<NameTable>) -> Self {
        let entry = Entry { state, names: Arc::clone(&published), answers: Vec::new() };
        Self { entries: VecDeque::from([entry]), kept: false, published }
    }

    /// The state to be written.
    pub(super) fn state(&self) -> &Arc<Stored> {
        &self.newest().state
    }

    /// Number of answers held back.
    pub(super) fn waiting(&self) -> usize {
        self.entries.iter().map(|entry| entry.answers.len()).sum()
    }

    /// Adds a state, which may equal the previous one, with the names answered in it, and the answers to send once it
    /// is on disk.
    pub(super) fn change(
        &mut self,
        state: Stored,
        names: Option<NameTable>,
        answers: Vec<RequestToPilot>,
        kept: &Kept,
    ) -> Released {
        let newest = self.newest();
        let names = names.map_or_else(|| Arc::clone(&newest.names), Arc::new);
        if *newest.state == state {
            let newest = self.entries.back_mut().expect("never empty");
            newest.names = names;
            newest.answers.extend(answers);
        } else {
            self.entries.push_back(Entry { state: Arc::new(state), names, answers });
        }
        self.release(kept)
    }

    /// Releases what the disk's new state allows.
    pub(super) fn release(&mut self, kept: &Kept) -> Released {
        let written = match kept {
            Kept::Nowhere | Kept::Broken => Some(self.entries.len() - 1),
            Kept::State(state) => self.entries.iter().rposition(|entry| Arc::ptr_eq(&entry.state, state)),
        };
        let mut answers = Vec::new();
        if let Some(written) = written {
            for entry in self.entries.drain(..written) {
                answers.extend(entry.answers);
            }
            answers.append(&mut self.entries[0].answers);
            self.kept = true;
        }
        Released { names: self.publish(), answers }
    }

    /// The stream has ended: the answers for it are dropped.
    pub(super) fn forget_answers(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.answers.clear());
    }

    /// The newest names, restricted to those that the state on disk contains or that are answered already.
    fn publish(&mut self) -> Option<Arc<NameTable>> {
        let (first, newest) = (&self.entries[0], self.newest());
        let names = if self.kept && Arc::ptr_eq(&first.names, &newest.names) {
            Arc::clone(&newest.names)
        } else {
            let durable = |host: &str| self.kept.then(|| first.names.get(host)).flatten();
            let fit = newest.names.iter().filter(|(host, vip)| {
                durable(host.as_str()) == Some(*vip) || self.published.get(host.as_str()) == Some(*vip)
            });
            Arc::new(fit.map(|(host, vip)| (host.clone(), vip)).collect())
        };
        if Arc::ptr_eq(&names, &self.published) || *names == *self.published {
            return None;
        }
        self.published = Arc::clone(&names);
        Some(names)
    }

    fn newest(&self) -> &Entry {
        self.entries.back().expect("never empty")
    }
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
