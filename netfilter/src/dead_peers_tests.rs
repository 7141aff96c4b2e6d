use boshy_netlink::{Message, Writer};
use proptest::prelude::*;

use super::*;
use crate::netlink::diag::Info;

const TIMEOUT: Duration = Duration::from_secs(50);

/// A marked connection whose peer vanished when octets had been sent for the first time, `sent` after it was heard
/// last.
fn retransmitting(initial: Duration, retransmissions: u8, since_the_last: Duration, sent: Duration) -> Connection {
    let retransmission_timeout = initial * (1 << retransmissions);
    let silence = sent + initial * ((1 << retransmissions) - 1) + since_the_last;
    Connection {
        identity: Identity::NOBODY,
        timer: Timer::Retransmission,
        unanswered: retransmissions,
        expires: retransmission_timeout.saturating_sub(since_the_last),
        marked: Some(true),
        info: Some(Info { retransmission_timeout, silence, window: 65_535 }),
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_peer_that_answers_no_retransmission_is_dead_once_it_was_silent_for_long() {
    // Eight retransmissions after 0.2 s have taken 51 s.
    assert!(is_dead(&retransmitting(ms(200), 8, ms(0), ms(0)), TIMEOUT));
    assert!(!is_dead(&retransmitting(ms(200), 7, ms(20_000), ms(0)), TIMEOUT));
    assert!(is_dead(&retransmitting(ms(200), 7, ms(20_000), ms(5_000)), TIMEOUT));
    // Silent for long, and asked twice: the first two may be lost.
    assert!(!is_dead(&retransmitting(ms(200), 2, ms(0), ms(60_000)), TIMEOUT));
    assert!(is_dead(&retransmitting(ms(200), 3, ms(0), ms(60_000)), TIMEOUT));
}

#[test]
fn one_that_answers_and_advances_nothing_is_alive() {
    // Retransmissions are two minutes apart by now, and the last was answered.
    let mut connection = retransmitting(ms(200), 10, ms(0), ms(0));
    let timeout = Duration::from_secs(120);
    connection.expires = Duration::from_secs(60);
    connection.info = Some(Info { retransmission_timeout: timeout, silence: Duration::from_secs(60), window: 4096 });
    assert!(!is_dead(&connection, TIMEOUT));
    // Its window is zero: these are probes, and the kernel does not count them.
    connection.info = Some(Info { retransmission_timeout: timeout, silence: Duration::from_secs(200), window: 0 });
    assert!(!is_dead(&connection, TIMEOUT));
}

#[test]
fn a_peer_that_takes_nothing_is_dead_when_it_does_not_answer_probes_either() {
    let probing = |unanswered, silence| Connection {
        timer: Timer::WindowProbe,
        unanswered,
        expires: Duration::from_secs(1),
        info: Some(Info { retransmission_timeout: ms(200), silence: Duration::from_secs(silence), window: 0 }),
        ..retransmitting(ms(200), 0, ms(0), ms(0))
    };
    // Probes are up to two minutes apart. One that was answered sets the count to zero.
    assert!(!is_dead(&probing(0, 119), TIMEOUT) && !is_dead(&probing(1, 121), TIMEOUT));
    assert!(!is_dead(&probing(3, 49), TIMEOUT) && is_dead(&probing(3, 50), TIMEOUT));
}

#[test]
fn what_does_not_bear_the_mark_or_waits_for_nothing_is_left_alone() {
    let dead = retransmitting(ms(200), 8, ms(0), ms(0));
    for marked in [Some(false), None] {
        assert!(!is_dead(&Connection { marked, ..dead }, TIMEOUT));
    }
    let unmeasured = Connection { info: None, ..dead };
    assert!(!is_dead(&unmeasured, TIMEOUT));
    assert!(!is_dead(&Connection { timer: Timer::Other, ..dead }, TIMEOUT));
}

/// `struct inet_diag_msg` of Linux 6.18 with the options of a marked socket, its measures cut off behind the window.
#[test]
fn a_connection_is_read_as_the_kernel_writes_it() {
    let writer = Writer::single(20, 0, 1, |writer| {
        writer.raw(&[2, 1, 1, 8]);
        writer.raw(&[0x9c, 0x40, 0x24, 0xb8, 10, 244, 0, 130, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        writer.raw(&[10, 244, 0, 131, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        writer.raw(&[0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        writer.raw(&1500_u32.to_ne_bytes());
        writer.raw(&[0; 16]);
        writer.attribute(22, &[0b0000_0110, 0]);
        let mut info = [0; 232];
        for (at, value) in [(8, 51_200_000_u32), (52, 70_000), (56, 60_000), (228, 501)] {
            info[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        writer.attribute(2, &info);
    });
    let read: Vec<_> = messages(writer.bytes()).filter_map(|message: Message<'_>| connection(&message)).collect();
    let [connection] = &*read else { panic!("{read:?}") };
    assert_eq!(connection.identity.peer(), "10.244.0.131:9400".parse().unwrap());
    assert_eq!((connection.timer, connection.unanswered, connection.marked), (Timer::Retransmission, 8, Some(true)));
    assert_eq!(connection.expires, ms(1500));
    let info = Info { retransmission_timeout: ms(51_200), silence: ms(60_000), window: 501 };
    assert_eq!(connection.info, Some(info));
    assert_eq!(dead_in(writer.bytes(), TIMEOUT), 0, "the last was sent 49.7 s ago, and the two before are not covered");
    assert_eq!(dead_in(&writer.bytes()[..writer.bytes().len() - 4], TIMEOUT), 0);
}

proptest! {
    #[test]
    fn any_octets_can_be_read(datagram in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(dead_in(&datagram, Duration::ZERO) <= datagram.len());
    }
}
