//! Shuts down a server behind a proxy: it admits no new connections, and answers requests on open ones.
//!
//! The framework's own graceful stop closes connections without a request, but behind a proxy their requests are on
//! their way.
//!
//! Not promised: an answer on a connection that the kernel has accepted and the server has not yet. It is reset, which
//! no server can prevent.

use std::{io, net::TcpListener, os::fd::AsRawFd, time::Duration};

use actix_web::dev::ServerHandle;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::time::sleep;

/// Time from a connection to its first request; a proxy connects only when it has one.
const ASKING: Duration = Duration::from_millis(500);

/// Shuts down a server. From now on the kernel refuses connections, so that a proxy can use another instance at once.
pub(super) async fn drain(listener: &TcpListener, server: &ServerHandle) -> io::Result<()> {
    shutdown(listener.as_raw_fd(), Shutdown::Read)?;
    sleep(ASKING).await;
    server.stop(true).await;
    Ok(())
}
