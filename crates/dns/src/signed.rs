//! Rejects signed messages: TSIG (RFC 8945) and SIG(0) (RFC 2931).
//!
//! This server has no keys. A client that signs its question expects a signed answer and would take an unsigned one for
//! a forgery. RFC 8945 section 5.2 requires an answer that says that the key is not known. Nothing here is verified or
//! signed.

use crate::{
    Rcode,
    wire::{CLASS_ANY, HEADER, LABEL_MAX, NAME_MAX, OPT, PAYLOAD, rtype, u16_at},
};

/// TSIG error "key not recognised" (RFC 8945 section 3).
const BADKEY: u16 = 17;
/// Octets of a TSIG record's data between the algorithm's name and the MAC: time, fudge, size of the MAC.
const BEFORE_MAC: usize = 10;

/// The additional section of a response with the TSIG error BADKEY (RFC 8945 section 5.2.1).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BadKey {
    /// Number of records (ARCOUNT).
    pub(crate) count: u8,
    /// Their octets.
    pub(crate) records: Vec<u8>,
}

/// A record as found in a message.
struct Record<'p> {
    owner: usize,
    rtype: u16,
    class: u16,
    ttl: u32,
    data: &'p [u8],
    data_at: usize,
}

/// The BADKEY response to a signed message, or FORMERR when the signature is malformed. `None` when there is no
/// signature, or when the message cannot be parsed up to it. The message has one question.
pub(crate) fn reject(packet: &[u8]) -> Option<Result<BadKey, Rcode>> {
    let count = |at| u16_at(packet, at).map_or(0, usize::from);
    let (before, all) = (count(6) + count(8), count(6) + count(8) + count(10));
    let mut at = name_end(packet, HEADER)? + 4;
    let mut edns = None;
    for place in 0..all {
        let (record, next) = Record::read(packet, at)?;
        let Some(record) = record else {
            // The record's data exceeds the message.
            return (u16_at(packet, name_end(packet, at)?)? == rtype::TSIG).then_some(Err(Rcode::FormErr));
        };
        match record.rtype {
            // RFC 8945 section 5.1: TSIG is the last record of the additional section, and so the only one.
            rtype::TSIG if place < before || place + 1 < all => return Some(Err(Rcode::FormErr)),
            rtype::TSIG => return Some(key_not_known(packet, &record, edns).ok_or(Rcode::FormErr)),
            // RFC 2931 section 3: a SIG(0) record covers no type.
            rtype::SIG if place >= before && record.data.starts_with(&[0, 0]) => return Some(Err(Rcode::FormErr)),
            rtype::OPT if place >= before => edns = Some(record.ttl & 0x8000 != 0),
            _ => {}
        }
        at = next;
    }
    None
}

/// RFC 8945 section 5.2.1: the request's own record, with the error and without a MAC. `edns` is the request's DO bit.
fn key_not_known(packet: &[u8], record: &Record<'_>, edns: Option<bool>) -> Option<BadKey> {
    if (record.class, record.ttl) != (CLASS_ANY, 0) {
        return None;
    }
    let key = lower_name(packet, record.owner)?;
    let end = record.data_at + record.data.len();
    let algorithm_end = name_end(packet, record.data_at).filter(|at| *at <= end)?;
    let algorithm = lower_name(packet, record.data_at)?;
    let fields = packet.get(algorithm_end..end)?;
    let mac = usize::from(u16_at(fields, BEFORE_MAC - 2)?);
    let after_mac = fields.get(BEFORE_MAC + mac..)?;
    let other = after_mac.get(6..)?;
    if other.len() != usize::from(u16_at(after_mac, 4)?) {
        return None;
    }
    let mut data = algorithm;
    data.extend(&fields[..BEFORE_MAC - 2]);
    data.extend([0, 0]);
    data.extend(&after_mac[..2]);
    data.extend(BADKEY.to_be_bytes());
    data.extend(&after_mac[4..]);

    let mut bad_key = BadKey::default();
    if let Some(dnssec_ok) = edns {
        let [high, low] = (PAYLOAD as u16).to_be_bytes();
        let opt: [u8; OPT] = [0, 0, rtype::OPT as u8, high, low, 0, 0, u8::from(dnssec_ok) << 7, 0, 0, 0];
        bad_key.count = 1;
        bad_key.records.extend(opt);
    }
    bad_key.count += 1;
    bad_key.records.extend(key);
    bad_key.records.extend(rtype::TSIG.to_be_bytes());
    bad_key.records.extend(CLASS_ANY.to_be_bytes());
    bad_key.records.extend([0; 4]);
    bad_key.records.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    bad_key.records.extend(data);
    Some(bad_key)
}

impl<'p> Record<'p> {
    /// Parses the record at a position and returns where the next one begins. The record is `None` when its data
    /// exceeds the message.
    fn read(packet: &'p [u8], owner: usize) -> Option<(Option<Self>, usize)> {
        let at = name_end(packet, owner)?;
        let fixed = packet.get(at..at + 10)?;
        let [_, _, _, _, a, b, c, d, high, low] = *fixed else { return None };
        let data_at = at + 10;
        let end = data_at + usize::from(u16::from_be_bytes([high, low]));
        let record = packet.get(data_at..end).map(|data| Self {
            owner,
            rtype: u16::from_be_bytes([fixed[0], fixed[1]]),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            ttl: u32::from_be_bytes([a, b, c, d]),
            data,
            data_at,
        });
        Some((record, end))
    }
}

/// End of the name that begins at a position, without following pointers.
fn name_end(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*packet.get(at)?) {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 == 0xc0 => return (at + 2 <= packet.len()).then_some(at + 2),
            label if label <= LABEL_MAX => at += 1 + label,
            _ => return None,
        }
    }
}

/// A name in full and in lower case. A pointer must lead backwards (RFC 1035 section 4.1.4), so the loop ends.
fn lower_name(packet: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut begin = at;
    loop {
        let length = usize::from(*packet.get(at)?);
        if length & 0xc0 == 0xc0 {
            let to = usize::from(u16_at(packet, at)? & 0x3fff);
            if to >= begin || to < HEADER {
                return None;
            }
            (at, begin) = (to, to);
            continue;
        }
        if length > LABEL_MAX || name.len() + 1 + length > NAME_MAX {
            return None;
        }
        name.push(length as u8);
        if length == 0 {
            return Some(name);
        }
        name.extend(packet.get(at + 1..at + 1 + length)?.iter().map(u8::to_ascii_lowercase));
        at += 1 + length;
    }
}

#[cfg(test)]
#[path = "signed_tests.rs"]
mod tests;
