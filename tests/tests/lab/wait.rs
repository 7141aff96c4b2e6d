//! Waiting with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits for a condition.
pub(crate) fn within(patience: Duration, what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", patience.as_secs());
        thread::sleep(Duration::from_millis(50));
    }
}
