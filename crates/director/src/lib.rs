//! The BOSH director: its wire model, a client, and an observer that reads it cheaply.

pub mod addons;
pub mod client;
pub mod lease_log;
pub mod manifest;
pub mod observer;
pub mod wire;
