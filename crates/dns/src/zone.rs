//! The mesh's own zone, in a form prepared for answering.
//!
//! A zone is built once per name table and never changed, so that readers share it through an atomic pointer. The parts
//! of an answer are encoded in wire form here, not when a question arrives. The zone has one address per name, no
//! delegation, no wildcard and no alias. A lookup is a function of name and QTYPE ([`Zone::lookup`]), which both paths
//! (plain and hickory's) use.

use std::{collections::HashMap, net::Ipv4Addr};

use boshy_mesh::{ANSWER_TTL, Hostname, NameTable, Tld};

use crate::wire::{self, CLASS_IN, HEADER, rtype};

/// Seconds for which the absence of a name or of a type may be cached; it is short, so that a new name is found soon.
/// It is the MINIMUM of the SOA record and the record's own TTL, as RFC 2308 section 3 takes the smaller of the two.
pub const NEGATIVE_TTL: u32 = 1;
/// REFRESH, RETRY and EXPIRE of the SOA record, in seconds. The zone is never transferred; the values are those of RFC
/// 6303.
pub(crate) const SOA_TIMERS: [u32; 3] = [3600, 1200, 604_800];
/// The mailbox of the SOA record: the zone has none (RFC 6303 section 3).
pub(crate) const SOA_MAILBOX: &str = "nobody.invalid.";
const MAILBOX: &[u8; 16] = b"\x06nobody\x07invalid\0";

/// Owner, type, class, TTL and length of the data.
const RECORD_HEAD: usize = 12;
/// Octets of a prebuilt SOA record: two names as pointers, one in full, five numbers.
pub(crate) const SOA_RECORD: usize = RECORD_HEAD + 2 + MAILBOX.len() + 20;

/// An A record whose owner is a pointer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressRecord([u8; RECORD_HEAD + 4]);

impl AddressRecord {
    fn new(address: Ipv4Addr) -> Self {
        let mut record = [0; RECORD_HEAD + 4];
        record[..RECORD_HEAD].copy_from_slice(&record_head(rtype::A, ANSWER_TTL, 4));
        record[RECORD_HEAD..].copy_from_slice(&address.octets());
        Self(record)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = self.0;
        Ipv4Addr::new(a, b, c, d)
    }
}

/// What exists at a name.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// The zone itself.
    Apex,
    /// An empty non-terminal (RFC 8499 section 7): no data, but names below it. Such a name exists (RFC 8020).
    EmptyNonTerminal,
    /// A service.
    Address(AddressRecord),
    /// A service that is announced but not reachable yet.
    Awaited,
}

/// What a lookup of a name and QTYPE finds (RFC 1034 section 4.3.2), which decides the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<'z> {
    /// The address of a service.
    Address(&'z AddressRecord),
    /// The SOA record as an answer.
    Soa,
    /// The NS record as an answer.
    Ns,
    /// The name exists, the type does not: NOERROR with the SOA record in the authority section (RFC 2308 section 2.2).
    NoData,
    /// The name does not exist: NXDOMAIN with the SOA record in the authority section (RFC 2308 section 2.1).
    NxDomain,
    /// The name belongs to another zone: REFUSED.
    OutOfZone,
    /// The name is in the zone, but it, or the whole zone, is not known yet: SERVFAIL.
    NotKnownYet,
}

/// The data from which the DNS server answers. Immutable.
#[derive(Clone, Debug)]
pub struct Zone {
    apex: Box<[u8]>,
    serial: u32,
    known: bool,
    names: usize,
    nodes: HashMap<Box<[u8]>, Node>,
    soa: [u8; SOA_RECORD],
    ns: [u8; RECORD_HEAD + 2],
}

impl Zone {
    /// Builds the zone of a name table. `serial` becomes the serial of the SOA record and should increase with each
    /// table.
    ///
    /// A name that is not below `tld` is left out, because the zone has no authority over it. [`Zone::len`] returns how
    /// many names were taken.
    pub fn build(names: &NameTable, tld: &Tld, serial: u32) -> Self {
        let mut zone = Self::empty(tld, serial, true);
        for (host, address) in names.iter() {
            if let Some(name) = zone.own_name(host) {
                zone.insert(&name, Node::Address(AddressRecord::new(address)));
                zone.names += 1;
            }
        }
        zone
    }

    /// Adds names that are announced but cannot be answered yet. An answer that such a name does not exist would be
    /// wrong and might be cached.
    #[must_use]
    pub fn awaiting(mut self, names: &NameTable) -> Self {
        for (host, _) in names.iter() {
            if let Some(name) = self.own_name(host)
                && !matches!(self.nodes.get(&*name), Some(Node::Address(_)))
            {
                self.insert(&name, Node::Awaited);
            }
        }
        self
    }

    /// The zone before the first name table has been read. Unknown is not the same as empty: questions about the zone
    /// get SERVFAIL, which a resolver does not cache as the absence of a name.
    pub fn not_known_yet(tld: &Tld) -> Self {
        Self::empty(tld, 0, false)
    }

    fn empty(tld: &Tld, serial: u32, known: bool) -> Self {
        // A zone name longer than DNS allows becomes a name that no question can have, so nothing is in the zone.
        let apex: Box<[u8]> = wire::lower_name(tld.as_str()).unwrap_or_default().into();
        let nodes = HashMap::from([(apex.clone(), Node::Apex)]);
        Self { apex, serial, known, names: 0, nodes, soa: soa_record(serial), ns: ns_record() }
    }

    /// The wire form of a name, when it is below the zone's own name.
    fn own_name(&self, host: &Hostname) -> Option<Vec<u8>> {
        wire::lower_name(host.as_str()).filter(|name| self.holds(name) && **name != *self.apex)
    }

    fn insert(&mut self, name: &[u8], node: Node) {
        self.nodes.insert(name.into(), node);
        let mut ancestor = wire::parent(name);
        while let Some(name) = ancestor.filter(|name| **name != *self.apex) {
            self.nodes.entry(name.into()).or_insert(Node::EmptyNonTerminal);
            ancestor = wire::parent(name);
        }
    }

    /// Number of names with an address.
    pub fn len(&self) -> usize {
        self.names
    }

    /// Whether no name has an address.
    pub fn is_empty(&self) -> bool {
        self.names == 0
    }

    /// The serial of the SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Looks up a question of class IN. `name` is in lower-cased wire form.
    pub(crate) fn lookup(&self, name: &[u8], qtype: u16) -> Lookup<'_> {
        if !self.known {
            return if self.holds(name) { Lookup::NotKnownYet } else { Lookup::OutOfZone };
        }
        match self.nodes.get(name) {
            Some(Node::Address(record)) if matches!(qtype, rtype::A | rtype::ANY) => Lookup::Address(record),
            Some(Node::Apex) if matches!(qtype, rtype::SOA | rtype::ANY) => Lookup::Soa,
            Some(Node::Apex) if qtype == rtype::NS => Lookup::Ns,
            Some(Node::Awaited) => Lookup::NotKnownYet,
            Some(_) => Lookup::NoData,
            None if self.holds(name) => Lookup::NxDomain,
            None => Lookup::OutOfZone,
        }
    }

    /// Whether a name is the zone's own or below it. The check goes label by label, because a label may contain the
    /// octets of the zone's name.
    fn holds(&self, name: &[u8]) -> bool {
        let mut rest = name;
        while rest.len() > self.apex.len() {
            match wire::parent(rest) {
                Some(parent) => rest = parent,
                None => return false,
            }
        }
        *rest == *self.apex
    }

    /// Octets of the zone's own name on the wire.
    pub(crate) fn apex_len(&self) -> usize {
        self.apex.len()
    }

    /// Labels of the zone's own name.
    pub(crate) fn apex_labels(&self) -> usize {
        std::iter::successors(Some(&*self.apex), |name| wire::parent(name)).count() - 1
    }

    /// The SOA record for a question in which the zone's name begins at `apex` octets from the start of the message.
    pub(crate) fn soa(&self, apex: usize) -> [u8; SOA_RECORD] {
        let pointer = pointer(apex);
        let mut record = self.soa;
        record[..2].copy_from_slice(&pointer);
        record[RECORD_HEAD..RECORD_HEAD + 2].copy_from_slice(&pointer);
        record
    }

    /// The NS record, which only the zone itself has.
    pub(crate) fn ns(&self) -> &[u8] {
        &self.ns
    }
}

/// A compression pointer to a name elsewhere in the message (RFC 1035 section 4.1.4).
fn pointer(offset: usize) -> [u8; 2] {
    (0xc000 | offset as u16).to_be_bytes()
}

/// The head of a record whose owner is the question's name.
fn record_head(rtype: u16, ttl: u32, data: usize) -> [u8; RECORD_HEAD] {
    let mut head = [0; RECORD_HEAD];
    head[..2].copy_from_slice(&pointer(HEADER));
    head[2..4].copy_from_slice(&rtype.to_be_bytes());
    head[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
    head[6..10].copy_from_slice(&ttl.to_be_bytes());
    head[10..].copy_from_slice(&(data as u16).to_be_bytes());
    head
}

/// The SOA record. The zone is served on the machine itself and is not delegated, so its primary server is the zone's
/// own name (RFC 6303 section 3).
fn soa_record(serial: u32) -> [u8; SOA_RECORD] {
    let mut record = [0; SOA_RECORD];
    record[..RECORD_HEAD].copy_from_slice(&record_head(rtype::SOA, NEGATIVE_TTL, SOA_RECORD - RECORD_HEAD));
    record[RECORD_HEAD..RECORD_HEAD + 2].copy_from_slice(&pointer(HEADER));
    record[RECORD_HEAD + 2..SOA_RECORD - 20].copy_from_slice(MAILBOX);
    let [refresh, retry, expire] = SOA_TIMERS;
    for (place, number) in
        record[SOA_RECORD - 20..].chunks_exact_mut(4).zip([serial, refresh, retry, expire, NEGATIVE_TTL])
    {
        place.copy_from_slice(&number.to_be_bytes());
    }
    record
}

/// The NS record. Its only name server is the zone's own name, like the primary server in the SOA record.
fn ns_record() -> [u8; RECORD_HEAD + 2] {
    let mut record = [0; RECORD_HEAD + 2];
    record[..RECORD_HEAD].copy_from_slice(&record_head(rtype::NS, ANSWER_TTL, 2));
    record[RECORD_HEAD..].copy_from_slice(&pointer(HEADER));
    record
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
