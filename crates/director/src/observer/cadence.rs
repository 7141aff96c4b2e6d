//! Timing of one repeated query.

use std::time::Duration;

/// When a query is asked next: at a steady rate while it is answered, ever more slowly while it is not, and never
/// twice at a time.
#[derive(Debug, Default)]
pub(super) struct Cadence {
    next_at: Duration,
    asked_at: Option<Duration>,
    hurried: bool,
    failures: u32,
}

impl Cadence {
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.asked_at.is_none() && self.next_at <= now
    }

    /// When it is due; `None` while an answer is awaited.
    pub(super) fn next_at(&self) -> Option<Duration> {
        self.asked_at.is_none().then_some(self.next_at)
    }

    pub(super) fn begin(&mut self, now: Duration) {
        (self.asked_at, self.hurried) = (Some(now), false);
    }

    /// It was answered: the next one is due a period after this one was asked.
    pub(super) fn answered(&mut self, period: Duration, now: Duration) {
        self.failures = 0;
        let next_at = self.asked_at.take().unwrap_or(now) + period;
        self.next_at = if self.hurried { now } else { next_at.max(now) };
    }

    /// It was not answered: pauses double, up to the longest.
    pub(super) fn failed(&mut self, period: Duration, longest: Duration, now: Duration) {
        self.asked_at = None;
        self.next_at = now + (period * (1 << self.failures.min(16))).min(longest.max(period));
        self.failures = self.failures.saturating_add(1);
    }

    /// Makes it due at this time already, unless it is failing anyway.
    pub(super) fn hurry(&mut self, at: Duration) {
        if self.failures == 0 {
            self.hurried |= self.asked_at.is_some();
            self.next_at = self.next_at.min(at);
        }
    }

    /// The director answers again: starts anew.
    pub(super) fn recover(&mut self, at: Duration) {
        self.failures = 0;
        self.next_at = self.next_at.min(at);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asks as often as it is due, and returns the times.
    fn asked(cadence: &mut Cadence, until: u64, is_answered: impl Fn(u64) -> bool) -> Vec<u64> {
        let due = |second: &u64| {
            let is_due = cadence.is_due(at(*second));
            if is_due {
                cadence.begin(at(*second));
                if is_answered(*second) {
                    cadence.answered(at(1), at(*second));
                } else {
                    cadence.failed(at(1), at(10), at(*second));
                }
            }
            is_due
        };
        (0..=until).filter(due).collect()
    }

    #[test]
    fn it_is_steady_while_it_is_answered_and_slows_down_while_it_is_not() {
        let mut cadence = Cadence::default();
        assert_eq!(
            asked(&mut cadence, 50, |second| !(3..40).contains(&second)),
            [0, 1, 2, 3, 4, 6, 10, 18, 28, 38, 48, 49, 50]
        );
    }

    #[test]
    fn it_is_never_asked_twice_at_a_time_and_what_is_wanted_meanwhile_comes_after() {
        let mut cadence = Cadence::default();
        cadence.begin(at(0));
        cadence.hurry(at(1));
        assert!(!cadence.is_due(at(5)));
        cadence.answered(at(10), at(6));
        assert!(cadence.is_due(at(6)));
        cadence.begin(at(6));
        cadence.answered(at(10), at(7));
        assert_eq!(cadence.next_at(), Some(at(16)));
        cadence.hurry(at(9));
        assert_eq!(cadence.next_at(), Some(at(9)));
    }
}
