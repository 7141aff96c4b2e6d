//! Waiting for conditions.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Long enough for a loaded machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until a condition holds, and returns what was seen then.
///
/// # Panics
/// When it does not come to hold, with what was seen last.
pub fn until<T: Debug>(what: &str, mut look: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}; seen last: {seen:#?}");
        thread::sleep(LOOK);
    }
}

/// Looks until there is a value.
///
/// # Panics
/// When there never is.
pub fn until_some<T: Debug>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until(what, look, Option::is_some).unwrap()
}

/// Does something while something else is done again and again, at least once.
///
/// # Panics
/// When either does.
pub fn meanwhile<T>(mut again: impl FnMut() + Send, act: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let repeating = scope.spawn(|| {
            loop {
                again();
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let acted = {
            let _stop = Stop(&done);
            act()
        };
        if let Err(panic) = repeating.join() {
            std::panic::resume_unwind(panic);
        }
        acted
    })
}

/// Ends the repetition also when what goes on meanwhile fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
