//! Time values. The domain has no clock: callers supply the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since the Unix epoch, by a clock that an operator may set. For display, not for measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Milliseconds on a monotonic clock that cannot be set. Its zero is arbitrary; an event before the clock began has a
/// negative moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// Time since an earlier moment; zero when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment at which `passed` will have passed since this one.
    #[must_use]
    pub fn after(self, passed: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment that lies `passed` before this one.
    #[must_use]
    pub fn before(self, passed: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)))
    }
}
