//! Tells whether routes may have changed, by any process.
//!
//! A notification only says that something changed, not what: notifications can be lost when many arrive at once, so
//! the caller has to read the current state.

use std::io;

use boshy_netlink::Socket;
use nix::{errno::Errno, sys::socket::SockProtocol};

/// The groups of links, IPv4 addresses and IPv4 routes: 1, 5 and 7 of `rtnetlink.h`. The kernel does not notify of a
/// route that is removed together with its link or address.
const ROUTES: u32 = 1 << 0 | 1 << 4 | 1 << 6;

/// A subscription to the kernel's notifications about everything that routes depend on.
#[derive(Debug)]
pub struct RouteWatch(Socket);

impl RouteWatch {
    /// Subscribes in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When no socket can be opened.
    pub fn open() -> io::Result<Self> {
        Ok(Self(Socket::open(SockProtocol::NetlinkRoute, ROUTES)?))
    }

    /// Takes all pending notifications without waiting. Returns whether there was one.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            match self.0.take_waiting() {
                Ok(true) | Err(Errno::ENOBUFS) => any = true,
                Ok(false) => return Ok(any),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
