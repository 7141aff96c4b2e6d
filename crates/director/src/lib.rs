//! The BOSH director: its wire model, a client, an observer that reads it cheaply, and a director to test against.

mod addons;
pub mod client;
pub mod embedded;
pub mod manifest;
pub mod observer;
pub mod release;
pub mod wire;
pub mod yaml;
