//! What waits until it is on disk: names that begin to be answered, and answers to the pilot.
//!
//! ```text
//!   relay ──> state, names, answers ──> Commit ──(the state is on disk)──> names to DNS, answers to the pilot
//!                    └──> whoever writes, always the newest ── told ──^
//! ```
//!
//! While one state is being written others gather, and the next write takes the newest: what waits for any of them goes with it. A name
//! that ceases to be answered waits for nothing. Where nothing can be written, nothing waits: a broken disk costs the promise about
//! restarts and not the mesh (docs/adr).

use std::{collections::VecDeque, sync::Arc};

use boshy_mesh::NameTable;

use super::Request;
use crate::relay::Stored;

/// What is on disk.
#[derive(Clone, Debug, Default)]
pub enum Kept {
    /// Nobody writes. Nothing waits.
    #[default]
    Nowhere,
    /// This state, by identity.
    State(Arc<Stored>),
    /// Nothing newer can be written, or nothing could in time. Nothing waits.
    Broken,
}

/// What need not wait any longer.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Names to be answered, where they changed.
    pub(super) names: Option<Arc<NameTable>>,
    /// Answers to the pilot.
    pub(super) answers: Vec<Request>,
}

#[derive(Debug)]
struct Entry {
    state: Arc<Stored>,
    names: Arc<NameTable>,
    answers: Vec<Request>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Commit {
    /// Newest last. Never empty; the first is on disk, unless none is.
    entries: VecDeque<Entry>,
    /// Whether the first one is on disk.
    kept: bool,
    /// Names that are answered.
    published: Arc<NameTable>,
}

impl Commit {
    /// Begins with a state that may be on disk, and the names that are answered already.
    pub(super) fn new(state: Arc<Stored>, published: Arc<NameTable>) -> Self {
        let entry = Entry { state, names: Arc::clone(&published), answers: Vec::new() };
        Self { entries: VecDeque::from([entry]), kept: false, published }
    }

    /// The state to be written.
    pub(super) fn state(&self) -> &Arc<Stored> {
        &self.newest().state
    }

    /// Answers that wait.
    pub(super) fn waiting(&self) -> usize {
        self.entries.iter().map(|entry| entry.answers.len()).sum()
    }

    /// Takes a state, equal to the one before or not, with the names that it has answered, and answers that are true once it is kept.
    pub(super) fn change(
        &mut self,
        state: Stored,
        names: Option<NameTable>,
        answers: Vec<Request>,
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

    /// Takes what is on disk now.
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

    /// The stream is down: what was to be answered on it is lost.
    pub(super) fn forget_answers(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.answers.clear());
    }

    /// Names that are wanted now, of those that were wanted by what is on disk or are answered already.
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
