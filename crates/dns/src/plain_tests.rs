use std::net::Ipv4Addr;

use boshy_mesh::Tld;
use hickory_proto::{
    op::{Edns as HickoryEdns, Message, ResponseCode},
    rr::{DNSClass, RData, RecordType},
};

use super::*;
use crate::{
    ANSWER_TTL, NEGATIVE_TTL,
    testing::{HTTPBIN, HTTPBIN_VIP, query, table, zone},
};

fn with_edns(mut query: Message, edit: impl FnOnce(&mut HickoryEdns)) -> Message {
    let mut edns = HickoryEdns::new();
    edit(&mut edns);
    query.edns = Some(edns);
    query
}

fn answered(zone: &Zone, packet: &[u8]) -> Vec<u8> {
    let mut out = [0; PAYLOAD];
    match answer_plain(zone, packet, &mut out) {
        PlainOutcome::Answered { length, .. } => out[..length].to_vec(),
        other => panic!("{other:?}"),
    }
}

fn ask(query: &Message) -> Message {
    Message::from_vec(&answered(&zone(), &query.to_vec().unwrap())).unwrap()
}

fn assert_soa_in_authority(reply: &Message) {
    let [soa] = &reply.authorities[..] else { panic!("{reply}") };
    assert_eq!((soa.name.to_ascii().as_str(), soa.ttl), ("boshy.", NEGATIVE_TTL));
    let RData::SOA(data) = &soa.data else { panic!("{soa}") };
    assert_eq!((data.serial, data.minimum), (7, NEGATIVE_TTL));
    assert_eq!((data.mname.to_ascii().as_str(), data.rname.to_ascii().as_str()), ("boshy.", "nobody.invalid."));
    assert_eq!((data.refresh, data.retry, data.expire), (3600, 1200, 604_800));
}

#[test]
fn rfc1035_4_1_1_an_answer_repeats_the_id_and_is_authoritative_but_not_recursive() {
    let mut query = query(HTTPBIN, RecordType::A);
    query.metadata.recursion_desired = true;
    let reply = ask(&query);
    assert_eq!(reply.metadata.id, 0x1234);
    assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
    assert!(!reply.metadata.recursion_available && !reply.metadata.truncation && !reply.metadata.authentic_data);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.queries, query.queries);
    let [record] = &reply.answers[..] else { panic!("{reply}") };
    assert_eq!(record.ttl, ANSWER_TTL);
    assert_eq!(record.data, RData::A(HTTPBIN_VIP.into()));
    assert!(reply.authorities.is_empty() && reply.additionals.is_empty() && reply.edns.is_none());
}

#[test]
fn rfc4343_3_a_name_matches_without_case_and_is_repeated_as_asked() {
    let packet = query("HttpBin.BANANA.sample.Boshy.", RecordType::A).to_vec().unwrap();
    let reply = answered(&zone(), &packet);
    assert_eq!(reply[HEADER..packet.len()], packet[HEADER..]);
    assert_eq!(Message::from_vec(&reply).unwrap().answers[0].name.to_ascii(), "HttpBin.BANANA.sample.Boshy.");
}

#[test]
fn rfc2308_2_2_another_type_of_a_known_name_is_no_data_with_soa() {
    for qtype in [RecordType::AAAA, RecordType::TXT, RecordType::MX, RecordType::Unknown(65_000)] {
        let reply = ask(&query(HTTPBIN, qtype));
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError, "{qtype}");
        assert!(reply.metadata.authoritative && reply.answers.is_empty(), "{qtype}");
        assert_soa_in_authority(&reply);
    }
}

#[test]
fn rfc2308_2_1_an_unknown_name_is_a_name_error_with_soa() {
    let reply = ask(&query("nope.boshy.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert!(reply.metadata.authoritative);
    assert_soa_in_authority(&reply);
}

#[test]
fn rfc8020_2_an_empty_non_terminal_is_no_data() {
    let reply = ask(&query("banana.sample.boshy.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_soa_in_authority(&reply);
}

#[test]
fn rfc8482_4_1_any_gets_the_address() {
    assert_eq!(ask(&query(HTTPBIN, RecordType::ANY)).answers.len(), 1);
}

#[test]
fn the_zone_itself_answers_soa_and_ns() {
    let reply = ask(&query("Boshy.", RecordType::SOA));
    assert!(
        matches!(&reply.answers[..], [soa] if soa.record_type() == RecordType::SOA && soa.name.to_ascii() == "Boshy.")
    );
    assert!(reply.metadata.authoritative && reply.authorities.is_empty());
    let reply = ask(&query("boshy.", RecordType::NS));
    assert!(matches!(&reply.answers[0].data, RData::NS(ns) if ns.0.to_ascii() == "boshy."));
    assert_soa_in_authority(&ask(&query("boshy.", RecordType::AAAA)));
}

#[test]
fn another_zone_is_refused_without_authority() {
    let reply = ask(&query("example.org.", RecordType::A));
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    assert!(!reply.metadata.authoritative && reply.authorities.is_empty());
    assert_eq!(reply.queries.len(), 1);
}

#[test]
fn a_zone_not_known_yet_is_a_server_failure() {
    let packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    let reply = Message::from_vec(&answered(&Zone::not_known_yet(&Tld::default()), &packet)).unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(!reply.metadata.authoritative);
}

#[test]
fn rfc6891_6_1_1_edns_is_answered_with_our_own_size() {
    for name in [HTTPBIN, "nope.boshy.", "example.org."] {
        let reply = ask(&with_edns(query(name, RecordType::A), |edns| {
            edns.set_max_payload(4096);
        }));
        let edns = reply.edns.unwrap();
        assert_eq!((usize::from(edns.max_payload()), edns.version()), (PAYLOAD, 0), "{name}");
        assert!(!edns.flags().dnssec_ok);
    }
}

#[test]
fn rfc3225_3_the_do_bit_is_copied_and_reserved_bits_are_not() {
    let reply = ask(&with_edns(query(HTTPBIN, RecordType::A), |edns| {
        edns.set_dnssec_ok(true);
        edns.flags_mut().z = 0x7fff;
    }));
    let edns = reply.edns.unwrap();
    assert!(edns.flags().dnssec_ok);
    assert_eq!(edns.flags().z, 0);
}

#[test]
fn rfc1035_4_2_1_no_answer_exceeds_512_octets() {
    let tld = Tld::new(&["z".repeat(63), "y".repeat(63), "x".repeat(61)].join(".")).unwrap();
    let name = format!("{}.{tld}.", "a".repeat(253 - 1 - tld.as_str().len()));
    let names = table(&[(&name, Ipv4Addr::new(10, 0, 0, 1))]);
    let zone = Zone::build(&names, &tld, 1);
    for qtype in [RecordType::A, RecordType::AAAA] {
        let packet = with_edns(query(&name, qtype), |_| {}).to_vec().unwrap();
        let reply = answered(&zone, &packet);
        assert!(reply.len() <= LARGEST);
        assert!(!Message::from_vec(&reply).unwrap().metadata.truncation);
    }
    let packet = with_edns(query(&name, RecordType::AAAA), |_| {}).to_vec().unwrap();
    assert_eq!(answered(&zone, &packet).len(), LARGEST, "the bound is reached");
}

#[test]
fn a_response_and_less_than_a_header_are_dropped() {
    let mut packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    packet[2] |= QR;
    assert_eq!(answer_plain(&zone(), &packet, &mut [0; PAYLOAD]), PlainOutcome::Drop);
    for length in 0..HEADER {
        assert_eq!(answer_plain(&zone(), &[0; HEADER][..length], &mut [0; PAYLOAD]), PlainOutcome::Drop);
    }
}

#[test]
fn whatever_is_not_a_plain_question_is_left_to_the_other_way() {
    let not_plain = |what: &str, packet: &[u8]| {
        assert_eq!(answer_plain(&zone(), packet, &mut [0; PAYLOAD]), PlainOutcome::NotPlain, "{what}");
    };
    let good = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    let edited = |at: usize, octet: u8| {
        let mut packet = good.clone();
        packet[at] = octet;
        packet
    };
    not_plain("header only", &good[..HEADER]);
    not_plain("cut in the name", &good[..HEADER + 5]);
    not_plain("cut in the class", &good[..good.len() - 1]);
    not_plain("trailing octets", &[&good[..], &[0]].concat());
    not_plain("opcode NOTIFY", &edited(2, 4 << 3));
    not_plain("no question", &edited(5, 0));
    not_plain("two questions", &edited(5, 2));
    not_plain("256 questions more", &edited(4, 1));
    not_plain("an answer record", &edited(7, 1));
    not_plain("an authority record", &edited(9, 1));
    not_plain("an additional record that is missing", &edited(11, 1));
    not_plain("a compressed name", &edited(HEADER, 0xc0));
    not_plain("an unassigned label type", &edited(HEADER, 0x40));
    let mut chaos = query(HTTPBIN, RecordType::A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    not_plain("class CH", &chaos.to_vec().unwrap());
    for qtype in [RecordType::AXFR, RecordType::IXFR, RecordType::OPT, RecordType::TSIG] {
        not_plain("a meta type", &query(HTTPBIN, qtype).to_vec().unwrap());
    }
    let edns = with_edns(query(HTTPBIN, RecordType::A), |edns| {
        edns.set_version(1);
    });
    not_plain("EDNS version 1", &edns.to_vec().unwrap());
    let mut long = good[..HEADER].to_vec();
    for _ in 0..4 {
        long.push(63);
        long.extend([b'a'; 63]);
    }
    long.extend([0, 0, 1, 0, 1]);
    not_plain("a name of 257 octets", &long);
}
