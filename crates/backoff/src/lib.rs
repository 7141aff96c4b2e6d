//! Exponential back-off with jitter: how long to wait before the next attempt.
//!
//! The pause doubles with each failure in a row, up to a limit. A random part of it is removed, so that processes that
//! failed at the same moment do not retry at the same moment.
//!
//! [`Backoff`] is pure: its caller counts the failures and draws the random number. [`Retries`] does both for a caller
//! that has nothing else to count, and [`Falls`] for whoever starts a process again that must not end.
//!
//! ```
//! use std::time::Duration;
//!
//! use boshy_backoff::Backoff;
//!
//! let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5), jitter: 0.5 };
//! let whole = [0, 1, 2, 3, 4].map(|failures| backoff.pause(failures, 0.0).as_secs());
//! assert_eq!(whole, [0, 1, 2, 4, 5]);
//! assert_eq!(backoff.pause(1, 1.0), Duration::from_millis(500));
//! ```

use std::time::Duration;

/// The rule for pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Pause after the first failure in a row.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Largest part of a pause that is removed at random, from 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// No pause at all.
    pub const NONE: Self = Self { first: Duration::ZERO, longest: Duration::ZERO, jitter: 0.0 };

    /// Pause after this many failures in a row; zero for none. `random` is drawn uniformly from 0 to 1, and 0 gives the
    /// whole pause.
    #[must_use]
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let whole = self.first.saturating_mul(1 << doublings.min(31)).min(self.longest);
        let kept = 1.0 - self.jitter.clamp(0.0, 1.0) * random;
        // Fails only for a jitter or a random number that is no number.
        Duration::try_from_secs_f64(whole.as_secs_f64() * kept).unwrap_or(whole).min(whole)
    }
}

/// The failures in a row of something that is tried again and again.
#[derive(Clone, Debug)]
pub struct Retries {
    backoff: Backoff,
    failures: u32,
}

impl Retries {
    /// No failure so far.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0 }
    }

    /// Counts a failure. Returns the pause before the next attempt.
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.backoff.pause(self.failures, rand::random())
    }

    /// Ends the row of failures.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Crashes in a row of a process that is started again, each soon after its start.
#[derive(Clone, Debug)]
pub struct Falls {
    falls: u32,
    retries: Retries,
}

impl Falls {
    /// Number of crashes in a row that are tolerated.
    pub const MOST: u32 = 10;
    /// A life of this length ends a row.
    pub const QUIET: Duration = Duration::from_secs(60);
    /// Pauses before the starts after the second crash of a row and each later one.
    pub const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(400), longest: Duration::from_secs(5), jitter: 0.25 };

    /// No crash so far.
    #[must_use]
    pub fn new(backoff: Backoff) -> Self {
        Self { falls: 0, retries: Retries::new(backoff) }
    }

    /// Counts a crash after a life of this length. Returns the pause before the next start, which is zero after the
    /// first crash of a row, because somebody is waiting. `None` when the row is too long.
    pub fn after(&mut self, life: Duration) -> Option<Duration> {
        if life >= Self::QUIET {
            self.falls = 0;
            self.retries.succeeded();
        }
        self.falls += 1;
        match self.falls {
            1 => Some(Duration::ZERO),
            falls => (falls <= Self::MOST).then(|| self.retries.failed()),
        }
    }
}

impl Default for Falls {
    fn default() -> Self {
        Self::new(Self::BACKOFF)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_grow_with_failures_and_begin_anew_after_a_success() {
        let mut retries = Retries::new(Backoff { first: SECOND, longest: SECOND * 10, jitter: 0.25 });
        assert!(retries.failed() <= SECOND);
        let last = (0..9).map(|_| retries.failed()).last().unwrap();
        assert!(last > SECOND * 7 && last <= SECOND * 10, "{last:?}");
        retries.succeeded();
        assert!(retries.failed() <= SECOND);
    }

    #[test]
    fn the_first_start_again_is_at_once_the_pauses_grow_to_a_bound_and_a_quiet_life_ends_a_row() {
        let mut falls = Falls::default();
        let pauses: Vec<_> = (0..Falls::MOST).map_while(|_| falls.after(Duration::ZERO)).collect();
        assert_eq!((pauses.len(), pauses[0]), (10, Duration::ZERO));
        let Backoff { first, longest, .. } = Falls::BACKOFF;
        assert!(pauses[1] <= first && pauses[9] > longest / 2 && pauses[9] <= longest, "{pauses:?}");
        assert_eq!(falls.after(Duration::ZERO), None);
        assert_eq!(falls.after(Falls::QUIET), Some(Duration::ZERO));
    }

    #[test]
    fn jitter_only_shortens_a_pause() {
        let backoff = Backoff { first: SECOND, longest: SECOND * 4, jitter: 0.5 };
        assert_eq!(backoff.pause(1, 1.0), SECOND / 2);
        assert_eq!(backoff.pause(1, 0.0), SECOND);
        assert_eq!(backoff.pause(u32::MAX, 0.0), SECOND * 4);
    }

    #[test]
    fn settings_without_sense_do_not_panic() {
        for jitter in [-3.0, f64::NAN, f64::INFINITY, 2.0] {
            let backoff = Backoff { first: SECOND, longest: SECOND * 4, jitter };
            for failures in 0..5 {
                assert!([0.5, f64::NAN, 9.0].iter().all(|random| backoff.pause(failures, *random) <= backoff.longest));
            }
        }
    }

    proptest! {
        #[test]
        fn a_pause_lies_between_its_shortest_and_its_whole_and_no_failure_more_makes_it_shorter(
            first in 0_u64..1 << 40, longest in 0_u64..1 << 50, failures in 1_u32..80, jitter in 0.0..=1.0_f64, random in 0.0..=1.0_f64,
        ) {
            let backoff = Backoff { first: Duration::from_micros(first), longest: Duration::from_micros(longest), jitter };
            let whole = backoff.pause(failures, 0.0);
            let pause = backoff.pause(failures, random);
            prop_assert!(pause <= whole && whole <= backoff.longest);
            prop_assert!(pause.as_secs_f64() >= whole.as_secs_f64() * (1.0 - jitter) - 1e-6);
            prop_assert!(backoff.pause(failures + 1, random) >= pause);
        }
    }
}
