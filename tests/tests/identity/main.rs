//! Who gets a certificate of the mesh: a real pilot and a real director in one process, and clients at the addresses of
//! VMs.
//!
//! Each scenario has a network of its own, in which the addresses of VMs exist.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod another_key;
mod bad_input;
#[cfg(feature = "istio")]
mod istio;
mod secrets;
mod site;
mod threats;
mod vouched;
