//! Receives and sends many datagrams per system call.
//!
//! Answering a question costs a twentieth of receiving and sending it, so system calls are what is worth saving: one
//! `recvmmsg` and one `sendmmsg` per [`BATCH`] datagrams. Pointers are passed to the kernel only for the duration of a
//! call, and are made from the buffers within that call.
#![expect(
    unsafe_code,
    reason = "recvmmsg and sendmmsg take arrays of pointers, for which the standard library has no form"
)]

use std::{
    io, mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use crate::{respond::Datagram, wire::PAYLOAD};

/// Datagrams per system call.
pub(crate) const BATCH: usize = 32;
/// Octets of a request that are kept. It is more than this server announces, because a client may ignore the announced
/// size.
const REQUEST: usize = 2048;

/// Buffers for one round of receiving, answering and sending.
pub(crate) struct Batch {
    slots: Box<[Slot; BATCH]>,
    received: usize,
    /// Slots with an answer, in order of arrival.
    pending: Vec<usize>,
    sent: usize,
}

struct Slot {
    peer: libc::sockaddr_storage,
    peer_length: libc::socklen_t,
    request: [u8; REQUEST],
    request_length: usize,
    cut_short: bool,
    reply: [u8; PAYLOAD],
    reply_length: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: a slot consists of integers, arrays of integers and a `bool`. All-zero octets are a valid value of
        // each.
        let slots = unsafe { Box::new_zeroed().assume_init() };
        Self { slots, received: 0, pending: Vec::with_capacity(BATCH), sent: 0 }
    }

    /// Receives the pending datagrams, at most [`BATCH`], and replaces the batch's content with them.
    ///
    /// # Errors
    /// Those of `recvmmsg`; [`io::ErrorKind::WouldBlock`] when no datagram is pending.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        (self.received, self.sent) = (0, 0);
        self.pending.clear();
        let mut parts = [EMPTY_PART; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for ((slot, part), header) in self.slots.iter_mut().zip(&mut parts).zip(&mut headers) {
            *part = libc::iovec { iov_base: slot.request.as_mut_ptr().cast(), iov_len: REQUEST };
            header.msg_hdr.msg_name = (&raw mut slot.peer).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let received = retry_interrupted(|| {
            // SAFETY: each of the `BATCH` headers points to one `iovec` and one address buffer with their true lengths;
            // all of them outlive the call, and nothing else refers to them during it.
            unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            }
        })?;
        for (slot, header) in self.slots.iter_mut().zip(&headers[..received]) {
            slot.peer_length = header.msg_hdr.msg_namelen;
            slot.request_length = (header.msg_len as usize).min(REQUEST);
            slot.cut_short = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        }
        self.received = received;
        Ok(received)
    }

    /// Answers every received datagram. `respond` gets the datagram and its sender, writes the answer to the buffer and
    /// returns the answer's length, or `None` for no answer.
    pub(crate) fn answer(
        &mut self,
        mut respond: impl FnMut(Datagram<'_>, Option<SocketAddr>, &mut [u8; PAYLOAD]) -> Option<usize>,
    ) {
        for (index, slot) in self.slots[..self.received].iter_mut().enumerate() {
            let datagram = Datagram { octets: &slot.request[..slot.request_length], cut_short: slot.cut_short };
            if let Some(length) = respond(datagram, sender(&slot.peer), &mut slot.reply) {
                slot.reply_length = length;
                self.pending.push(index);
            }
        }
        self.received = 0;
    }

    /// Sends the answers and returns how many the kernel refused. A refused answer does not hold up the others.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when the kernel's buffer is full: the next call sends the rest.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<u64> {
        let mut refused = 0;
        while self.sent < self.pending.len() {
            match self.send_some(socket) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {
                    refused += 1;
                    self.sent += 1;
                }
            }
        }
        Ok(refused)
    }

    /// One `sendmmsg`. An error concerns the first answer; the kernel reports an error of a later answer in the next
    /// call.
    fn send_some(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let pending = &self.pending[self.sent..];
        let mut parts = [EMPTY_PART; BATCH];
        let mut headers = [EMPTY_HEADER; BATCH];
        for ((index, part), header) in pending.iter().zip(&mut parts).zip(&mut headers) {
            let slot = &mut self.slots[*index];
            *part = libc::iovec { iov_base: slot.reply.as_mut_ptr().cast(), iov_len: slot.reply_length };
            header.msg_hdr.msg_name = (&raw mut slot.peer).cast();
            header.msg_hdr.msg_namelen = slot.peer_length;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        retry_interrupted(|| {
            // SAFETY: each of the first `pending.len()` headers points to one `iovec` over written octets of its slot,
            // and to the address that the kernel wrote there, with the length it gave; all of them outlive the call.
            unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    pending.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            }
        })
    }
}

/// Sender of a datagram. Only questions that are kept for later need it in this form.
fn sender(peer: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let peer = &raw const *peer;
    // SAFETY: the storage is large enough and aligned for every kind of address, and the kernel wrote an address of the
    // kind that `ss_family` names.
    unsafe {
        match i32::from((*peer).ss_family) {
            libc::AF_INET => {
                let peer = &*peer.cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(peer.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(peer.sin_port)).into())
            }
            libc::AF_INET6 => {
                let peer = &*peer.cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(peer.sin6_addr.s6_addr);
                let port = u16::from_be(peer.sin6_port);
                Some(SocketAddrV6::new(ip, port, peer.sin6_flowinfo, peer.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

const EMPTY_PART: libc::iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };

const EMPTY_HEADER: libc::mmsghdr = {
    // SAFETY: null pointers, lengths of zero and padding.
    unsafe { mem::zeroed() }
};

/// Repeats a call that a signal interrupted, and converts its result to Rust's.
fn retry_interrupted(mut call: impl FnMut() -> libc::c_int) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
