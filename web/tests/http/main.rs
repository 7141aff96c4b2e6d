//! The endpoints as clients see them: in process for what is said, over sockets for how.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers are no tests to the lint")]

mod client;
mod handler;
mod operations;
mod samples;
mod sockets;
mod v1;
