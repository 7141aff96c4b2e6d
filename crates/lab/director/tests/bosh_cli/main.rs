//! The real BOSH CLI against the embedded director, with VMs in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests fails the test")]

mod bench;
mod configs;
mod deploys;
mod states;
mod tarballs;
#[path = "../common/vms.rs"]
mod vms;
