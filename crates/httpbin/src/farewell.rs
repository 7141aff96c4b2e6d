//! The end of a server behind a proxy: nobody else is let in, who is in may ask and is answered.
//!
//! The framework's own graceful stop closes connections that have not asked yet, and behind a proxy these are requests on their way.
//!
//! Not promised: an answer to who has connected so late that nobody has taken his connection from the kernel; it is reset. No
//! server can help that.

use std::{io, net::TcpListener, os::fd::AsRawFd, time::Duration};

use actix_web::dev::ServerHandle;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::time::sleep;

/// From a connection to its first request; a proxy connects when it has one.
const ASKING: Duration = Duration::from_millis(500);

/// Ends a server. From now on the kernel refuses connections, so that a proxy can go to another instance at once.
pub(super) async fn bid(listener: &TcpListener, server: &ServerHandle) -> io::Result<()> {
    shutdown(listener.as_raw_fd(), Shutdown::Read)?;
    sleep(ASKING).await;
    server.stop(true).await;
    Ok(())
}
