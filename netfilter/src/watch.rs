//! Notifies of changes of nf_tables or routes by any process.
//!
//! Poll it from time to time, or add its file descriptor to an event loop: when it is readable, call [`Watch::changed`]
//! and then read the state. A notification only says that something changed, not what: notifications can be lost when
//! many arrive at once, so the caller has to read the current state.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use boshy_netlink::Socket;
use nix::{errno::Errno, sys::socket::SockProtocol};

/// The multicast group of nf_tables, as a bit: group 7 of `nfnetlink.h`.
const NFTABLES: u32 = 1 << 6;
/// The groups of links, IPv4 addresses and IPv4 routes: 1, 5 and 7 of `rtnetlink.h`. The kernel does not notify of a
/// route that is removed together with its link or address.
const ROUTES: u32 = 1 << 0 | 1 << 4 | 1 << 6;

/// A subscription to the kernel's notifications.
#[derive(Debug)]
pub struct Watch(Socket);

impl Watch {
    /// Subscribes to nf_tables, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no nf_tables or the process lacks CAP_NET_ADMIN.
    pub fn rules() -> io::Result<Self> {
        Ok(Self(Socket::open(SockProtocol::NetlinkNetFilter, NFTABLES)?))
    }

    /// Subscribes to everything that routes depend on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When no socket can be opened.
    pub fn routes() -> io::Result<Self> {
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

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
