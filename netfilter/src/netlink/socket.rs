//! A netlink socket: one request at a time, with answers matched by sequence number.
//!
//! The kernel answers within the request call, so a request takes as long as its work. The receive timeout covers a
//! kernel that never answers. Messages from other processes and late answers to an earlier request are ignored.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recvfrom, send,
            setsockopt, socket,
            sockopt::{ReceiveTimeout, SndBuf, SndBufForce},
        },
        time::TimeVal,
    },
};

use super::wire::{DONE, ERROR, INTERRUPTED, Message, messages};

/// The kernel sends no longer datagram (`NLMSG_GOODSIZE` and the largest dump buffer are 32 KiB).
const LONGEST: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// A refusal by the kernel: the sequence number of the message, and the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sequence: u32,
    pub(crate) errno: Errno,
}

/// An open netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of a netlink protocol, subscribed to a set of multicast groups (bit n-1 for group n).
    pub(crate) fn open(protocol: SockProtocol, groups: u32) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
        setsockopt(&fd, ReceiveTimeout, &patience)?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Self { fd, port, sequence: 1, buffer: vec![0; LONGEST] })
    }

    /// Allows requests of this length. Without the privilege for that, the socket gets at most the system-wide limit.
    pub(crate) fn make_room(&self, bytes: usize) {
        if setsockopt(&self.fd, SndBufForce, &bytes).is_err() {
            // The kernel reduces it to the permitted value, which is not an error.
            let _ = setsockopt(&self.fd, SndBuf, &bytes);
        }
    }

    /// The address by which the kernel knows this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// The sequence number that the next request must begin with.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.sequence
    }

    /// Sends one or more messages, numbered from [`Socket::next_sequence`] to `last` or beyond. Passes the answers to
    /// `each` until `last` is acknowledged, a dump ends, or a message is refused.
    pub(crate) fn request(
        &mut self,
        bytes: &[u8],
        last: u32,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), Refusal> {
        let first = self.sequence;
        // A commit follows the last step. Its number must not be reused either.
        self.sequence = last.wrapping_add(2);
        let refused = |errno| Refusal { sequence: first, errno };
        let mut interrupted = false;
        // A refused batch leaves an error for each of its messages. Unread, they could fill the queue and displace the
        // next answer.
        while matches!(self.take_waiting(), Ok(true) | Err(Errno::ENOBUFS | Errno::EINTR)) {}
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()).map_err(refused)?;
        loop {
            let (length, sender) = match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(received) => received,
                // Many messages had an error each, and the queue had no room for the last ones. The first error, the
                // one that matters, is queued.
                Err(Errno::ENOBUFS | Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return Err(refused(Errno::ETIMEDOUT)),
                Err(errno) => return Err(refused(errno)),
            };
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            for message in messages(&self.buffer[..length]) {
                if message.sequence.wrapping_sub(first) > last.wrapping_sub(first).wrapping_add(1) {
                    continue;
                }
                // Read to the end nevertheless: a dump that is left half read keeps the socket busy.
                interrupted |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE if message.errno() != 0 => {
                        let errno = Errno::from_raw(message.errno());
                        return Err(Refusal { sequence: message.sequence, errno });
                    }
                    DONE if interrupted => return Err(Refusal { sequence: first, errno: Errno::EINTR }),
                    DONE => return Ok(()),
                    ERROR if message.sequence == last => return Ok(()),
                    ERROR => {}
                    _ => each(&message),
                }
            }
        }
    }

    /// Takes one datagram without waiting; `false` when there is none.
    pub(crate) fn take_waiting(&mut self) -> Result<bool, Errno> {
        match nix::sys::socket::recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
