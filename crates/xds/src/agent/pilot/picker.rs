//! Decides which pilot to try next, and when.
//!
//! The list is in order of preference. When a pilot fails, the next one is tried at once, apart from a jitter, so that
//! losing one pilot costs no pause. Only after a whole round without success does each further round wait longer. The
//! jitter spreads the VMs of a deployment, which all lose a pilot at the same moment.

use std::time::Duration;

/// Pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest pause before the next pilot of the same round, and base of the pause between rounds.
    pub base: Duration,
    /// Longest pause of all.
    pub cap: Duration,
    /// A stream that lasted this long counts as a success: the next attempt starts a fresh count.
    pub settled: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(500), cap: Duration::from_secs(30), settled: Duration::from_secs(30) }
    }
}

/// The next attempt: a pause and a pilot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<P> {
    /// Pause before it.
    pub pause: Duration,
    /// The pilot.
    pub pilot: P,
}

/// The pilots of a VM, and the outcome of earlier attempts.
#[derive(Clone, Debug)]
pub struct PilotPicker<P> {
    pilots: Vec<P>,
    backoff: Backoff,
    current: usize,
    failures: usize,
}

impl<P: Clone> PilotPicker<P> {
    /// Starts with the first pilot. `None` for an empty list.
    pub fn new(pilots: Vec<P>, backoff: Backoff) -> Option<Self> {
        (!pilots.is_empty()).then_some(Self { pilots, backoff, current: 0, failures: 0 })
    }

    /// The first attempt, without a pause.
    pub fn first(&self) -> Attempt<P> {
        Attempt { pause: Duration::ZERO, pilot: self.pilots[self.current].clone() }
    }

    /// The attempt after one that ended. `lived` is how long its stream was open (zero when it never was). `random` is
    /// drawn uniformly from 0 to 1.
    pub fn after(&mut self, lived: Duration, random: f64) -> Attempt<P> {
        self.failures = if lived >= self.backoff.settled { 1 } else { self.failures.saturating_add(1) };
        self.current = (self.current + 1) % self.pilots.len();
        Attempt { pause: self.pause(random.clamp(0.0, 1.0)), pilot: self.pilots[self.current].clone() }
    }

    /// Within a round: between zero and the base. Between rounds: between half and the whole of a pause that doubles.
    fn pause(&self, random: f64) -> Duration {
        let rounds = self.failures / self.pilots.len();
        if !self.failures.is_multiple_of(self.pilots.len()) {
            return self.backoff.base.min(self.backoff.cap).mul_f64(random);
        }
        let doublings = u32::try_from(rounds - 1).unwrap_or(u32::MAX).min(31);
        let whole = self.backoff.base.saturating_mul(1 << doublings).min(self.backoff.cap);
        whole.mul_f64(0.5 + random / 2.0)
    }
}

#[cfg(test)]
#[path = "picker_tests.rs"]
mod tests;
