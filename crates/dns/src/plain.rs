//! Answers plain questions without an allocation, a lock or an unnecessary copy.
//!
//! Plain questions are nearly all that resolvers send: one standard query of class IN for data, with its name written
//! in full, with or without an EDNS(0) record that carries no options, and nothing else in the message. Every other
//! message is [`PlainOutcome::NotPlain`] and goes to hickory, which implements the rest of DNS. So this module never
//! has to say what is wrong with a message.
//!
//! The answer repeats the question as received, which preserves the case of its name, and every name in the answer is a
//! pointer into the question. That bounds the size below what every client accepts ([`LARGEST`]), so a plain answer is
//! never truncated.

use crate::{
    Rcode, Zone,
    wire::{self, AA, CLASS_IN, HEADER, NAME_MAX, OPCODE, OPT, PAYLOAD, QR, RD, rtype},
    zone::{Lookup, SOA_RECORD},
};

/// Octets of the largest plain answer: header, question, one SOA record, OPT.
pub(crate) const LARGEST: usize = HEADER + NAME_MAX + 4 + SOA_RECORD + OPT;

// RFC 1035 section 4.2.1 and RFC 6891 section 6.2.3: every client accepts 512 octets.
const _: () = assert!(LARGEST <= 512);

/// Outcome for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainOutcome {
    /// An answer of this length was written to the buffer.
    Answered {
        /// Octets written.
        length: usize,
        /// Its response code.
        rcode: Rcode,
    },
    /// The packet is not a plain question.
    NotPlain,
    /// No answer is sent: the packet is a response (answering it could make two servers talk forever), or it is shorter
    /// than a header (there is no id to answer to).
    Drop,
}

/// The parts of a plain question.
struct PlainQuestion<'p> {
    /// Header and question as received.
    message: &'p [u8],
    name: LowerName,
    qtype: u16,
    edns: Option<Edns>,
}

/// What is copied from the client's OPT record. Its size does not matter, because every answer fits.
#[derive(Clone, Copy)]
struct Edns {
    dnssec_ok: bool,
}

/// Answers a plain question into `out`.
pub fn answer_plain(zone: &Zone, packet: &[u8], out: &mut [u8; PAYLOAD]) -> PlainOutcome {
    if packet.len() < HEADER || packet[2] & QR != 0 {
        return PlainOutcome::Drop;
    }
    match PlainQuestion::read(packet) {
        Some(question) => question.answer(zone, out),
        None => PlainOutcome::NotPlain,
    }
}

impl<'p> PlainQuestion<'p> {
    fn read(packet: &'p [u8]) -> Option<Self> {
        let [_, _, flags, _, 0, 1, 0, 0, 0, 0, 0, additional, body @ ..] = packet else { return None };
        if flags & OPCODE != 0 {
            return None;
        }
        let name = LowerName::read(body)?;
        let end = HEADER + name.length + 4;
        let qtype = wire::u16_at(packet, end - 4)?;
        if wire::u16_at(packet, end - 2)? != CLASS_IN || rtype::is_meta(qtype) {
            return None;
        }
        let edns = match (additional, &packet[end..]) {
            (0, []) => None,
            (1, record) => Some(Edns::read(record)?),
            _ => return None,
        };
        Some(Self { message: &packet[..end], name, qtype, edns })
    }

    fn answer(&self, zone: &Zone, out: &mut [u8; PAYLOAD]) -> PlainOutcome {
        let mut reply = Reply { out, length: self.message.len() };
        reply.out[..self.message.len()].copy_from_slice(self.message);
        let apex = || HEADER + self.name.length - zone.apex_len();
        let (rcode, answers, authorities) = match zone.lookup(self.name.as_bytes(), self.qtype) {
            Lookup::Address(record) => (Rcode::NoError, reply.push(record.as_bytes()), 0),
            Lookup::Soa => (Rcode::NoError, reply.push(&zone.soa(apex())), 0),
            Lookup::Ns => (Rcode::NoError, reply.push(zone.ns()), 0),
            Lookup::NoData => (Rcode::NoError, 0, reply.push(&zone.soa(apex()))),
            Lookup::NxDomain => (Rcode::NxDomain, 0, reply.push(&zone.soa(apex()))),
            Lookup::OutOfZone => (Rcode::Refused, 0, 0),
            Lookup::NotKnownYet => (Rcode::ServFail, 0, 0),
        };
        let additionals = self.edns.map_or(0, |edns| reply.push(&edns.reply()));
        let authoritative = if answers + authorities > 0 { AA } else { 0 };
        reply.out[2] = QR | authoritative | (self.message[2] & RD);
        reply.out[3] = rcode.code() as u8;
        reply.out[4..HEADER].copy_from_slice(&[0, 1, 0, answers, 0, authorities, 0, additionals]);
        PlainOutcome::Answered { length: reply.length, rcode }
    }
}

/// A message under construction.
struct Reply<'o> {
    out: &'o mut [u8; PAYLOAD],
    length: usize,
}

impl Reply<'_> {
    /// Appends a record. Returns the number of records appended, for the header's count.
    fn push(&mut self, record: &[u8]) -> u8 {
        self.out[self.length..self.length + record.len()].copy_from_slice(record);
        self.length += record.len();
        1
    }
}

impl Edns {
    /// Parses an OPT record that fills the rest of the message (RFC 6891 section 6.1.2). A record with options or of a
    /// later version is not plain.
    fn read(record: &[u8]) -> Option<Self> {
        match record {
            // root, type 41, size, extended response code, version 0, DO and reserved bits, no options
            [0, 0, 41, _, _, _, 0, flags, _, 0, 0] => Some(Self { dnssec_ok: flags & 0x80 != 0 }),
            _ => None,
        }
    }

    /// The OPT record of the answer: this server's size, version 0, and the DO bit as in the question (RFC 3225 section
    /// 3).
    fn reply(self) -> [u8; OPT] {
        let [high, low] = (PAYLOAD as u16).to_be_bytes();
        [0, 0, rtype::OPT as u8, high, low, 0, 0, u8::from(self.dnssec_ok) << 7, 0, 0, 0]
    }
}

/// A name in lower-cased wire form, on the stack.
pub(crate) struct LowerName {
    octets: [u8; NAME_MAX],
    length: usize,
}

impl LowerName {
    /// Parses a name that is written in full at the start of `body`. `None` for a compression pointer and for a name
    /// that is too long.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let mut length = 0;
        loop {
            let label = usize::from(*body.get(length)?);
            if label > wire::LABEL_MAX {
                return None;
            }
            length += 1 + label;
            if length > NAME_MAX {
                return None;
            }
            if label == 0 {
                break;
            }
        }
        let mut octets = [0; NAME_MAX];
        octets[..length].copy_from_slice(body.get(..length)?);
        // The length octets between the labels are below 64, so lower-casing does not change them.
        octets[..length].make_ascii_lowercase();
        Some(Self { octets, length })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
