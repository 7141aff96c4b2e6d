//! Tests the ADS server over real sockets with an independent client.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod ack_states;
mod certificates;
mod compression;
mod driver;
#[path = "../support/mesh.rs"]
mod mesh;
mod misbehaviour;
mod serving;
mod stops;
