//! The answer to one datagram, whichever way it takes.

use crate::{
    Plain, Rcode, Zone,
    fallback::{self, Transport},
    plain,
    wire::PAYLOAD,
};

/// An answer that lies in the buffer that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Octets written.
    pub length: usize,
    /// The response code in them.
    pub rcode: Rcode,
    /// Whether it took the plain way.
    pub plain: bool,
}

/// A datagram as it was received.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'p> {
    /// The octets received.
    pub octets: &'p [u8],
    /// Whether more was sent than the buffer took.
    pub cut_short: bool,
}

/// Answers a datagram into `out`. Every datagram that is no response and has a whole header gets an answer.
pub fn respond(zone: &Zone, datagram: Datagram<'_>, out: &mut [u8; PAYLOAD]) -> Option<Response> {
    let (reply, rcode) = if datagram.cut_short {
        fallback::cut_short(datagram.octets)?
    } else {
        match plain(zone, datagram.octets, out) {
            Plain::Answered { length, rcode } => return Some(Response { length, rcode, plain: true }),
            Plain::Drop => return None,
            Plain::NotPlain => fallback::answer(zone, datagram.octets, Transport::Udp)?,
        }
    };
    out[..reply.len()].copy_from_slice(&reply);
    Some(Response { length: reply.len(), rcode, plain: false })
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
