//! The end of tunnels at an instance.
//!
//! ```text
//!   caller's Envoy ==HTTP/2 CONNECT over TLS==> Envoy --HTTP/2 CONNECT, Unix socket--> tunnel end --TCP--> program
//! ```
//!
//! The instance's Envoy verifies the caller, decides by its policies and says in a header which program is meant. The
//! tunnel end connects to that program and copies both halves. Envoy could do the last step itself, but it cannot close
//! one half of a connection to a program, and loses the end of an answer whose reader is late
//! (`docs/adr/0040-tunnel-end.md`).
//!
//! - A half that ends in order ends alone, after all that was sent in it. The other one goes on.
//! - A reset of the stream resets the connection to the program, once the program has what arrived before.
//! - A reset by the program ends the stream, after what the program had sent.
//! - What one end does not read is not read from the other one: a stream holds up to [`Parts::STREAM_WINDOW`] octets.

mod connection;
mod dial;
mod end;
mod parts;
mod tunnel;

pub use end::TunnelEnd;
pub use parts::Parts;
