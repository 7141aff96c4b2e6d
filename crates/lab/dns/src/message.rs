//! The part of a DNS message that a forwarder has to understand: the question, and whether an answer is a success.

use std::net::Ipv4Addr;

const HEADER: usize = 12;
/// RFC 1035, 3.2.2 and 3.2.3: the types of an IPv4 address and of any record.
const A: u16 = 1;
const ANY: u16 = 255;
/// RFC 1035, 4.1.1: failure of the server.
pub(super) const SERVFAIL: u8 = 2;
/// RFC 1035, 2.3.4: longest name in bytes, including the lengths of its labels and of the root.
const LONGEST_NAME: usize = 255;
/// Bytes of a record of type A with a compressed name.
const RECORD: usize = 16;
/// RFC 1035, 4.1.1: the question is malformed.
pub(super) const FORMERR: u8 = 1;
/// The name does not exist.
pub(super) const NXDOMAIN: u8 = 3;
/// Refused by policy.
pub(super) const REFUSED: u8 = 5;

/// A parsed question.
pub(super) struct Query<'a> {
    message: &'a [u8],
    /// In lower case, with a final dot.
    name: String,
    /// The requested type.
    kind: u16,
    /// End of the question section.
    end: usize,
}

impl<'a> Query<'a> {
    /// Parses a message. `None` when it is not a query and gets no answer. An error, which can be answered, when its
    /// question is malformed.
    pub(super) fn parse(message: &'a [u8]) -> Option<Result<Self, Self>> {
        let is_query = message.len() >= HEADER && message[2] & 0x80 == 0;
        if !is_query {
            return None;
        }
        let malformed = || Self { message, name: String::new(), kind: 0, end: HEADER };
        let one_question = message[4..6] == [0, 1];
        let parsed = if one_question { name(message, HEADER) } else { None };
        Some(match parsed {
            // Type and class follow the name.
            Some((name, end)) if message.len() >= end + 4 => {
                let kind = u16::from_be_bytes([message[end], message[end + 1]]);
                Ok(Self { message, name, kind, end: end + 4 })
            }
            _ => Err(malformed()),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> u16 {
        self.kind
    }

    /// An authoritative answer with these addresses, each with its time to live, as many as fit into `room` bytes.
    /// Without addresses when the question is not for an IPv4 address.
    pub(super) fn addresses(&self, addresses: &[(Ipv4Addr, u32)], room: usize) -> Vec<u8> {
        let mut reply = self.reply(0);
        reply[2] |= 0x04;
        if !matches!(self.kind, A | ANY) {
            return reply;
        }
        let fitting = addresses.len().min(room.saturating_sub(reply.len()) / RECORD).min(usize::from(u16::MAX));
        if fitting < addresses.len() {
            reply[2] |= 0x02;
        }
        reply[6..8].copy_from_slice(&(fitting as u16).to_be_bytes());
        for (address, ttl) in &addresses[..fitting] {
            // The name as a pointer to the question (RFC 1035, 4.1.4), type A, class IN.
            reply.extend_from_slice(&[0xc0, HEADER as u8, 0, 1, 0, 1]);
            reply.extend_from_slice(&ttl.to_be_bytes());
            reply.extend_from_slice(&[0, 4]);
            reply.extend_from_slice(&address.octets());
        }
        reply
    }

    /// An answer without records: the question and a code.
    pub(super) fn reply(&self, code: u8) -> Vec<u8> {
        let mut reply = self.message[..self.end].to_vec();
        // Opcode and RD from the question, QR set, all other flags clear.
        reply[2] = (reply[2] & 0x79) | 0x80;
        reply[3] = 0x80 | code;
        reply[4..HEADER].fill(0);
        reply[5] = u8::from(self.end > HEADER);
        reply
    }
}

/// Whether an answer is anything but NOERROR.
pub(super) fn fails(answer: &[u8]) -> bool {
    answer.len() < HEADER || answer[3] & 0x0f != 0
}

/// An uncompressed name, as in any question, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let start = at;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || at - start + length + 1 > LONGEST_NAME {
            return None;
        }
        let label = message.get(at..at + length)?;
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        name.push('.');
        at += length;
    }
    Some((if name.is_empty() { ".".to_owned() } else { name }, at))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
