//! sock_diag messages about TCP sockets, in both directions: the kernel's `inet_diag.h`, and `struct tcp_info` of
//! `tcp.h`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use boshy_netlink::{ACK, Attributes, DUMP, Message, Writer};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
/// Address families of TCP sockets.
pub(crate) const FAMILIES: [u8; 2] = [IPV4, IPV6];
/// ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK and CLOSING: states with possibly unacknowledged data or FIN.
const UNACKNOWLEDGED: u32 = 1 << 1 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11;
/// Length of `struct inet_diag_sockid`. Its last 8 octets are a cookie that is unique to the socket.
const IDENTITY: usize = 48;
/// Offset of that structure in a message. [`HEADER`] is the length of `struct inet_diag_msg`.
const IDENTITY_AT: usize = 4;
const HEADER: usize = 72;
const INFO: u16 = 2;
const OPTIONS: u16 = 22;
/// Bits of `struct inet_diag_sockopt`.
const FREEBIND: u8 = 1 << 2;
const MULTICAST_LOOP: u8 = 1 << 4;
const MULTICAST_ALL: u8 = 1 << 6;

/// The kernel's identity of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    family: u8,
    octets: [u8; IDENTITY],
}

impl Identity {
    /// An identity that no socket has.
    pub(crate) const NOBODY: Self = Self { family: IPV4, octets: [0; IDENTITY] };

    /// The remote address.
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

/// The timer that is pending on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Retransmission of unacknowledged data.
    Retransmission,
    /// Probe of a peer's zero window.
    WindowProbe,
    /// Another timer, or none.
    Other,
}

/// A connection as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) identity: Identity,
    pub(crate) timer: Timer,
    /// Consecutive unanswered retransmissions or window probes.
    pub(crate) unanswered: u8,
    /// Time until the timer expires.
    pub(crate) expires: Duration,
    /// Whether the socket has the mark of Envoy's connections to instances; `None` where the kernel does not show
    /// socket options (before Linux 5.10).
    pub(crate) marked: Option<bool>,
    /// Measurements, where they were requested.
    pub(crate) info: Option<Info>,
}

/// The kernel's measurements of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// Time from the last transmission to the expiry of the timer.
    pub(crate) retransmission_timeout: Duration,
    /// Time since data or an acknowledgement was received, including acknowledgements of old data.
    pub(crate) silence: Duration,
    /// The peer's last advertised window, in octets.
    pub(crate) window: u32,
}

/// Request for all connections of an address family, without measurements.
pub(crate) fn connections_question(family: u8, sequence: u32) -> Writer {
    let identity = Identity { family, ..Identity::NOBODY };
    Writer::single(BY_FAMILY, DUMP, sequence, |writer| request(writer, &identity, 0))
}

/// Request for one connection with its measurements.
pub(crate) fn connection_question(identity: &Identity, sequence: u32) -> Writer {
    Writer::single(BY_FAMILY, ACK, sequence, |writer| request(writer, identity, 1 << (INFO - 1)))
}

/// Request to end a connection: its program gets ECONNABORTED, its peer a reset.
pub(crate) fn end(identity: &Identity, sequence: u32) -> Writer {
    Writer::single(DESTROY, ACK, sequence, |writer| request(writer, identity, 0))
}

/// `struct inet_diag_req_v2`.
fn request(writer: &mut Writer, identity: &Identity, extensions: u8) {
    writer.raw(&[identity.family, TCP, extensions, 0]);
    writer.raw(&UNACKNOWLEDGED.to_ne_bytes());
    writer.raw(&identity.octets);
}

/// Parses a connection; `None` for any other message.
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
