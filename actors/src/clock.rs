//! The wall clock, read at the edge: the domain is given the time.

use std::time::{SystemTime, UNIX_EPOCH};

use boshy_mesh::Timestamp;

/// Seconds since the Unix epoch; zero for a clock before it.
pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
