//! What one end of a TCP connection does and sees, told by `boshy-test-peer` as lines of JSON.

use serde::{Deserialize, Serialize};

/// How a connection ended for one who read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// No connection came about.
    Refused,
    /// In order, by FIN.
    Fin,
    /// By a reset.
    Reset,
    /// Not within the patience of the test.
    Never,
    /// It was this end that closed, and did not wait for the other.
    Own,
}

/// What one end saw of one connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Outcome {
    /// Octets that were read.
    pub received: u64,
    /// How the other end ended.
    pub end: End,
    /// What went otherwise than the steps say, or empty.
    pub trouble: String,
}

/// The octet at a place of the stream that each end sends, so that one that is lost, doubled or out of place shows.
pub fn octet(place: u64) -> u8 {
    (place % 251) as u8
}
