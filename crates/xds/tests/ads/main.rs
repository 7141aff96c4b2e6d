//! The ADS server over real sockets, with a client that is none of ours.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod driver;
#[path = "../support/mesh.rs"]
mod mesh;
mod misbehaviour;
mod serving;
mod verdicts;
