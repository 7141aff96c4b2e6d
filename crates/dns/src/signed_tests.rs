use super::*;
use crate::{
    fallback::{Transport, answer},
    testing::zone,
    wire::lower_name as wire_name,
};

const NAME: &str = "httpbin.banana.sample.boshy";

/// A record with this owner, rtype, class and data, and a TTL of 0.
fn record(owner: &str, rtype: u16, class: u16, data: &[u8]) -> Vec<u8> {
    let owner = if owner.is_empty() { vec![0] } else { wire_name(owner).unwrap() };
    let length = data.len() as u16;
    [&owner[..], &rtype.to_be_bytes(), &class.to_be_bytes(), &[0; 4], &length.to_be_bytes(), data].concat()
}

fn tsig_data(mac: &[u8], other: &[u8]) -> Vec<u8> {
    let time = [0, 0, 0x6b, 0x0b, 0x31, 0x77, 0x01, 0x2c];
    let algorithm = wire_name("HMAC-sha256").unwrap();
    let (mac_length, other_length) = ((mac.len() as u16).to_be_bytes(), (other.len() as u16).to_be_bytes());
    [&algorithm[..], &time, &mac_length, mac, &[0x12, 0x34], &[0, 0], &other_length, other].concat()
}

fn tsig() -> Vec<u8> {
    record("MyKey", rtype::TSIG, CLASS_ANY, &tsig_data(&[0x11; 32], &[]))
}

fn opt() -> Vec<u8> {
    record("", rtype::OPT, 1232, &[])
}

/// A question with these records in the additional section.
fn signed(additional: &[Vec<u8>]) -> Vec<u8> {
    let count = additional.len() as u8;
    let header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, count];
    [&header[..], &wire_name(NAME).unwrap(), &[0, 1, 0, 1], &additional.concat()].concat()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Checks that both transports give the same answer, and returns it: rcode, additional records, and what follows the
/// header.
fn gets(packet: &[u8]) -> (Rcode, u8, String) {
    let [udp, tcp] = [Transport::Udp, Transport::Tcp].map(|transport| answer(&zone(), packet, transport).unwrap());
    assert_eq!(udp, tcp);
    let (reply, rcode) = udp;
    assert_eq!((&reply[..2], reply[2], u16::from(reply[3])), (&packet[..2], 0x81, rcode.code()));
    assert_eq!(reply[4..11], [0; 7]);
    (rcode, reply[11], hex(&reply[HEADER..]))
}

/// Recorded from NSD 4.6.1, which had no key.
const NSD: &str = "056d796b65790000fa00ff00000000001d0b686d61632d7368613235360000006b0b3177012c0000123400110000";

#[test]
fn rfc8945_5_2_1_a_key_that_is_not_known_is_notauth_with_badkey_and_no_mac_as_by_nsd() {
    assert_eq!(gets(&signed(&[tsig()])), (Rcode::NotAuth, 1, NSD.to_owned()));
    let with_opt = format!("00002904d0000000000000{NSD}");
    assert_eq!(gets(&signed(&[opt(), tsig()])), (Rcode::NotAuth, 2, with_opt));
    let without_mac = record("mykey", rtype::TSIG, CLASS_ANY, &tsig_data(&[], &[]));
    assert_eq!(gets(&signed(&[without_mac])), (Rcode::NotAuth, 1, NSD.to_owned()));
    let with_other = record("mykey", rtype::TSIG, CLASS_ANY, &tsig_data(&[1; 65], &[0; 6]));
    let other = NSD.replace("001d0b", "00230b").replace("00110000", "00110006000000000000");
    assert_eq!(gets(&signed(&[with_other])), (Rcode::NotAuth, 1, other));
}

#[test]
fn a_key_that_is_named_by_a_pointer_is_repeated_in_full() {
    let mut key = tsig();
    key.splice(..7, [0xc0, 12]);
    let (rcode, _, reply) = gets(&signed(&[key]));
    assert_eq!(rcode, Rcode::NotAuth);
    assert!(reply.starts_with(&hex(&wire_name(NAME).unwrap())), "{reply}");
}

#[test]
fn rfc8945_5_1_a_signature_that_is_not_the_last_record_or_not_the_only_one_is_a_format_error() {
    let address = record("x.boshy", 1, 1, &[1, 2, 3, 4]);
    for additional in [vec![tsig(), opt()], vec![tsig(), tsig()], vec![tsig(), address.clone()]] {
        assert_eq!(gets(&signed(&additional)), (Rcode::FormErr, 0, String::new()));
    }
    assert_eq!(gets(&signed(&[address, tsig()])).0, Rcode::NotAuth);
    let mut as_answer = signed(&[tsig()]);
    as_answer.swap(7, 11);
    assert_eq!(gets(&as_answer).0, Rcode::FormErr);
}

#[test]
fn a_signature_that_cannot_be_read_is_a_format_error() {
    let data = tsig_data(&[0x11; 32], &[]);
    let of = |class, data: &[u8]| signed(&[record("mykey", rtype::TSIG, class, data)]);
    let mut ttl = tsig();
    ttl[13] = 5;
    let mut lies = data.clone();
    lies[21] = 0xff;
    let longer = [&data[..], &[0]].concat();
    let broken = [of(1, &data), signed(&[ttl]), of(CLASS_ANY, &lies), of(CLASS_ANY, &longer), of(CLASS_ANY, &[])];
    for packet in broken.iter().chain(&(0..data.len()).map(|end| of(CLASS_ANY, &data[..end])).collect::<Vec<_>>()) {
        assert_eq!(gets(packet), (Rcode::FormErr, 0, String::new()), "{}", hex(packet));
    }
    let whole = signed(&[tsig()]);
    for end in whole.len() - tsig().len() + 1..whole.len() {
        assert_eq!(gets(&whole[..end]).0, Rcode::FormErr, "cut at {end}");
    }
}

#[test]
fn rfc2931_3_a_signature_by_public_key_is_a_format_error_as_by_nsd() {
    let data = [&[0, 0, 8, 0][..], &[0; 14], &wire_name("k.boshy").unwrap(), &[0; 64]].concat();
    let sig0 = record("", rtype::SIG, CLASS_ANY, &data);
    for additional in [vec![sig0.clone()], vec![opt(), sig0]] {
        assert_eq!(gets(&signed(&additional)), (Rcode::FormErr, 0, String::new()));
    }
}

#[test]
fn pointers_that_lead_nowhere_end() {
    for pointer in [[0xc0, 12], [0xff, 0xff], [0xc0, 0], [0xc0, 45]] {
        let mut key = tsig();
        key.splice(..7, pointer);
        let packet = signed(&[key]);
        let rcode = gets(&packet).0;
        assert_eq!(rcode, if pointer == [0xc0, 12] { Rcode::NotAuth } else { Rcode::FormErr });
    }
}

#[test]
fn a_refusal_that_does_not_fit_a_datagram_goes_without_the_record() {
    let other = [7; 600];
    let packet = signed(&[record("mykey", rtype::TSIG, CLASS_ANY, &tsig_data(&[], &other))]);
    let (udp, rcode) = answer(&zone(), &packet, Transport::Udp).unwrap();
    assert_eq!((udp.len(), rcode), (HEADER, Rcode::NotAuth));
    let (tcp, _) = answer(&zone(), &packet, Transport::Tcp).unwrap();
    assert!(tcp.len() > 600);
}
