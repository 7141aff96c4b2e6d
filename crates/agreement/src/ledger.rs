//! What a writer knows of decided slots.

use std::{cmp::Ordering, collections::BTreeSet};

use crate::{Phase, Row};

/// A decided version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decided<V> {
    /// Its number.
    pub slot: u64,
    /// Its value.
    pub value: V,
}

/// The latest decided version that a writer has seen. It is on the writer's disk before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ledger<V> {
    latest: Option<Decided<V>>,
}

/// What a reading of the log says about the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<V> {
    /// Nothing: both have the same latest version, or none.
    Same,
    /// The log has a later version.
    Later(Decided<V>),
    /// The log has lost the latest version: somebody has deleted rows. Append this row.
    Lost(Row<V>),
    /// The log has another value for the slot of the latest version.
    Forked(Decided<V>),
}

impl<V: Clone + Ord> Ledger<V> {
    /// A ledger from its disk; `None` when no version is known.
    pub fn new(latest: Option<Decided<V>>) -> Self {
        Self { latest }
    }

    /// The latest known version.
    pub fn latest(&self) -> Option<&Decided<V>> {
        self.latest.as_ref()
    }

    /// The slot after the latest one.
    pub fn next_slot(&self) -> u64 {
        self.latest.as_ref().map_or(0, |latest| latest.slot + 1)
    }

    /// Takes a version that was decided. An older one changes nothing.
    pub fn record(&mut self, decided: Decided<V>) {
        if decided.slot >= self.next_slot() {
            self.latest = Some(decided);
        }
    }

    /// Compares a reading of the log with the latest known version. `writer` names who puts a lost row back.
    pub fn compare(&self, log: &BTreeSet<Row<V>>, writer: &str) -> News<V> {
        let found = latest_decided(log).map(|row| Decided { slot: row.slot, value: row.value.clone() });
        let mut found = found.peekable();
        let Some(known) = &self.latest else { return found.next().map_or(News::Same, News::Later) };
        match found.peek().map(|found| found.slot.cmp(&known.slot)) {
            Some(Ordering::Greater) => found.next().map_or(News::Same, News::Later),
            Some(Ordering::Equal) => found.find(|found| found != known).map_or(News::Same, News::Forked),
            Some(Ordering::Less) | None => News::Lost(Row {
                slot: known.slot,
                round: 0,
                writer: writer.to_owned(),
                phase: Phase::Decide,
                value: known.value.clone(),
            }),
        }
    }
}

/// The decisions of the latest decided slot. More than one value among them is a fork.
pub(crate) fn latest_decided<V: Ord>(log: &BTreeSet<Row<V>>) -> impl Iterator<Item = &Row<V>> {
    let decisions = || log.iter().filter(|row| row.phase == Phase::Decide);
    let latest = decisions().map(|row| row.slot).max();
    decisions().filter(move |row| Some(row.slot) == latest)
}
