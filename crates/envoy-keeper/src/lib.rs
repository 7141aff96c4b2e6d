//! The small parent of Envoy.
//!
//! ```text
//!   127.0.0.1:8001 ──┐ front ┌─> run_dir/admin-0.sock ─ Envoy (current)
//!   health.sock    ──┘       └   run_dir/admin-1.sock ─ Envoy (coming or leaving, during an overlap)
//! ```
//!
//! Each Envoy has its admin interface and its health listener at Unix sockets of its own, so two of them can run at the
//! same time. The parent serves the settled addresses, and passes each connection on to the current Envoy
//! (`docs/adr/0026-parent-of-envoy.md`).
//!
//! - After a crash, Envoy is started again at once; when it crashes soon again, after a growing pause. After too many
//!   crashes in a row the parent ends with [`End::GaveUp`].
//! - SIGHUP starts a second Envoy. When it is live and has the listeners of the first, the first stops accepting, and
//!   ends when its connections have ended, or after a bound. The kernel shares new connections between both as long as
//!   both listen (`SO_REUSEPORT`).
//! - SIGTERM and SIGINT wait for open connections up to a bound, then end Envoy.
//! - When the parent is killed, the kernel kills Envoy (`PR_SET_PDEATHSIG`): the next start meets no Envoy that holds
//!   ports.

mod admin;
mod envoy;
mod front;
mod keeper;
mod overlap;

use std::{ffi::OsString, io, net::SocketAddr, path::PathBuf, time::Duration};

use boshy_backoff::Backoff;

pub use envoy::version;

/// Makes Envoy's bootstrap for these sockets.
pub type MakeBootstrap = Box<dyn Fn(&EnvoySockets) -> io::Result<String>>;

/// What the parent of Envoy needs to know.
pub struct KeeperParts {
    /// Envoy's program.
    pub program: PathBuf,
    /// Arguments of every Envoy, in addition to its bootstrap.
    pub arguments: Vec<OsString>,
    /// Makes the bootstrap of each Envoy.
    pub bootstrap: MakeBootstrap,
    /// Address at which the admin interface of the current Envoy is reached. It has no authentication, so it must be on
    /// loopback.
    pub admin: SocketAddr,
    /// Unix socket at which the health listener of the current Envoy is reached.
    pub health_socket: Option<PathBuf>,
    /// Directory of the sockets of each Envoy.
    pub run_dir: PathBuf,
    /// How long SIGTERM waits for open connections.
    pub stop_timeout: Duration,
    /// How long a replaced Envoy may keep its connections.
    pub overlap_timeout: Duration,
    /// Pauses between crashes in a row.
    pub backoff: Backoff,
}

/// Unix sockets of one Envoy. One that cannot be bound is left out: Envoy exits when it cannot bind a socket, and then
/// carries no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoySockets {
    /// The admin interface.
    pub admin: Option<PathBuf>,
    /// The health listener.
    pub health: Option<PathBuf>,
}

/// How the parent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to end, and no Envoy is left.
    Told,
    /// Envoy crashed too often.
    GaveUp,
}

/// Envoy cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Signals or the runtime are not available.
    #[error("prepare to keep Envoy")]
    Prepare(#[source] io::Error),
    /// The bootstrap cannot be made.
    #[error("make Envoy's bootstrap")]
    Bootstrap(#[source] io::Error),
    /// Envoy's program cannot be started.
    #[error("start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The kernel does not tell when Envoy ends.
    #[error("wait for the end of Envoy")]
    Wait(#[source] io::Error),
}

/// Starts Envoy and keeps it running until SIGTERM or SIGINT, or until it has crashed too often. The calling thread is
/// the only one that may start Envoy: when it ends, Envoy is killed.
///
/// # Errors
/// When Envoy cannot be started.
pub fn keep(parts: KeeperParts) -> Result<End, KeepError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(KeepError::Prepare)?;
    runtime.block_on(keeper::run(parts))
}
