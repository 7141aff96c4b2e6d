//! The answer to one datagram, by the plain path or the fallback.

use crate::{
    PlainOutcome, Rcode, Zone, answer_plain,
    fallback::{self, Transport},
    wire::PAYLOAD,
};

/// An answer written to the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// Octets written.
    pub length: usize,
    /// Its response code.
    pub rcode: Rcode,
    /// Whether the plain path made it.
    pub plain: bool,
}

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'p> {
    /// The octets received.
    pub octets: &'p [u8],
    /// Whether the datagram was larger than the buffer.
    pub cut_short: bool,
}

/// Answers a datagram into `out`. Every datagram that is not a response and has a whole header gets an answer.
pub fn respond(zone: &Zone, datagram: Datagram<'_>, out: &mut [u8; PAYLOAD]) -> Option<Response> {
    let (reply, rcode) = if datagram.cut_short {
        fallback::cut_short(datagram.octets)?
    } else {
        match answer_plain(zone, datagram.octets, out) {
            PlainOutcome::Answered { length, rcode } => return Some(Response { length, rcode, plain: true }),
            PlainOutcome::Drop => return None,
            PlainOutcome::NotPlain => fallback::answer(zone, datagram.octets, Transport::Udp)?,
        }
    };
    out[..reply.len()].copy_from_slice(&reply);
    Some(Response { length: reply.len(), rcode, plain: false })
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
