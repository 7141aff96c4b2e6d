//! Settings of both roles, in two stages: raw as written, then checked.
//!
//! A faulty file stops the process before it does anything (exit code 64, `EX_USAGE`), with the file, the key and the
//! reason in one line. An unknown key is an error, because a misspelt setting that is silently ignored is found in
//! production. Every key can be overridden by an environment variable: `BOSHY__` and the path in upper case with `__`
//! between its parts (`BOSHY__DIRECTOR__CLIENT_SECRET`). So a secret need not be in a file.

mod agent;
mod common;
mod identity;
mod load;
mod pilot;

pub use agent::{AgentSettings, EnvoySettings, NetfilterBackend, NodeSettings, ProxyMode};
pub use identity::{IdentityFiles, IdentitySettings, PreviousFiles};
pub use load::SettingsError;
pub use pilot::{DirectorSettings, HttpsSettings, LeaseStore, PilotSettings};
