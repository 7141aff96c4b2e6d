//! TCP sockets as sock_diag messages, both ways: the kernel's `inet_diag.h`, and `struct tcp_info` of its `tcp.h`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::wire::{ACK, Attributes, DUMP, Message, Writer};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
/// The families of addresses that a socket may have.
pub(crate) const FAMILIES: [u8; 2] = [IPV4, IPV6];
/// ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK and CLOSING: octets or the end may be without an acknowledgement.
const UNACKNOWLEDGED: u32 = 1 << 1 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11;
/// Length of `struct inet_diag_sockid`, of which the last 8 octets are a number that no other socket ever has.
const IDENTITY: usize = 48;
/// Where that structure begins in a message, and the length of `struct inet_diag_msg`.
const IDENTITY_AT: usize = 4;
const HEADER: usize = 72;
const INFO: u16 = 2;
const OPTIONS: u16 = 22;
/// Bits of `struct inet_diag_sockopt`.
const FREEBIND: u8 = 1 << 2;
const MULTICAST_LOOP: u8 = 1 << 4;
const MULTICAST_ALL: u8 = 1 << 6;

/// Which socket, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    family: u8,
    octets: [u8; IDENTITY],
}

impl Identity {
    /// No socket's.
    pub(crate) const NOBODY: Self = Self { family: IPV4, octets: [0; IDENTITY] };

    /// The other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        let octets = |from: usize, index: usize| self.octets[from + index];
        let port = u16::from_be_bytes([octets(2, 0), octets(2, 1)]);
        let ip = match self.family {
            IPV6 => IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|index| octets(20, index)))),
            _ => IpAddr::V4(Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|index| octets(20, index)))),
        };
        SocketAddr::new(ip, port)
    }
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// To send again what is not acknowledged.
    Retransmission,
    /// To ask a peer again that takes nothing.
    WindowProbe,
    /// Something else, or nothing.
    Other,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) identity: Identity,
    pub(crate) timer: Timer,
    /// Retransmissions, or window probes, in a row without an answer.
    pub(crate) unanswered: u8,
    /// Until the timer.
    pub(crate) expires: Duration,
    /// Whether it bears the mark of Envoy's connections to instances; `None` where the kernel does not show options (before Linux 5.10).
    pub(crate) marked: Option<bool>,
    /// Where it was asked for.
    pub(crate) info: Option<Info>,
}

/// What the kernel measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// From the last transmission to the timer.
    pub(crate) retransmission_timeout: Duration,
    /// Since anything was received: data, or an acknowledgement, also one that acknowledges nothing new.
    pub(crate) silence: Duration,
    /// Octets that the peer would take, when it was heard last.
    pub(crate) window: u32,
}

/// Asks for all connections of a family, without what is measured.
pub(crate) fn connections_question(family: u8, sequence: u32) -> Writer {
    let mut writer = Writer::default();
    let identity = Identity { family, ..Identity::NOBODY };
    writer.message(BY_FAMILY, DUMP, sequence, |writer| request(writer, &identity, 0));
    writer
}

/// Asks for one connection, with what is measured.
pub(crate) fn connection_question(identity: &Identity, sequence: u32) -> Writer {
    let mut writer = Writer::default();
    writer.message(BY_FAMILY, ACK, sequence, |writer| request(writer, identity, 1 << (INFO - 1)));
    writer
}

/// Ends a connection: its program is told ECONNABORTED, its peer gets a reset.
pub(crate) fn end(identity: &Identity, sequence: u32) -> Writer {
    let mut writer = Writer::default();
    writer.message(DESTROY, ACK, sequence, |writer| request(writer, identity, 0));
    writer
}

/// `struct inet_diag_req_v2`.
fn request(writer: &mut Writer, identity: &Identity, extensions: u8) {
    writer.raw(&[identity.family, TCP, extensions, 0]);
    writer.raw(&UNACKNOWLEDGED.to_ne_bytes());
    writer.raw(&identity.octets);
}

/// Reads a connection; `None` for anything else.
pub(crate) fn connection(message: &Message<'_>) -> Option<Connection> {
    let &[family, _, timer, unanswered, ..] = message.body else { return None };
    if message.kind != BY_FAMILY || !FAMILIES.contains(&family) || message.body.len() < HEADER {
        return None;
    }
    let octets = message.body[IDENTITY_AT..][..IDENTITY].try_into().ok()?;
    let attributes = message.attributes(HEADER);
    Some(Connection {
        identity: Identity { family, octets },
        timer: match timer {
            1 => Timer::Retransmission,
            4 => Timer::WindowProbe,
            _ => Timer::Other,
        },
        unanswered,
        expires: milliseconds(number(message.body, IDENTITY_AT + IDENTITY)?),
        marked: attributes
            .get(OPTIONS)
            .and_then(<[u8]>::first)
            .map(|options| options & (FREEBIND | MULTICAST_LOOP | MULTICAST_ALL) == FREEBIND),
        info: info(attributes),
    })
}

fn info(attributes: Attributes<'_>) -> Option<Info> {
    let info = attributes.get(INFO)?;
    let (data, acknowledgement) = (number(info, 52)?, number(info, 56)?);
    Some(Info {
        retransmission_timeout: Duration::from_micros(number(info, 8)?.into()),
        silence: milliseconds(data.min(acknowledgement)),
        window: number(info, 228)?,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count.into())
}
