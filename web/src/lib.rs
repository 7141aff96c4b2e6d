//! HTTP over actix-web: v1 discovery, health, status, metrics, the bosh-dns handler.
//!
//! ```text
//!   pilot  :8080              agent  127.0.0.1:15020      bosh-dns handler, off by default
//!     v1 discovery              operations                  names
//!     operations
//!        ^ watch<MeshSnapshot>     ^ a function that            ^ atomic name table
//!        ^ a function that         | reports                    |
//!        | reports                 |                            |
//!      (actors start the servers; nothing here knows an actor)
//! ```
//!
//! A request reads an immutable snapshot and never waits for an actor. HTTP/1.1 only: in plain text, as the v1 API
//! always was, and in addition over TLS where an operator configures it. All endpoints at ports are
//! read-only and unauthenticated. The network decides which clients can reach the pilot's port, and everything served is
//! public within the mesh. What changes something ([`identity`], [`withdrawal`]) is at a Unix socket alone.

pub mod agent;
mod authz;
pub mod envoy_stop;
mod error;
pub mod handler;
pub mod identity;
mod metrics;
mod operations;
pub mod pilot;
pub mod server;
pub mod status;
pub mod test_hooks;
pub mod v1;
pub mod withdrawal;

pub use metrics::Page;
pub use operations::{Health, Report, Reporter};
