use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::RecordType,
};

use super::*;
use crate::testing::{HTTPBIN, HTTPBIN_VIP, query, table, zone};

fn answered(packet: &[u8], transport: Transport) -> Message {
    let (reply, rcode) = answer(&zone(), packet, transport).expect("an answer");
    let message = Message::from_vec(&reply).unwrap();
    assert_eq!(u16::from(message.metadata.response_code), rcode.code());
    message
}

fn ask(query: &Message) -> Message {
    answered(&query.to_vec().unwrap(), Transport::Udp)
}

fn assert_bare(reply: &Message, rcode: ResponseCode) {
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (0x1234, rcode));
    assert!(!reply.metadata.authoritative);
    assert!(reply.queries.is_empty() && reply.answers.is_empty() && reply.edns.is_none());
}

#[test]
fn a_known_name_has_its_address() {
    let reply = ask(&query(HTTPBIN, RecordType::A));
    assert!(reply.metadata.authoritative);
    assert_eq!(reply.answers[0].data, RData::A(HTTPBIN_VIP.into()));
}

#[test]
fn rfc6891_6_1_2_unknown_options_are_ignored() {
    let mut packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    packet[11] = 1;
    packet.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 8, 0xfd, 0xe9, 0, 4, 1, 2, 3, 4]);
    let reply = answered(&packet, Transport::Udp);
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.edns.unwrap().max_payload(), 1232);
}

#[test]
fn rfc6891_6_1_3_a_later_edns_version_is_badvers_and_names_ours() {
    let mut query = query(HTTPBIN, RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    query.edns = Some(edns);
    let reply = ask(&query);
    assert_eq!(u16::from(reply.metadata.response_code), 16);
    assert_eq!(reply.edns.unwrap().version(), 0);
    assert!(reply.answers.is_empty() && !reply.metadata.authoritative);
}

#[test]
fn rfc6891_6_1_1_two_opt_records_are_a_format_error() {
    let mut packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    packet[11] = 2;
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0].repeat(2));
    assert_bare(&answered(&packet, Transport::Udp), ResponseCode::FormErr);
}

#[test]
fn rfc9619_4_anything_but_one_question_is_a_format_error() {
    let mut two = query(HTTPBIN, RecordType::A);
    two.add_query(Query::query(Name::from_ascii("b.boshy.").unwrap(), RecordType::A));
    assert_bare(&ask(&two), ResponseCode::FormErr);
    let mut none = query(HTTPBIN, RecordType::A);
    none.queries.clear();
    assert_bare(&ask(&none), ResponseCode::FormErr);
    let mut claimed = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    claimed[4..6].copy_from_slice(&[0xff, 0xff]);
    assert_bare(&answered(&claimed, Transport::Udp), ResponseCode::FormErr);
}

#[test]
fn rfc1035_4_1_1_other_operations_are_not_implemented_and_repeated() {
    for operation in [OpCode::Update, OpCode::Notify, OpCode::Status, OpCode::Unknown(9)] {
        let mut query = query("boshy.", RecordType::SOA);
        query.metadata.op_code = operation;
        let reply = ask(&query);
        assert_eq!(reply.metadata.op_code, operation);
        assert_bare(&reply, ResponseCode::NotImp);
    }
}

#[test]
fn rfc5936_2_2_1_zone_transfers_are_refused() {
    for qtype in [RecordType::AXFR, RecordType::IXFR] {
        let reply = answered(&query("boshy.", qtype).to_vec().unwrap(), Transport::Tcp);
        assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
        assert!(!reply.metadata.authoritative && reply.answers.is_empty());
    }
}

#[test]
fn rfc6895_3_1_other_meta_types_are_not_implemented() {
    for qtype in [RecordType::OPT, RecordType::TSIG, RecordType::Unknown(253)] {
        assert_eq!(ask(&query(HTTPBIN, qtype)).metadata.response_code, ResponseCode::NotImp, "{qtype}");
    }
}

#[test]
fn another_class_is_refused() {
    for class in [DNSClass::CH, DNSClass::ANY, DNSClass::NONE, DNSClass::Unknown(77)] {
        let mut query = query(HTTPBIN, RecordType::A);
        query.queries[0].set_query_class(class);
        assert_eq!(ask(&query).metadata.response_code, ResponseCode::Refused, "{class}");
    }
}

#[test]
fn rfc1035_4_1_4_a_pointer_into_the_header_is_a_format_error() {
    // Parsed as a name, the flags (only RD set) and the count of questions are one label and the root.
    let packet = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\xc0\x02\0\x01\0\x01";
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_bare(&answered(packet, transport), ResponseCode::FormErr);
    }
}

#[test]
fn rfc1035_4_1_4_a_pointer_that_does_not_go_back_is_a_format_error() {
    for pointer in [[0xc0, 12], [0xc0, 14], [0xff, 0xff]] {
        let mut packet = query(HTTPBIN, RecordType::A).to_vec().unwrap()[..HEADER].to_vec();
        packet.extend(pointer);
        packet.extend([0, 1, 0, 1]);
        assert_bare(&answered(&packet, Transport::Udp), ResponseCode::FormErr);
    }
}

#[test]
fn a_message_cut_anywhere_behind_its_header_is_a_format_error() {
    let packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    for length in HEADER..packet.len() {
        assert_bare(&answered(&packet[..length], Transport::Udp), ResponseCode::FormErr);
    }
    assert_eq!(cut_short(&packet).unwrap().1, Rcode::FormErr);
}

#[test]
fn responses_are_not_answered_even_when_malformed() {
    let mut packet = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    packet[2] |= QR;
    assert_eq!(answer(&zone(), &packet, Transport::Tcp), None);
    assert_eq!(answer(&zone(), &packet[..HEADER], Transport::Udp), None);
    assert_eq!(cut_short(&packet), None);
}

#[test]
fn rfc1035_4_2_1_an_answer_over_512_octets_is_truncated_on_udp_and_whole_on_tcp() {
    let name = format!("{}.boshy.", [50; 4].map(|length| "a".repeat(length)).join("."));
    let zone = Zone::build(&table(&[(&name, HTTPBIN_VIP)]), &boshy_mesh::Tld::default(), 1);
    let packet = query(&name, RecordType::A).to_vec().unwrap();
    let fits = |transport| Message::from_vec(&answer(&zone, &packet, transport).unwrap().0).unwrap();
    assert_eq!(fits(Transport::Tcp).answers.len(), 1);
    assert_eq!(fits(Transport::Udp).answers.len(), 1, "just below the limit");

    let name = format!("{}.boshy.", [60; 4].map(|length| "a".repeat(length)).join("."));
    let zone = Zone::build(&table(&[(&name, HTTPBIN_VIP)]), &boshy_mesh::Tld::default(), 1);
    let packet = query(&name, RecordType::A).to_vec().unwrap();
    let (reply, _) = answer(&zone, &packet, Transport::Udp).unwrap();
    assert!(reply.len() <= 512);
    let reply = Message::from_vec(&reply).unwrap();
    assert!(reply.metadata.truncation && reply.answers.is_empty());
    assert_eq!(reply.queries.len(), 1);
    let (reply, _) = answer(&zone, &packet, Transport::Tcp).unwrap();
    assert!(!Message::from_vec(&reply).unwrap().metadata.truncation);
}

#[test]
fn rfc6891_6_2_5_the_size_of_the_asker_counts_between_512_and_ours() {
    let edns = |size| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns
    };
    assert_eq!(Transport::Udp.limit(None), 512);
    assert_eq!(Transport::Udp.limit(Some(&edns(100))), 512);
    assert_eq!(Transport::Udp.limit(Some(&edns(900))), 900);
    assert_eq!(Transport::Udp.limit(Some(&edns(4096))), 1232);
    assert_eq!(Transport::Tcp.limit(None), u16::MAX);
}
