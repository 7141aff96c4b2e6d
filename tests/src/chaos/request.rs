//! One request and its end.

use std::net::Ipv4Addr;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Host;

/// Milliseconds of the machine's monotonic clock, which all VMs of a lab share and nobody sets.
///
/// # Panics
/// When there is no such clock.
#[allow(clippy::unwrap_used, reason = "a driver of tests fails the test")]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000).unwrap()
}

/// How a caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Asks for the name and connects, for each request.
    Short,
    /// Sends its requests over one connection for as long as that lasts.
    Long,
    /// Connects for each request, and asks for the name only when the last answer has outlived its TTL.
    Cached,
}

/// A request, which was made once and not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// When it was begun, in milliseconds of [`now`].
    pub begun: u64,
    /// When it ended.
    pub ended: u64,
    /// The service that was asked.
    pub to: Host,
    /// How it was asked.
    pub kind: Kind,
    /// The address that was used; `None` when the name had none.
    pub vip: Option<Ipv4Addr>,
    /// Its end.
    pub answer: Answer,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// This instance answered.
    From(String),
    /// There was no whole answer.
    Failed {
        /// What was missing.
        failure: Failure,
        /// The instance that the connection led to, when one had answered on it before.
        instance: Option<String>,
        /// The error's text.
        error: String,
    },
}

/// What a request failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The name has no address.
    Name,
    /// No connection was made.
    Connection,
    /// The connection ended before a whole answer.
    Broken,
    /// There was no answer in time.
    Silence,
    /// The answer was no answer of the sample service.
    Garbage,
}
