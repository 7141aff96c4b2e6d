//! Tests the observer with the embedded director: the facts it learns, and the requests it makes.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod doubts;
mod events;
mod failures;
mod scene;
