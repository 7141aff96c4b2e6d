//! Decides which pilot to try next, and when.
//!
//! The list is in order of preference. When a pilot fails, the next one is tried at once, apart from a jitter, so that
//! losing one pilot costs no pause. Only after a whole round without success does each further round wait longer. The
//! jitter spreads the VMs of a deployment, which all lose a pilot at the same moment.

use std::time::Duration;

use boshy_backoff::Backoff;

/// When the next attempt follows a failed one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PickerSettings {
    /// Pauses between rounds. Before the next pilot of the same round, any part of the first of these pauses is
    /// awaited.
    pub backoff: Backoff,
    /// A stream that lasted this long counts as a success: the next attempt starts a fresh count.
    pub settled: Duration,
    /// How often to look whether a preferred pilot is back. The pause grows with each return to a pilot that then did
    /// not keep the stream.
    pub look: Backoff,
}

impl Default for PickerSettings {
    fn default() -> Self {
        let backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30), jitter: 0.5 };
        let look = Backoff { first: Duration::from_secs(40), longest: Duration::from_secs(640), jitter: 0.5 };
        Self { backoff, settled: Duration::from_secs(30), look }
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
    settings: PickerSettings,
    current: usize,
    failures: usize,
    /// Whether the current pilot was returned to.
    returned: bool,
    /// Returns in a row to a pilot that did not keep the stream.
    in_vain: u32,
}

impl<P: Clone + PartialEq> PilotPicker<P> {
    /// Starts with the first pilot. `None` for an empty list.
    pub fn new(pilots: Vec<P>, settings: PickerSettings) -> Option<Self> {
        (!pilots.is_empty()).then_some(Self { pilots, settings, current: 0, failures: 0, returned: false, in_vain: 0 })
    }

    /// The first attempt, without a pause.
    pub fn first(&self) -> Attempt<P> {
        Attempt { pause: Duration::ZERO, pilot: self.pilots[self.current].clone() }
    }

    /// The attempt after one that ended. `lived` is how long its stream was open (zero when it never was). `random` is
    /// drawn uniformly from 0 to 1.
    pub fn after(&mut self, lived: Duration, random: f64) -> Attempt<P> {
        let settled = lived >= self.settings.settled;
        self.failures = if settled { 1 } else { self.failures.saturating_add(1) };
        match (std::mem::take(&mut self.returned), settled) {
            (true, false) => self.in_vain = self.in_vain.saturating_add(1),
            (_, true) => self.in_vain = 0,
            (false, false) => {}
        }
        self.current = (self.current + 1) % self.pilots.len();
        Attempt { pause: self.pause(random), pilot: self.pilots[self.current].clone() }
    }

    /// Pause before each look whether a preferred pilot is back. `random` is drawn uniformly from 0 to 1.
    pub fn look(&self, random: f64) -> Duration {
        self.settings.look.pause(self.in_vain.saturating_add(1), random)
    }

    /// The attempt at a pilot that is preferred to the current one and accepts connections again, without a pause.
    pub fn back_to(&mut self, pilot: &P) -> Attempt<P> {
        self.current = self.pilots.iter().position(|known| known == pilot).unwrap_or(0);
        self.failures = 0;
        self.returned = true;
        self.first()
    }

    fn pause(&self, random: f64) -> Duration {
        let backoff = self.settings.backoff;
        if !self.failures.is_multiple_of(self.pilots.len()) {
            return Backoff { jitter: 1.0, ..backoff }.pause(1, random);
        }
        let rounds = self.failures / self.pilots.len();
        backoff.pause(u32::try_from(rounds).unwrap_or(u32::MAX), random)
    }
}

#[cfg(test)]
#[path = "picker_tests.rs"]
mod tests;
