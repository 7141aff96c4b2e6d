//! Pauses between attempts: constant after a success, growing with jitter after failures.

use std::time::Duration;

/// Determines the next pause.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    steady: Duration,
    longest: Duration,
    failures: u32,
}

impl Pause {
    pub(crate) fn new(steady: Duration, longest: Duration) -> Self {
        Self { steady, longest, failures: 0 }
    }

    pub(crate) fn succeeded(&mut self) -> Duration {
        self.failures = 0;
        self.steady
    }

    /// Doubles from the steady pause up to the longest. Up to a quarter is removed at random, so that many processes do
    /// not retry in step.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = self.steady.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(rand::random_range(0.75..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_and_are_steady_again_after_a_success() {
        let second = Duration::from_secs(1);
        let mut pause = Pause::new(second, second * 10);
        assert!(pause.failed() <= second);
        let last = (0..9).map(|_| pause.failed()).last().unwrap();
        assert!(last > second * 7 && last <= second * 10, "{last:?}");
        assert_eq!(pause.succeeded(), second);
        assert!(pause.failed() <= second);
    }
}
