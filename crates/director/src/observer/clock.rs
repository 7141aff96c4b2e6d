//! The time that the observer is given.

use std::time::Duration;

use boshy_mesh::Timestamp;

/// What both clocks read at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Time since the observer's start on a monotonic clock, which all waiting uses.
    pub elapsed: Duration,
    /// The wall clock, for display only.
    pub wall: Timestamp,
}
