use proptest::{collection::vec, prelude::*};

use super::*;

fn question(labels: &[Vec<u8>], kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// Labels of a name with this number of octets (RFC 1035, 3.1).
fn of_length(octets: usize, filling: u8) -> Vec<Vec<u8>> {
    let labels = (octets - 1).div_ceil(64);
    let label = |at: usize| vec![filling; if at + 1 < labels { 63 } else { octets - 2 - at * 64 }];
    (0..labels).map(label).collect()
}

#[test]
fn rfc1035_2_3_4_a_name_has_up_to_255_octets() {
    for filling in [b'a', 0xe9] {
        assert!(matches!(Query::parse(&question(&of_length(255, filling), A)), Some(Ok(_))), "{filling}");
        assert!(matches!(Query::parse(&question(&of_length(256, filling), A)), Some(Err(_))), "{filling}");
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_gets_a_reply_with_its_id_and_no_more_than_its_octets(
        mut message in vec(any::<u8>(), 0..80), one_question in any::<bool>(), code in 0_u8..16,
    ) {
        if one_question && message.len() >= HEADER {
            message[4..6].copy_from_slice(&[0, 1]);
        }
        let owed = message.len() >= HEADER && message[2] & 0x80 == 0;
        let parsed = Query::parse(&message);
        prop_assert_eq!(parsed.is_some(), owed);
        if let Some(Ok(query) | Err(query)) = parsed {
            let reply = query.reply(code);
            prop_assert_eq!(&reply[..2], &message[..2]);
            prop_assert_eq!((reply[2] & 0xf9, reply[3]), (0x80 | message[2] & 0x79, 0x80 | code));
            prop_assert_eq!(&reply[HEADER..], &message[HEADER..reply.len()]);
            prop_assert_eq!(usize::from(reply[5]), usize::from(reply.len() > HEADER));
        }
    }

    #[test]
    fn a_question_is_read_as_written_and_answered_with_what_fits(
        labels in vec(vec(any::<u8>(), 1..20), 0..8), kind in prop_oneof![Just(A), Just(ANY), any::<u16>()],
        addresses in vec((any::<Ipv4Addr>(), any::<u32>()), 0..40), room in 0_usize..700,
    ) {
        let message = question(&labels, kind);
        let Some(Ok(query)) = Query::parse(&message) else { return Err(TestCaseError::fail("not read")) };
        let written: String = labels.concat().iter().map(|&byte| char::from(byte.to_ascii_lowercase())).collect();
        prop_assert!(query.name().ends_with('.'));
        prop_assert_eq!(query.name().replace('.', ""), written.replace('.', ""));
        prop_assert_eq!(query.kind(), kind);
        let reply = query.addresses(&addresses, room);
        let count = usize::from(u16::from_be_bytes([reply[6], reply[7]]));
        prop_assert_eq!(reply.len(), message.len() + count * RECORD);
        prop_assert!(count == 0 || reply.len() <= room);
        let wanted = matches!(kind, A | ANY);
        prop_assert_eq!(reply[2] & 0x02 != 0, wanted && count < addresses.len());
    }

    #[test]
    fn any_answer_is_a_success_or_a_failure(answer in vec(any::<u8>(), 0..40)) {
        let succeeds = answer.get(3).is_some_and(|code| code & 0x0f == 0) && answer.len() >= HEADER;
        prop_assert_eq!(fails(&answer), !succeeds);
    }
}
