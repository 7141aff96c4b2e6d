//! Tests the server on loopback sockets with an independent client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers are no tests to the lint")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod newcomers;
mod not_known_yet;
mod restarts;
mod transports;
mod world;
