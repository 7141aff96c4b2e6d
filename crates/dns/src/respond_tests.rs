//! Compares the two paths with each other and with a model, and feeds them arbitrary input.

use std::net::Ipv4Addr;

use boshy_mesh::Tld;
use hickory_proto::op::Message;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{testing::table, wire};

const SERVICES: [(&str, Ipv4Addr); 4] = [
    ("httpbin.banana.sample.boshy", Ipv4Addr::new(169, 254, 255, 2)),
    ("web.banana.sample.boshy", Ipv4Addr::new(169, 254, 255, 3)),
    ("web.pear.other-deployment.boshy", Ipv4Addr::new(169, 254, 255, 4)),
    ("banana.sample.boshy", Ipv4Addr::new(169, 254, 255, 5)),
];

fn zone() -> Zone {
    Zone::build(&table(&SERVICES), &Tld::default(), 11)
}

/// A name as labels, so that a label may hold any octet.
type Labels = Vec<Vec<u8>>;

fn labels(name: &str) -> Labels {
    name.split('.').filter(|label| !label.is_empty()).map(|label| label.as_bytes().to_vec()).collect()
}

fn any_name() -> impl Strategy<Value = Labels> {
    let written = select(vec![
        "httpbin.banana.sample.boshy",
        "web.banana.sample.boshy",
        "web.pear.other-deployment.boshy",
        "banana.sample.boshy",
        "sample.boshy",
        "pear.other-deployment.boshy",
        "nope.banana.sample.boshy",
        "x.httpbin.banana.sample.boshy",
        "boshy",
        "",
        "example.org",
        "notboshy",
    ])
    .prop_map(labels);
    let label = prop_oneof![3 => vec(any::<u8>(), 1..20), 1 => vec(any::<u8>(), 60..64)];
    // RFC 1035 section 3.1: 63 octets a label, 255 a name with all its lengths.
    let fits = |name: &Labels| name.iter().map(|label| label.len() + 1).sum::<usize>() < 255;
    let made = (vec(label, 0..5), select(vec!["boshy", "sample.boshy", "org", ""]))
        .prop_map(|(front, zone)| [front, labels(zone)].concat())
        .prop_filter("a name of at most 255 octets", fits);
    prop_oneof![3 => written, 1 => made].prop_flat_map(|name| {
        let length = name.concat().len();
        (Just(name), vec(any::<bool>(), length)).prop_map(|(name, upper)| {
            let mut upper = upper.into_iter();
            let case = |octet: u8| if upper.next() == Some(true) { octet.to_ascii_uppercase() } else { octet };
            let mut case = case;
            name.into_iter().map(|label| label.into_iter().map(&mut case).collect()).collect()
        })
    })
}

#[derive(Clone, Debug)]
struct Opt {
    size: u16,
    version: u8,
    flags: u16,
    options: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Asked {
    id: u16,
    flags: u16,
    name: Labels,
    qtype: u16,
    class: u16,
    opt: Option<Opt>,
}

impl Asked {
    fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        for number in [self.id, self.flags, 1, 0, 0, u16::from(self.opt.is_some())] {
            packet.extend(number.to_be_bytes());
        }
        for label in &self.name {
            packet.push(label.len() as u8);
            packet.extend(label);
        }
        packet.push(0);
        packet.extend(self.qtype.to_be_bytes());
        packet.extend(self.class.to_be_bytes());
        if let Some(opt) = &self.opt {
            packet.extend([0, 0, 41]);
            packet.extend(opt.size.to_be_bytes());
            packet.extend([0, opt.version]);
            packet.extend(opt.flags.to_be_bytes());
            packet.extend((opt.options.len() as u16).to_be_bytes());
            packet.extend(&opt.options);
        }
        packet
    }

    /// Whether the question is plain, by the generator's own knowledge and not by the code under test.
    fn is_plain(&self) -> bool {
        self.class == 1
            && (self.qtype == 255 || self.qtype < 128 && self.qtype != 41 || self.qtype > 255)
            && self.opt.as_ref().is_none_or(|opt| opt.version == 0 && opt.options.is_empty())
    }

    /// Response code and address by an independent model: a table and a few lines.
    fn expected(&self) -> (Rcode, Option<Ipv4Addr>) {
        let lower: Labels = self.name.iter().map(|label| label.to_ascii_lowercase()).collect();
        if lower.last().is_none_or(|label| label != b"boshy") {
            return (Rcode::Refused, None);
        }
        let service = SERVICES.iter().find(|(name, _)| labels(name) == lower);
        let exists = SERVICES.iter().any(|(name, _)| labels(name).ends_with(&lower));
        match service {
            Some((_, address)) if matches!(self.qtype, 1 | 255) => (Rcode::NoError, Some(*address)),
            _ if exists => (Rcode::NoError, None),
            _ => (Rcode::NxDomain, None),
        }
    }
}

fn any_question() -> impl Strategy<Value = Asked> {
    let opt = (
        any::<u16>(),
        prop_oneof![9 => Just(0), 1 => any::<u8>()],
        any::<u16>(),
        prop_oneof![
            4 => Just(vec![]),
            1 => vec(any::<u8>(), 0..16),
            1 => Just(vec![0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
        ],
    )
        .prop_map(|(size, version, flags, options)| Opt { size, version, flags, options });
    let qtype =
        prop_oneof![4 => Just(1), 4 => select(vec![2, 5, 6, 12, 15, 16, 28, 33, 64, 65, 255]), 1 => any::<u16>()];
    let class = prop_oneof![9 => Just(1), 1 => any::<u16>()];
    // A query with all operation bits cleared; the other flags are arbitrary.
    let flags = any::<u16>().prop_map(|flags| flags & 0x07ff);
    (any::<u16>(), flags, any_name(), qtype, class, proptest::option::of(opt))
        .prop_map(|(id, flags, name, qtype, class, opt)| Asked { id, flags, name, qtype, class, opt })
}

fn whole(packet: &[u8]) -> Datagram<'_> {
    Datagram { octets: packet, cut_short: false }
}

/// The message with its names as spelt: hickory's own comparison ignores case.
fn spelt(reply: &[u8]) -> String {
    format!("{:#?}", Message::from_vec(reply).unwrap())
}

/// Plain questions without EDNS whose answer depends on the table only. Questions about the zone itself (NS, SOA, all
/// types of its apex) are excluded.
fn any_question_of_the_table() -> impl Strategy<Value = Asked> {
    let of_the_table = |asked: &Asked| {
        asked.is_plain() && !matches!(asked.qtype, 2 | 6) && (asked.qtype != 255 || asked.name.len() != 1)
    };
    any_question().prop_map(|asked| Asked { opt: None, ..asked }).prop_filter("a question of the table", of_the_table)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_ways_answer_a_plain_question_alike(asked in any_question()) {
        let packet = asked.packet();
        let mut out = [0; PAYLOAD];
        match answer_plain(&zone(), &packet, &mut out) {
            PlainOutcome::Answered { length, rcode } => {
                prop_assert!(asked.is_plain());
                let (other, other_rcode) = fallback::answer(&zone(), &packet, Transport::Udp).unwrap();
                prop_assert_eq!(rcode, other_rcode);
                prop_assert_eq!(spelt(&out[..length]), spelt(&other));
            }
            PlainOutcome::NotPlain => prop_assert!(!asked.is_plain()),
            PlainOutcome::Drop => prop_assert!(false, "a query was dropped"),
        }
    }

    #[test]
    fn a_question_gets_what_the_table_says(asked in any_question_of_the_table()) {
        let mut out = [0; PAYLOAD];
        let response = respond(&zone(), whole(&asked.packet()), &mut out).unwrap();
        let reply = Message::from_vec(&out[..response.length]).unwrap();
        let (rcode, address) = asked.expected();
        prop_assert_eq!(response.rcode, rcode);
        prop_assert_eq!(reply.metadata.authoritative, rcode != Rcode::Refused);
        prop_assert_eq!(reply.metadata.id, asked.id);
        prop_assert_eq!(reply.metadata.recursion_desired, asked.flags & 0x0100 != 0);
        let addresses: Vec<_> = reply.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        prop_assert_eq!(addresses, Vec::from_iter(address.map(std::net::IpAddr::from)));
        prop_assert_eq!(reply.authorities.len(), usize::from(address.is_none() && rcode != Rcode::Refused));
    }

    #[test]
    fn every_question_is_answered_with_its_own_id_and_question(asked in any_question()) {
        let mut out = [0; PAYLOAD];
        let packet = asked.packet();
        let response = respond(&zone(), whole(&packet), &mut out).unwrap();
        let reply = &out[..response.length];
        prop_assert_eq!(&reply[..2], &packet[..2]);
        prop_assert!(Message::from_vec(reply).is_ok());
        if response.rcode != Rcode::FormErr {
            let question = wire::HEADER..wire::HEADER + asked.name.concat().len() + asked.name.len() + 5;
            prop_assert_eq!(&reply[question.clone()], &packet[question]);
            prop_assert_eq!(Message::from_vec(reply).unwrap().edns.is_some(), asked.opt.is_some());
        }
    }

    #[test]
    fn any_octets_are_answered_unless_they_are_a_response_or_no_header(
        octets in vec(any::<u8>(), 0..200), cut_short in any::<bool>(), as_query in any::<bool>(),
    ) {
        assert_answered(octets, cut_short, as_query)?;
    }

    #[test]
    fn a_question_with_spoilt_octets_is_answered(
        asked in any_question(), spoilt in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(),
    ) {
        let mut packet = asked.packet();
        for (at, octet) in spoilt {
            let at = at.index(packet.len());
            packet[at] = octet;
        }
        packet.truncate(cut.index(packet.len() * 4).max(1));
        assert_answered(packet, false, false)?;
    }
}

fn assert_answered(mut octets: Vec<u8>, cut_short: bool, as_query: bool) -> Result<(), TestCaseError> {
    if as_query && octets.len() > 5 {
        // Most random octets are refused for their operation or count; these pass that check.
        octets[2] &= 0x07;
        octets[4..6].copy_from_slice(&[0, 1]);
    }
    let mut out = [0; PAYLOAD];
    let response = respond(&zone(), Datagram { octets: &octets, cut_short }, &mut out);
    let owed = octets.len() >= wire::HEADER && octets[2] & wire::QR == 0;
    prop_assert_eq!(response.is_some(), owed);
    if let Some(Response { length, .. }) = response {
        let reply = Message::from_vec(&out[..length]);
        prop_assert!(reply.is_ok(), "{:?}", reply);
        prop_assert_eq!(&out[..2], &octets[..2]);
        prop_assert!(out[2] & wire::QR != 0);
        let tcp = fallback::answer(&zone(), &octets, Transport::Tcp);
        prop_assert!(tcp.is_some());
    }
    Ok(())
}
