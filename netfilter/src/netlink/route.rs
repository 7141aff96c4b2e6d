//! Writes and parses rtnetlink messages of IPv4 routes: RFC 3549 section 3.1.1 and the kernel's `rtnetlink.h`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use boshy_netlink::{ACK, CREATE, DUMP, Message, REPLACE, Writer};

pub(super) const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
pub(super) const GET_ROUTE: u16 = 26;
pub(super) const IPV4: u8 = 2;
const MAIN_TABLE: u32 = 254;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
/// Length of `struct rtmsg`.
pub(super) const ROUTE_HEADER: usize = 12;
const DESTINATION: u16 = 1;
pub(super) const OUTPUT_DEVICE: u16 = 4;
const METRIC: u16 = 6;
const PREFERRED_SOURCE: u16 = 7;
pub(super) const TABLE: u16 = 15;

/// The protocol number of boshy's routes, 0xB0. Numbers from 192 on are assigned; lower ones are free for use
/// (`/etc/iproute2/rt_protos`).
pub(super) const OURS: u8 = 0xB0;

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) network: Ipv4Net,
    pub(crate) source: Option<Ipv4Addr>,
    device: Option<u32>,
    protocol: u8,
    scope: u8,
    kind: u8,
    service: u8,
    metric: u32,
}

impl Entry {
    /// A route of boshy.
    pub(crate) fn ours(network: Ipv4Net, device: u32, source: Option<Ipv4Addr>) -> Self {
        let (protocol, scope, kind) = (OURS, SCOPE_LINK, UNICAST);
        Self { network, source, device: Some(device), protocol, scope, kind, service: 0, metric: 0 }
    }

    /// Whether it has boshy's protocol number.
    pub(crate) fn is_ours(&self) -> bool {
        self.protocol == OURS
    }

    /// Whether the kernel would replace one by the other.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        (self.network, self.service, self.metric) == (other.network, other.service, other.metric)
    }

    fn write(&self, writer: &mut Writer) {
        let table = u8::try_from(MAIN_TABLE).unwrap_or_default();
        writer.raw(&[IPV4, self.network.prefix_len(), 0, self.service, table, self.protocol, self.scope, self.kind]);
        writer.raw(&[0; 4]);
        writer.attribute(DESTINATION, &self.network.network().octets());
        if let Some(device) = self.device {
            writer.u32_ne(OUTPUT_DEVICE, device);
        }
        if self.metric != 0 {
            writer.u32_ne(METRIC, self.metric);
        }
        if let Some(source) = self.source {
            writer.attribute(PREFERRED_SOURCE, &source.octets());
        }
    }
}

/// Adds a route, or replaces the one at the same place.
pub(crate) fn insert(entry: &Entry, sequence: u32) -> Writer {
    Writer::single(NEW_ROUTE, ACK | CREATE | REPLACE, sequence, |writer| entry.write(writer))
}

/// Deletes exactly this route: the kernel compares the protocol number too.
pub(crate) fn delete(entry: &Entry, sequence: u32) -> Writer {
    Writer::single(DELETE_ROUTE, ACK, sequence, |writer| entry.write(writer))
}

/// Asks for all IPv4 routes.
pub(crate) fn entries_question(sequence: u32) -> Writer {
    Writer::single(GET_ROUTE, DUMP, sequence, |writer| {
        writer.raw(&[IPV4]);
        writer.raw(&[0; ROUTE_HEADER - 1]);
    })
}

/// Parses a route; `None` for anything but an IPv4 route of the main table.
pub(crate) fn entry(message: &Message<'_>) -> Option<Entry> {
    let [IPV4, bits, _, service, table, protocol, scope, kind, ..] = *message.body else { return None };
    let attributes = message.attributes(ROUTE_HEADER);
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(attributes.get(kind)?).ok()?));
    if message.kind != NEW_ROUTE || attributes.u32_ne(TABLE).unwrap_or(table.into()) != MAIN_TABLE {
        return None;
    }
    let network = Ipv4Net::new(address(DESTINATION).unwrap_or(Ipv4Addr::UNSPECIFIED), bits).ok()?;
    let (source, device) = (address(PREFERRED_SOURCE), attributes.u32_ne(OUTPUT_DEVICE));
    Some(Entry {
        network,
        source,
        device,
        protocol,
        scope,
        kind,
        service,
        metric: attributes.u32_ne(METRIC).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use boshy_netlink::messages;

    fn ours() -> Entry {
        Entry::ours("169.254.255.0/24".parse().unwrap(), 1, Some(Ipv4Addr::new(10, 0, 0, 5)))
    }

    #[test]
    fn a_route_is_read_as_it_was_written() {
        let written = insert(&ours(), 1);
        let read: Vec<_> = messages(written.bytes()).filter_map(|message| entry(&message)).collect();
        assert_eq!(read, [ours()]);
        assert!(read[0].is_ours());
    }

    #[test]
    fn a_route_of_others_in_the_same_place_is_not_ours() {
        let other = Entry { protocol: 3, device: Some(2), source: None, ..ours() };
        assert!(other.is_at(&ours()) && !other.is_ours());
        let less_preferred = Entry { metric: 100, ..other };
        assert!(!less_preferred.is_at(&ours()));
    }

    #[test]
    fn what_is_no_route_is_passed_over() {
        let deleted = delete(&ours(), 1);
        assert_eq!(messages(deleted.bytes()).filter_map(|message| entry(&message)).count(), 0);
    }
}
