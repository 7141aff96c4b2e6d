//! One packet through both paths. Every query is answered with its id and a complete message, and both paths answer a
//! plain question alike.
#![no_main]

use std::sync::LazyLock;

use boshy_dns::{
    Datagram, PAYLOAD, Rcode, Zone,
    fallback::{self, Transport},
    respond,
};
use boshy_fuzz::names;
use boshy_mesh::Tld;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

static ZONES: LazyLock<[Zone; 2]> =
    LazyLock::new(|| [Zone::build(&names(), &Tld::default(), 7), Zone::not_known_yet(&Tld::default())]);

fuzz_target!(|packet: &[u8]| {
    let owed = packet.len() >= 12 && packet[2] & 0x80 == 0;
    for zone in &*ZONES {
        for cut_short in [false, true] {
            let mut out = [0; PAYLOAD];
            let response = respond(zone, Datagram { octets: packet, cut_short }, &mut out);
            assert_eq!(response.is_some(), owed);
            if let Some(response) = response {
                let reply = &out[..response.length];
                answered(packet, reply, response.rcode);
                if response.plain {
                    let (other, rcode) = fallback::answer(zone, packet, Transport::Udp).expect("an answer");
                    assert_eq!(response.rcode, rcode);
                    assert_eq!(spelt(reply), spelt(&other));
                }
            }
        }
        let whole = fallback::answer(zone, packet, Transport::Tcp);
        assert_eq!(whole.is_some(), owed);
        if let Some((reply, rcode)) = whole {
            answered(packet, &reply, rcode);
            assert_eq!(reply[2] & 0x02, 0, "truncated on a stream");
        }
    }
});

fn answered(packet: &[u8], reply: &[u8], rcode: Rcode) {
    assert_eq!(reply[..2], packet[..2], "another id");
    assert_eq!(reply[2] & 0xf9, 0x80 | packet[2] & 0x79, "not a response to this operation");
    assert_eq!(u16::from(reply[3] & 0x0f), rcode.code() & 0x0f);
    let message = Message::from_vec(reply).expect("a message");
    let counted = [
        message.queries.len(),
        message.answers.len(),
        message.authorities.len(),
        message.additionals.len() + usize::from(message.edns.is_some()) + usize::from(message.signature.is_some()),
    ];
    let said = [4, 6, 8, 10].map(|at| usize::from(u16::from_be_bytes([reply[at], reply[at + 1]])));
    assert_eq!(counted, said);
    assert!(reply.len() <= 512 || message.edns.is_some(), "{} octets for one who takes 512", reply.len());
}

/// The message with its names as spelt: comparing names ignores case.
fn spelt(reply: &[u8]) -> String {
    format!("{:#?}", Message::from_vec(reply).expect("a message"))
}
