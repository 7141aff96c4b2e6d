//! Schedules the readings of deployments, and limits how many run at a time. Pure: callers supply the time.
//!
//! There are four kinds of readings, each with its own limit, so that none waits behind another: reported changes;
//! deployments never read; deployments whose last reading failed; and a slow pass over all, one deployment after the
//! other, spread over its period. A slow reading gives up its place to the next one, up to a limit. So one deployment
//! that is never answered holds up no other.

use std::{collections::BTreeMap, time::Duration};

/// Number of readings of one kind that may begin together.
const AT_ONCE: usize = 4;
/// Number of readings of one kind at the same time, including slow ones.
const AT_MOST: usize = 8;
/// The same for deployments whose last reading failed.
const FAILING_AT_MOST: usize = 2;
/// The same for the pass.
const PASS_AT_MOST: usize = 2;
/// How long a reading keeps its place before the next one may begin.
const KEEPS_ITS_PLACE: Duration = Duration::from_secs(2);
/// Pauses after incomplete readings: the first one, and the second, from which on they double.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const SECOND_PAUSE: Duration = Duration::from_secs(5);
/// How soon to check for a free place.
const WAITING: Duration = Duration::from_millis(500);

/// Why a deployment is read, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// An event or task named it, or its last answer has to be confirmed.
    Report,
    /// It was never read, or changes may have been missed.
    Unread,
    /// Its last reading was incomplete.
    Again,
    /// Its turn in the pass has come.
    Pass,
}

/// Outcome of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Complete.
    Good,
    /// It failed, or there is no manifest yet.
    Wanting,
    /// The answer needs to be confirmed by a second one.
    Doubtful,
}

/// Pending and running readings.
pub(super) struct Agenda {
    longest_pause: Duration,
    confirm_after: Duration,
    turns: BTreeMap<String, Turn>,
    next_of_pass: Duration,
}

#[derive(Default)]
struct Turn {
    due: Option<(Duration, Reason)>,
    asked: Option<(Duration, Reason)>,
    read_at: Option<Duration>,
    failures: u32,
}

impl Agenda {
    pub(super) fn new(longest_pause: Duration, confirm_after: Duration) -> Self {
        Self { longest_pause, confirm_after, turns: BTreeMap::new(), next_of_pass: Duration::ZERO }
    }

    /// Sets the existing names. A new one is read at once.
    pub(super) fn keep<'a>(&mut self, names: impl Iterator<Item = &'a str>, now: Duration) {
        let mut before = std::mem::take(&mut self.turns);
        let unread = || Turn { due: Some((now, Reason::Unread)), ..Turn::default() };
        self.turns = names.map(|name| (name.to_owned(), before.remove(name).unwrap_or_else(unread))).collect();
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.turns.contains_key(name)
    }

    /// Schedules a reading because a change was reported. Without urgency, it keeps a minimum time to the last reading:
    /// a deployment that changes for minutes must not be read every second.
    pub(super) fn want(&mut self, name: &str, now: Duration, no_sooner_after_the_last: Duration) {
        if let Some(turn) = self.turns.get_mut(name) {
            let earliest = turn.read_at.map_or(now, |read_at| now.max(read_at + no_sooner_after_the_last));
            turn.want(earliest, Reason::Report);
        }
    }

    /// Schedules readings of all deployments, as fast as at the start.
    pub(super) fn want_all(&mut self, now: Duration) {
        self.turns.values_mut().for_each(|turn| turn.want(now, Reason::Unread));
    }

    /// The readings to begin now. `period` is the period of the pass; without one, no reading of the pass begins.
    pub(super) fn begin(&mut self, now: Duration, period: Option<Duration>) -> Vec<String> {
        self.take_turn_of_pass(now, period);
        let mut due: Vec<_> = self.turns.iter().filter_map(|(name, turn)| Some((turn.is_due(now)?, name))).collect();
        due.sort();
        let due: Vec<String> = due.into_iter().map(|(_, name)| name.clone()).collect();
        due.into_iter().filter(|name| self.begin_one(name, now)).collect()
    }

    /// When the reading that is under way has begun.
    pub(super) fn asked_at(&self, name: &str) -> Option<Duration> {
        self.turns.get(name)?.asked.map(|(at, _)| at)
    }

    /// Whether the reading that has begun last is one of the pass.
    pub(super) fn reads_for_the_pass(&self, name: &str) -> bool {
        let asked = self.turns.get(name).and_then(|turn| turn.asked);
        asked.is_some_and(|(_, reason)| reason == Reason::Pass)
    }

    fn begin_one(&mut self, name: &str, now: Duration) -> bool {
        let Some(reason) = self.turns.get(name).and_then(Turn::kind) else { return false };
        if !self.has_place(reason, now) {
            return false;
        }
        if let Some(turn) = self.turns.get_mut(name) {
            (turn.due, turn.asked) = (None, Some((now, reason)));
        }
        true
    }

    fn has_place(&self, reason: Reason, now: Duration) -> bool {
        let under_way = self.turns.values().filter_map(|turn| turn.asked).filter(|(_, of)| *of == reason);
        let (all, young) = under_way.fold((0, 0), |(all, young), (since, _)| {
            (all + 1, young + usize::from(now.saturating_sub(since) < KEEPS_ITS_PLACE))
        });
        match reason {
            Reason::Report | Reason::Unread => young < AT_ONCE && all < AT_MOST,
            Reason::Again => all < FAILING_AT_MOST,
            Reason::Pass => all < PASS_AT_MOST,
        }
    }

    /// Schedules the deployment that has not been read for longest, when the pass is due for the next one.
    fn take_turn_of_pass(&mut self, now: Duration, period: Option<Duration>) {
        let Some(period) = period.filter(|_| self.has_place(Reason::Pass, now)) else { return };
        let pace = self.pace(period);
        // A shorter period takes effect at once. Time that a slow director has cost is not made up for.
        self.next_of_pass = self.next_of_pass.min(now + pace);
        // The pass begins when every deployment was read once.
        if self.turns.values().any(|turn| turn.read_at.is_none()) {
            return;
        }
        let idle = self.turns.values_mut().filter(|turn| turn.due.is_none() && turn.asked.is_none());
        let Some(turn) = idle.min_by_key(|turn| turn.read_at) else { return };
        if now >= self.next_of_pass {
            turn.want(now, Reason::Pass);
            self.next_of_pass = now + pace;
        }
    }

    fn pace(&self, period: Duration) -> Duration {
        period / u32::try_from(self.turns.len().max(1)).unwrap_or(u32::MAX)
    }

    /// Records the outcome of a reading and returns its reason. What was reported in the meantime stays due.
    pub(super) fn end(&mut self, name: &str, outcome: Outcome, now: Duration) -> Option<Reason> {
        let (longest_pause, confirm_after) = (self.longest_pause, self.confirm_after);
        let turn = self.turns.get_mut(name)?;
        let reason = turn.asked.take().map(|(_, reason)| reason);
        turn.read_at = Some(now);
        match outcome {
            Outcome::Good => turn.failures = 0,
            Outcome::Doubtful => turn.want(now + confirm_after, Reason::Report),
            Outcome::Wanting => {
                turn.failures = turn.failures.saturating_add(1);
                turn.want(now + pause(turn.failures, longest_pause), Reason::Again);
            }
        }
        reason
    }

    /// When [`Agenda::begin`] has to be called again at the latest.
    pub(super) fn next_at(&self, now: Duration, period: Option<Duration>) -> Option<Duration> {
        let due = self.turns.values().filter(|turn| turn.asked.is_none()).filter_map(|turn| turn.due);
        let of_pass = period.filter(|_| !self.turns.is_empty()).map(|_| self.next_of_pass);
        // A reading that is due but has not begun waits for a place, which may become free by the passing of time.
        due.map(|(at, _)| at).chain(of_pass).min().map(|at| if at <= now { now + WAITING } else { at })
    }
}

impl Turn {
    fn want(&mut self, at: Duration, reason: Reason) {
        let (known_at, known_reason) = self.due.unwrap_or((at, reason));
        self.due = Some((at.min(known_at), reason.min(known_reason)));
    }

    /// If it is due: its reason and since when.
    fn is_due(&self, now: Duration) -> Option<(Reason, Duration)> {
        let (at, _) = self.due.filter(|(at, _)| self.asked.is_none() && *at <= now)?;
        Some((self.kind()?, at))
    }

    /// The kind that its next reading counts as: reports of failing deployments must not displace those of others.
    fn kind(&self) -> Option<Reason> {
        let (_, reason) = self.due?;
        Some(if self.failures > 0 { Reason::Again } else { reason })
    }
}

fn pause(failures: u32, longest: Duration) -> Duration {
    match failures {
        0 | 1 => FIRST_PAUSE.min(longest),
        n => (SECOND_PAUSE * (1 << (n - 2).min(16))).min(longest),
    }
}

#[cfg(test)]
#[path = "agenda_tests.rs"]
mod tests;
