//! Sizes and numbers of the DNS wire format that more than one module needs.

/// Octets of a message header (RFC 1035 section 4.1.1).
pub(crate) const HEADER: usize = 12;
/// Longest name on the wire (RFC 1035 section 2.3.4).
pub(crate) const NAME_MAX: usize = 255;
/// Longest label (RFC 1035 section 2.3.4).
pub(crate) const LABEL_MAX: usize = 63;
/// Octets of an OPT record without options (RFC 6891 section 6.1.2).
pub(crate) const OPT: usize = 11;
/// The largest UDP message that this server announces, accepts and sends: it fits every path without fragmentation (DNS
/// flag day 2020).
pub const PAYLOAD: usize = 1232;

/// First flag octet: this is a response.
pub(crate) const QR: u8 = 0x80;
/// First flag octet: four bits of operation.
pub(crate) const OPCODE: u8 = 0x78;
/// First flag octet: authoritative answer.
pub(crate) const AA: u8 = 0x04;
/// First flag octet: recursion desired.
pub(crate) const RD: u8 = 0x01;

/// Class "Internet".
pub(crate) const CLASS_IN: u16 = 1;

/// Class "any", used by records that are not data (RFC 1035 section 3.2.5).
pub(crate) const CLASS_ANY: u16 = 255;

/// TYPE and QTYPE values with a meaning here (RFC 1035 section 3.2). Every other type has no data in the zone.
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const SIG: u16 = 24;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const TSIG: u16 = 250;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;

    /// Whether a type asks for an operation and not for data (RFC 6895 section 3.1). ANY is answered as data (RFC
    /// 8482).
    pub(crate) const fn is_meta(rtype: u16) -> bool {
        rtype == OPT || (rtype >= 128 && rtype < ANY)
    }
}

/// Two octets at `at`; `None` beyond the end.
pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..at + 2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
}

/// The lower-cased wire form of a name written with dots; `None` when it is not a valid DNS name.
pub(crate) fn lower_name(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= NAME_MAX).then_some(wire)
}

/// The name without its first label; `None` for the root.
pub(crate) fn parent(wire: &[u8]) -> Option<&[u8]> {
    match wire.first() {
        None | Some(0) => None,
        Some(&length) => wire.get(1 + usize::from(length)..),
    }
}
