//! Notice that something about nf_tables or routes changed, by whomever.
//!
//! Asked now and then, or a file descriptor for an event loop: when it is readable, call [`Watch::changed`], and then look. It says
//! only that something changed, never what: notices can be lost when many come at once, and who looks reads the truth.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::netlink::socket::Socket;

/// The multicast group of nf_tables, as a bit: group 7 of `nfnetlink.h`.
const NFTABLES: u32 = 1 << 6;
/// The groups of links, IPv4 addresses and IPv4 routes: 1, 5 and 7 of `rtnetlink.h`. Routes that go with a link or an address
/// are not told of themselves.
const ROUTES: u32 = 1 << 0 | 1 << 4 | 1 << 6;

/// A subscription to the kernel's notices.
#[derive(Debug)]
pub struct Watch(Socket);

impl Watch {
    /// Of nf_tables, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel has no nf_tables or the process lacks CAP_NET_ADMIN.
    pub fn rules() -> io::Result<Self> {
        Ok(Self(Socket::open(SockProtocol::NetlinkNetFilter, NFTABLES)?))
    }

    /// Of whatever routes depend on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn routes() -> io::Result<Self> {
        Ok(Self(Socket::open(SockProtocol::NetlinkRoute, ROUTES)?))
    }

    /// Takes all notices that are there, without waiting; whether there was one.
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
