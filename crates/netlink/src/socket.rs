//! The socket: one request at a time, with answers matched by sequence number.
//!
//! The kernel answers within the request call, so a request takes as long as its work. The receive timeout covers a
//! kernel that never answers. Messages from other processes and late answers to an earlier request are ignored.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
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

use crate::wire::{DONE, ERROR, INTERRUPTED, Message, Writer, messages};

/// The kernel sends no longer datagram (`NLMSG_GOODSIZE` and the largest dump buffer are 32 KiB).
const LONGEST: usize = 64 * 1024;
/// Receive timeout.
const PATIENCE: Duration = Duration::from_secs(2);

/// The kernel refused a message (`NLMSG_ERROR`), or the socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("netlink message {sequence} failed: {errno}")]
pub struct NetlinkError {
    /// Sequence number of the refused message; that of the first one when the socket failed.
    pub sequence: u32,
    /// The kernel's error.
    pub errno: Errno,
}

impl From<NetlinkError> for io::Error {
    fn from(error: NetlinkError) -> Self {
        error.errno.into()
    }
}

/// An open netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of a netlink protocol in the network namespace of the calling thread, subscribed to a set of
    /// multicast groups (bit n-1 for group n).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(protocol: SockProtocol, groups: u32) -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
        setsockopt(&fd, ReceiveTimeout, &patience)?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Self { fd, port, sequence: 1, buffer: vec![0; LONGEST] })
    }

    /// Allows requests of this length. Without the privilege for that, the socket gets at most the system-wide limit.
    pub fn make_room(&self, bytes: usize) {
        if setsockopt(&self.fd, SndBufForce, &bytes).is_err() {
            // The kernel reduces it to the permitted value, which is not an error.
            let _ = setsockopt(&self.fd, SndBuf, &bytes);
        }
    }

    /// The address by which the kernel knows this socket.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The sequence number that the next request must begin with.
    pub fn next_sequence(&self) -> u32 {
        self.sequence
    }

    /// Sends the one message that `message` writes with the sequence number it is given. Passes the answers to `each`.
    ///
    /// # Errors
    /// When the message is refused, or the socket fails.
    pub fn ask(
        &mut self,
        message: impl FnOnce(u32) -> Writer,
        each: impl FnMut(&Message<'_>),
    ) -> Result<(), NetlinkError> {
        let sequence = self.sequence;
        self.request(message(sequence).bytes(), sequence, each)
    }

    /// Sends one or more messages, numbered from [`Socket::next_sequence`] to `last` or beyond. Passes the answers to
    /// `each` until `last` is acknowledged, a dump ends, or a message is refused.
    ///
    /// # Errors
    /// When a message is refused, or the socket fails. EINTR when objects changed while they were dumped, and ETIMEDOUT
    /// when the kernel does not answer within two seconds.
    pub fn request(&mut self, bytes: &[u8], last: u32, mut each: impl FnMut(&Message<'_>)) -> Result<(), NetlinkError> {
        let first = self.sequence;
        // A commit follows the last step. Its number must not be reused either.
        self.sequence = last.wrapping_add(2);
        let refused = |errno| NetlinkError { sequence: first, errno };
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
                        return Err(NetlinkError { sequence: message.sequence, errno });
                    }
                    DONE if interrupted => return Err(NetlinkError { sequence: first, errno: Errno::EINTR }),
                    DONE => return Ok(()),
                    ERROR if message.sequence == last => return Ok(()),
                    ERROR => {}
                    _ => each(&message),
                }
            }
        }
    }

    /// Takes one datagram without waiting; `false` when there is none.
    ///
    /// # Errors
    /// When the socket cannot be read. ENOBUFS when the kernel has dropped datagrams.
    pub fn take_waiting(&mut self) -> Result<bool, Errno> {
        match nix::sys::socket::recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}
