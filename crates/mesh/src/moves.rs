//! Which moves of ports everybody has accepted.
//!
//! A move is settled when every connected proxy has accepted the generation that says it, a moment has passed in which
//! Envoy's threads take over what it has accepted, and nobody is awaited who was there before this pilot started.
//! Somebody who stays silent holds a move back for [`PATIENCE`] only.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{Hostname, Moment, Stages};

/// How long a move waits for who stays silent.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long the agents that were there before may take to connect again: their longest pause is 30 seconds.
pub const RETURN: Duration = Duration::from_secs(40);
/// From Envoy's acceptance until all its threads act by it.
const GRACE: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    open: BTreeMap<(Hostname, u16), Move>,
    /// Instances that were there before, and have not been heard since.
    awaited: BTreeSet<String>,
}

/// A move of a port for which the time is not up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    /// The generation that says it.
    generation: u64,
    at: Moment,
    patience: Duration,
    settled: bool,
}

impl Moves {
    /// At the start of a process: what was published before may have reached anybody or nobody of these instances.
    pub fn resumed(stages: &Stages, generation: u64, awaited: BTreeSet<String>, now: Moment) -> Self {
        let patience = if awaited.is_empty() { PATIENCE } else { RETURN };
        let open = |port| (port, Move { generation, at: now, patience, settled: false });
        Self { open: stages.iter().map(|(host, port, _)| open((host.clone(), port))).collect(), awaited }
    }

    /// Records what has moved with a generation.
    pub fn published(&mut self, before: &Stages, after: &Stages, generation: u64, now: Moment) {
        for (host, port, stage) in after.iter() {
            if before.get(host, port) != Some(stage) {
                let moved = Move { generation, at: now, patience: PATIENCE, settled: false };
                self.open.insert((host.clone(), port), moved);
            }
        }
    }

    /// Looks at what has been accepted since. `heard` are instances that report now, and `accepted` says whether
    /// everybody has accepted a generation. Returns whether a port may move that could not before.
    pub fn look(&mut self, heard: impl Fn(&str) -> bool, accepted: impl Fn(u64) -> bool, now: Moment) -> bool {
        self.awaited.retain(|instance| !heard(instance));
        let all_there = self.awaited.is_empty();
        let mut news = false;
        self.open.retain(|_, moved| {
            let passed = now.since(moved.at);
            let settled = moved.settled || (all_there && passed >= GRACE && accepted(moved.generation));
            let over = passed >= moved.patience;
            news |= over || settled != moved.settled;
            moved.settled = settled;
            !over
        });
        if self.open.is_empty() {
            self.awaited.clear();
        }
        news
    }

    /// Whether the last move of a port is settled, or has waited long enough.
    pub fn is_settled(&self, host: &Hostname, port: u16) -> bool {
        self.open.get(&(host.clone(), port)).is_none_or(|moved| moved.settled)
    }

    /// Whether so much time has passed since the last move of a port that nobody is waited for.
    pub fn is_late(&self, host: &Hostname, port: u16) -> bool {
        !self.open.contains_key(&(host.clone(), port))
    }

    /// Whether nothing is waited for.
    pub fn are_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Instances that were there before this process, and have not been heard since.
    pub fn awaited(&self) -> &BTreeSet<String> {
        &self.awaited
    }
}

#[cfg(test)]
#[path = "moves_tests.rs"]
mod tests;
