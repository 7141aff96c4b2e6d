//! Exponential back-off with jitter: how long to wait before the next attempt.
//!
//! The pause doubles with each failure in a row, up to a limit. A random part of it is removed, so that processes that
//! failed at the same moment do not retry at the same moment.
//!
//! [`Backoff`] is pure: its caller counts the failures and draws the random number. [`Retries`] does both for a caller
//! that has nothing else to count.
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
