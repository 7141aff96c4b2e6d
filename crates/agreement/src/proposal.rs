//! One writer's attempt to have a value decided.

use std::collections::BTreeSet;

use crate::{Decided, Phase, Row, ledger::latest_decided};

/// An attempt at one slot. It is dropped when it ends, and when its writer stops: a new attempt at the same slot joins
/// where the log stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal<V> {
    slot: u64,
    writer: String,
    value: V,
    /// The row that was appended last.
    pub(crate) said: Option<Row<V>>,
}

/// What the writer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<V> {
    /// Append this row, then read the log again. A row whose answer is lost is simply appended again.
    Append(Row<V>),
    /// As [`Step::Append`], after a random pause: several writers compete, and each new round is another chance that one
    /// of them runs alone.
    AppendLater(Row<V>),
    /// The slot is decided, perhaps with another writer's value. A later one may be decided too: this is the latest.
    Decided(Decided<V>),
}

impl<V: Clone + Ord> Proposal<V> {
    /// An attempt to have `value` decided as the version of `slot`, which follows the latest decided slot. The writer's
    /// name distinguishes its rows from those of others.
    pub fn new(slot: u64, writer: impl Into<String>, value: V) -> Self {
        Self { slot, writer: writer.into(), value, said: None }
    }

    /// The slot that this is about.
    pub fn slot(&self) -> u64 {
        self.slot
    }

    /// The next step, from a reading of the log that was taken after the latest append was answered or given up.
    pub fn advance(&mut self, log: &BTreeSet<Row<V>>) -> Step<V> {
        if let Some(latest) = latest_decided(log).next().filter(|latest| latest.slot >= self.slot) {
            return Step::Decided(Decided { slot: latest.slot, value: latest.value.clone() });
        }
        let slot: Vec<_> = log.iter().filter(|row| row.slot == self.slot).collect();
        let step = match self.said.clone() {
            None => Step::Append(self.join(&slot)),
            // The append failed, or its row is still on its way. In both cases the same row does no harm.
            Some(said) if !log.contains(&said) => Step::Append(said),
            Some(said) if said.phase == Phase::Propose => Step::Append(self.vote(&said, &slot)),
            Some(said) => self.conclude(&said, &slot),
        };
        if let Step::Append(row) | Step::AppendLater(row) = &step {
            self.said = Some(row.clone());
        }
        step
    }

    /// Joins the latest round, with a proposal that is already part of it. If a value was decided in the round before,
    /// all proposals of this one are that value, so another proposal would break the agreement.
    fn join(&self, slot: &[&Row<V>]) -> Row<V> {
        let proposals = || slot.iter().filter(|row| row.phase == Phase::Propose);
        let Some(round) = proposals().map(|row| row.round).max() else {
            return self.say(0, Phase::Propose, self.value.clone());
        };
        let values = proposals().filter(|row| row.round == round).map(|row| &row.value);
        let value = values.min().unwrap_or(&self.value);
        self.say(round, Phase::Propose, value.clone())
    }

    fn vote(&self, said: &Row<V>, slot: &[&Row<V>]) -> Row<V> {
        let proposals = slot.iter().filter(|row| (row.phase, row.round) == (Phase::Propose, said.round));
        let values: BTreeSet<_> = proposals.map(|row| &row.value).collect();
        let phase = if values.len() == 1 { Phase::Commit } else { Phase::Adopt };
        self.say(said.round, phase, values.into_iter().next().unwrap_or(&said.value).clone())
    }

    fn conclude(&self, said: &Row<V>, slot: &[&Row<V>]) -> Step<V> {
        let votes = || slot.iter().filter(|row| row.round == said.round);
        let commit = votes().find(|row| row.phase == Phase::Commit);
        let adopt = votes().find(|row| row.phase == Phase::Adopt);
        match (commit, adopt) {
            (Some(commit), None) => Step::Append(self.say(0, Phase::Decide, commit.value.clone())),
            (Some(commit), Some(_)) => Step::Append(self.say(said.round + 1, Phase::Propose, commit.value.clone())),
            (None, _) => Step::AppendLater(self.say(said.round + 1, Phase::Propose, said.value.clone())),
        }
    }

    fn say(&self, round: u32, phase: Phase, value: V) -> Row<V> {
        Row { slot: self.slot, round, writer: self.writer.clone(), phase, value }
    }
}
