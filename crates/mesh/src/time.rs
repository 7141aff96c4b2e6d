//! Time, which the domain is given: it has no clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since the Unix epoch, by a clock that an operator may set. For showing, and not for measuring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Milliseconds on a clock that only goes forward and that nobody sets. Its zero means nothing, and what happened before the clock
/// began has a negative moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// How long this is after an earlier moment; nothing when it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment that was so long before this one.
    #[must_use]
    pub fn before(self, passed: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)))
    }
}
