//! Tests the endpoints as clients see them: their content in process, their transport over sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers are no tests to the lint")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod client;
mod handler;
mod identity;
mod operations;
mod samples;
mod sockets;
mod v1;
mod withdrawal;
