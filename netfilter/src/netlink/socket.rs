//! A netlink socket: one request at a time, answers matched by sequence number.
//!
//! The kernel answers while it is being asked, so a request is as long as its work; the receive timeout is for a kernel that
//! never answers. Messages of other processes and late answers to an earlier request are passed over.

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

/// The kernel builds no datagram longer than this (`NLMSG_GOODSIZE` and the largest dump buffer are 32 KiB).
const LONGEST: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// What the kernel refused: the message, by its sequence number, and why.
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

    /// Lets a request be as long as this. Who has no right to that on the whole machine gets what anybody may have.
    pub(crate) fn make_room(&self, bytes: usize) {
        if setsockopt(&self.fd, SndBufForce, &bytes).is_err() {
            // The kernel cuts it to what is allowed, which is no error.
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

    /// Sends one or more messages, numbered from [`Socket::next_sequence`] to `last` or beyond, and hands over what is answered until
    /// `last` is acknowledged, a dump ends, or a message is refused.
    pub(crate) fn request(
        &mut self,
        bytes: &[u8],
        last: u32,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), Refusal> {
        let first = self.sequence;
        // A commit follows the last step; its number must not be used again either.
        self.sequence = last.wrapping_add(2);
        let refused = |errno| Refusal { sequence: first, errno };
        let mut interrupted = false;
        // A refused batch leaves an error for each of its messages; unread, they could fill the queue and keep the next answer out.
        while matches!(self.take_waiting(), Ok(true) | Err(Errno::ENOBUFS | Errno::EINTR)) {}
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()).map_err(refused)?;
        loop {
            let (length, sender) = match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok(received) => received,
                // There was an error for each of many messages, and no room for the last ones. The first, which counts, is there.
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
                // Read on to the end all the same: a dump that is left half read keeps the socket busy.
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
