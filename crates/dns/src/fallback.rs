//! Answers every message that is not plain: hickory parses and writes it, and the same zone decides the answer.
//!
//! Only hickory's request and response types are used, not its server. The server's UDP path spawns a task and crosses
//! a channel per question, and its TCP listener accepts without a limit and spins when descriptors run out. An answer
//! needs only the zone, so it is computed here as a function of the packet, and no task in flight needs a limit.
//!
//! An error is reported with as little of the message as possible: a message that cannot be trusted is answered with a
//! bare header, which repeats the id, the operation and RD.

use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
};

use hickory_proto::{
    op::{Edns, LowerQuery, Metadata},
    rr::{
        DNSClass, Name, RData, Record,
        rdata::{A, NS, SOA},
    },
    serialize::binary::BinEncoder,
};
use hickory_server::{
    net::xfer::Protocol,
    server::Request,
    zone_handler::{MessageRequest, MessageResponseBuilder},
};

use crate::{
    ANSWER_TTL, NEGATIVE_TTL, Rcode, Zone,
    plain::LowerName,
    signed::{self, BadKey},
    wire::{HEADER, NAME_MAX, OPCODE, PAYLOAD, QR, RD, rtype, u16_at},
    zone::{Lookup, SOA_MAILBOX, SOA_TIMERS},
};

/// Octets that every client accepts in a datagram (RFC 1035 section 4.2.1).
const SMALLEST_LIMIT: usize = 512;

/// Transport of the answer, which bounds its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream. The length before each message (RFC 1035 section 4.2.2) is not part of the answer.
    Tcp,
}

impl Transport {
    /// Octets of the largest answer (RFC 1035 sections 4.2.1 and 4.2.2, RFC 6891 section 6.2.3).
    fn limit(self, edns: Option<&Edns>) -> u16 {
        match (self, edns) {
            (Self::Tcp, _) => u16::MAX,
            (Self::Udp, None) => SMALLEST_LIMIT as u16,
            (Self::Udp, Some(edns)) => edns.max_payload().clamp(SMALLEST_LIMIT as u16, PAYLOAD as u16),
        }
    }
}

/// Answers any message. `None` when it is a response or shorter than a header.
pub fn answer(zone: &Zone, packet: &[u8], transport: Transport) -> Option<(Vec<u8>, Rcode)> {
    if packet.len() < HEADER || packet[2] & QR != 0 {
        return None;
    }
    // The parser is third-party code: a packet that makes it panic costs its sender the answer and affects no other
    // client.
    let reply = catch_unwind(AssertUnwindSafe(|| {
        check(packet)?;
        if let Some(bad_key) = signed::reject(packet) {
            return bad_key.map(|bad_key| (bad_key_response(packet, &bad_key, transport), Rcode::NotAuth));
        }
        read(packet).and_then(|request| write(zone, &request, transport))
    }));
    Some(reply.unwrap_or(Err(Rcode::ServFail)).unwrap_or_else(|rcode| (bare(packet, rcode), rcode)))
}

/// The answer to a datagram of which only the beginning fitted into the buffer. `None` as in [`answer`].
pub(crate) fn cut_short(packet: &[u8]) -> Option<(Vec<u8>, Rcode)> {
    let answerable = packet.len() >= HEADER && packet[2] & QR == 0;
    answerable.then(|| (bare(packet, Rcode::FormErr), Rcode::FormErr))
}

/// A reply that consists of a header only.
fn bare(packet: &[u8], rcode: Rcode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&packet[..2]);
    reply[2] = QR | (packet[2] & (OPCODE | RD));
    reply[3] = rcode.code() as u8;
    reply
}

/// The response to a message that is signed with an unknown key (RFC 8945 section 5.2.1). When its names and data do
/// not fit into the datagram, the record that repeats them is left out.
fn bad_key_response(packet: &[u8], bad_key: &BadKey, transport: Transport) -> Vec<u8> {
    let mut reply = bare(packet, Rcode::NotAuth);
    let limit = if transport == Transport::Tcp { usize::from(u16::MAX) } else { SMALLEST_LIMIT };
    if reply.len() + bad_key.records.len() <= limit {
        reply[HEADER - 1] = bad_key.count;
        reply.extend(&bad_key.records);
    }
    reply
}

/// Checks that the message is a query with exactly one question (RFC 9619 section 4).
fn check(packet: &[u8]) -> Result<(), Rcode> {
    if packet[2] & OPCODE != 0 {
        return Err(Rcode::NotImp);
    }
    // Checked before the parser reserves memory for as many questions as the header claims.
    if u16_at(packet, 4) != Some(1) {
        return Err(Rcode::FormErr);
    }
    // The first question cannot contain a compression pointer, because no name precedes it (RFC 1035 section 4.1.4).
    // The parser nevertheless follows a pointer into the header, and the answer, which repeats the question, has
    // another header.
    LowerName::read(&packet[HEADER..]).ok_or(Rcode::FormErr)?;
    Ok(())
}

fn read(packet: &[u8]) -> Result<Request, Rcode> {
    // The parser wants the sender and the protocol for its own log; no answer depends on them.
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Request::from_bytes(packet.to_vec(), nobody, Protocol::Udp).map_err(|_| Rcode::FormErr)
}

/// Records of an answer.
#[derive(Default)]
struct Records {
    authoritative: bool,
    answer: Option<Record>,
    authority: Option<Record>,
}

fn write(zone: &Zone, request: &MessageRequest, transport: Transport) -> Result<(Vec<u8>, Rcode), Rcode> {
    let question = request.queries.queries().first().ok_or(Rcode::FormErr)?;
    let edns = request.edns.as_ref();
    let (rcode, records) = match edns {
        // RFC 6891 section 6.1.3
        Some(edns) if edns.version() > 0 => (Rcode::BadVers, Records::default()),
        _ => decide(zone, question),
    };
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.checking_disabled = false;
    metadata.authoritative = records.authoritative;
    metadata.response_code = rcode.code().into();

    let own_edns = edns.map(|asked| {
        let mut own = Edns::new();
        own.set_max_payload(PAYLOAD as u16).set_dnssec_ok(asked.flags().dnssec_ok);
        own
    });
    let builder = MessageResponseBuilder::new(&request.queries, own_edns.as_ref());
    let response = builder.build(metadata, records.answer.iter(), records.authority.iter(), [], []);
    let mut reply = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut reply);
    encoder.set_max_size(transport.limit(edns));
    response.destructive_emit(&mut encoder).map_err(|_| Rcode::ServFail)?;
    Ok((reply, rcode))
}

fn decide(zone: &Zone, question: &LowerQuery) -> (Rcode, Records) {
    let qtype = u16::from(question.query_type());
    if question.query_class() != DNSClass::IN || matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return (Rcode::Refused, Records::default());
    }
    if rtype::is_meta(qtype) {
        return (Rcode::NotImp, Records::default());
    }
    let asked = question.original().name();
    let answer = |ttl, data| {
        let record = Record::from_rdata(asked.clone(), ttl, data);
        Records { authoritative: true, answer: Some(record), authority: None }
    };
    let negative = || Records { authoritative: true, answer: None, authority: Some(soa(zone, asked)) };
    match zone.lookup(&lower_wire(asked), qtype) {
        Lookup::Address(record) => (Rcode::NoError, answer(ANSWER_TTL, RData::A(A(record.address())))),
        Lookup::Soa => {
            (Rcode::NoError, Records { authoritative: true, answer: Some(soa(zone, asked)), authority: None })
        }
        Lookup::Ns => (Rcode::NoError, answer(ANSWER_TTL, RData::NS(NS(asked.clone())))),
        Lookup::NoData => (Rcode::NoError, negative()),
        Lookup::NxDomain => (Rcode::NxDomain, negative()),
        Lookup::OutOfZone => (Rcode::Refused, Records::default()),
        Lookup::NotKnownYet => (Rcode::ServFail, Records::default()),
    }
}

/// The SOA record. The zone's name is spelt as in the question. The plain path does the same with a pointer into the
/// question.
fn soa(zone: &Zone, asked: &Name) -> Record {
    let apex = asked.trim_to(zone.apex_labels());
    let mailbox = Name::from_ascii(SOA_MAILBOX).unwrap_or_default();
    let [refresh, retry, expire] = SOA_TIMERS;
    let data =
        SOA::new(apex.clone(), mailbox, zone.serial(), refresh as i32, retry as i32, expire as i32, NEGATIVE_TTL);
    Record::from_rdata(apex, NEGATIVE_TTL, RData::SOA(data))
}

fn lower_wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(NAME_MAX);
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    wire
}

#[cfg(test)]
#[path = "fallback_tests.rs"]
mod tests;
