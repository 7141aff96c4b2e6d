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
//! It also serves the VM's end of tunnels, at which both Envoys leave off what callers send to programs
//! (`docs/adr/0040-tunnel-end.md`): a tunnel needs the Envoy in which it was opened, and nothing else is replaced.
//!
//! - After a crash, Envoy is started again at once; when it crashes soon again, after a growing pause. After too many
//!   crashes in a row the parent ends with [`End::GaveUp`].
//! - SIGHUP starts a second Envoy. When it is live and has the listeners of the first, the first stops accepting, and
//!   ends when its connections have ended, or after a bound. The kernel shares new connections between both as long as
//!   both listen (`SO_REUSEPORT`).
//! - SIGTERM and SIGINT tell the agent, wait for open connections up to a bound, then end Envoy.
//! - When the parent is killed, the kernel kills Envoy (`PR_SET_PDEATHSIG`): the next start meets no Envoy that holds
//!   ports.

mod admin;
mod agent;
mod end;
mod envoy;
mod front;
mod keeper;
mod overlap;
mod parts;

pub use boshy_tunnel_end::Parts as TunnelEndParts;
pub use end::{End, KeepError};
pub use envoy::version;
pub use parts::{EnvoySockets, KeeperParts, MakeBootstrap};

/// Starts Envoy and keeps it running until SIGTERM or SIGINT, or until it has crashed too often. The calling thread is
/// the only one that may start Envoy: when it ends, Envoy is killed.
///
/// # Errors
/// When Envoy cannot be started.
pub fn keep(parts: KeeperParts) -> Result<End, KeepError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(KeepError::Prepare)?;
    runtime.block_on(keeper::run(parts))
}
