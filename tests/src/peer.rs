//! Actions and results of one end of a TCP connection, as reported by `boshy-test-peer` in lines of JSON.

use serde::{Deserialize, Serialize};

/// How a connection ended for the end that read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The connection was not established.
    Refused,
    /// Orderly, by FIN.
    Fin,
    /// By a reset.
    Reset,
    /// Not within the test's timeout.
    Never,
    /// This end closed the connection and did not wait for the other.
    Own,
}

/// Result of one connection at one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    /// Number of octets received.
    pub received: u64,
    /// How the other end closed.
    pub end: End,
    /// Deviations from the steps, or empty.
    pub trouble: String,
}

/// The octet at a position of the stream that each end sends, so that a lost, duplicated or misplaced one is detected.
pub fn octet(place: u64) -> u8 {
    (place % 251) as u8
}
