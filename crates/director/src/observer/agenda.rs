//! Which deployment is read when, and how many at a time. Pure: values in, values out, time is brought along.
//!
//! Four kinds of readings, each with a share of its own, so that none waits behind another: news; what was never read; what cannot be
//! read; and a slow pass over everything, one deployment after the other, spread over its period. A reading that takes long gives its
//! place to the next, up to a bound: one deployment that is never answered holds up nobody else.

use std::{collections::BTreeMap, time::Duration};

/// Readings of one kind that begin together, at most.
const AT_ONCE: usize = 4;
/// Readings of one kind at the same time, those that take long included.
const AT_MOST: usize = 8;
/// The same for deployments whose last reading failed.
const FAILING_AT_MOST: usize = 2;
/// The same for the pass.
const PASS_AT_MOST: usize = 2;
/// How long a reading keeps its place from the next.
const KEEPS_ITS_PLACE: Duration = Duration::from_secs(2);
/// Pauses after readings that leave something to be desired: the first, and the second, from which on they double.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const SECOND_PAUSE: Duration = Duration::from_secs(5);
/// When to look again for a place.
const WAITING: Duration = Duration::from_millis(500);

/// Why a deployment is read, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// Something was said of it, or its last answer is to be confirmed.
    News,
    /// It was never read, or nobody knows what was missed.
    Unread,
    /// Its last reading left something to be desired.
    Again,
    /// It is its turn in the pass.
    Pass,
}

/// What a reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is known.
    Good,
    /// It failed, or there is no manifest yet.
    Wanting,
    /// An answer that is believed when a second one says the same.
    Doubtful,
}

/// The readings to come and those under way.
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

    /// Takes the names there are. A new one is read at once.
    pub(super) fn keep<'a>(&mut self, names: impl Iterator<Item = &'a str>, now: Duration) {
        let mut before = std::mem::take(&mut self.turns);
        let unread = || Turn { due: Some((now, Reason::Unread)), ..Turn::default() };
        self.turns = names.map(|name| (name.to_owned(), before.remove(name).unwrap_or_else(unread))).collect();
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.turns.contains_key(name)
    }

    /// Wants a deployment to be read, and soon after its last reading rather than at once when there is no hurry: what changes
    /// for minutes must not be read every second.
    pub(super) fn want(&mut self, name: &str, now: Duration, no_sooner_after_the_last: Duration) {
        if let Some(turn) = self.turns.get_mut(name) {
            let earliest = turn.read_at.map_or(now, |read_at| now.max(read_at + no_sooner_after_the_last));
            turn.want(earliest, Reason::News);
        }
    }

    /// Wants everything to be read, as fast as at the beginning.
    pub(super) fn want_all(&mut self, now: Duration) {
        self.turns.values_mut().for_each(|turn| turn.want(now, Reason::Unread));
    }

    /// The readings to begin now, `period` being that of the pass; none of the pass without one.
    pub(super) fn begin(&mut self, now: Duration, period: Option<Duration>) -> Vec<String> {
        self.take_turn_of_pass(now, period);
        let mut due: Vec<_> = self.turns.iter().filter_map(|(name, turn)| Some((turn.is_due(now)?, name))).collect();
        due.sort();
        let due: Vec<String> = due.into_iter().map(|(_, name)| name.clone()).collect();
        due.into_iter().filter(|name| self.begin_one(name, now)).collect()
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
            Reason::News | Reason::Unread => young < AT_ONCE && all < AT_MOST,
            Reason::Again => all < FAILING_AT_MOST,
            Reason::Pass => all < PASS_AT_MOST,
        }
    }

    /// Lets the one that was not read for longest be read, when it is time for the next.
    fn take_turn_of_pass(&mut self, now: Duration, period: Option<Duration>) {
        let Some(period) = period.filter(|_| self.has_place(Reason::Pass, now)) else { return };
        let pace = self.pace(period);
        // A shorter period than before takes effect at once, and what the director was too slow for is not made up for.
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

    /// Whether a reading was one of the pass, and notes how it ended. What was said of the deployment meanwhile stays due.
    pub(super) fn end(&mut self, name: &str, outcome: Outcome, now: Duration) -> Option<Reason> {
        let (longest_pause, confirm_after) = (self.longest_pause, self.confirm_after);
        let turn = self.turns.get_mut(name)?;
        let reason = turn.asked.take().map(|(_, reason)| reason);
        turn.read_at = Some(now);
        match outcome {
            Outcome::Good => turn.failures = 0,
            Outcome::Doubtful => turn.want(now + confirm_after, Reason::News),
            Outcome::Wanting => {
                turn.failures = turn.failures.saturating_add(1);
                turn.want(now + pause(turn.failures, longest_pause), Reason::Again);
            }
        }
        reason
    }

    /// When to call [`Agenda::begin`] again at the latest.
    pub(super) fn next_at(&self, now: Duration, period: Option<Duration>) -> Option<Duration> {
        let due = self.turns.values().filter(|turn| turn.asked.is_none()).filter_map(|turn| turn.due);
        let of_pass = period.filter(|_| !self.turns.is_empty()).map(|_| self.next_of_pass);
        // What is due and not begun waits for a place, which time makes as well.
        due.map(|(at, _)| at).chain(of_pass).min().map(|at| if at <= now { now + WAITING } else { at })
    }
}

impl Turn {
    fn want(&mut self, at: Duration, reason: Reason) {
        let (known_at, known_reason) = self.due.unwrap_or((at, reason));
        self.due = Some((at.min(known_at), reason.min(known_reason)));
    }

    /// When it is due: its reason and since when.
    fn is_due(&self, now: Duration) -> Option<(Reason, Duration)> {
        let (at, _) = self.due.filter(|(at, _)| self.asked.is_none() && *at <= now)?;
        Some((self.kind()?, at))
    }

    /// The share that its next reading belongs to: news of what cannot be read must not keep out news of what can.
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
