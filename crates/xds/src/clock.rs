//! The time of day, which this crate reads here alone.

use std::time::{SystemTime, UNIX_EPOCH};

use boshy_mesh::Timestamp;

/// Seconds since the Unix epoch; zero for a clock before it.
#[expect(clippy::disallowed_methods, reason = "operators are shown it, and certificates are valid by it")]
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
