//! The name table on the wire: Istio's NDS message, one resource per host name, and what a name needs.
//!
//! Istio sends one message for all names. Here each name is a resource of its own, so that a change costs one name. The
//! message is the same, with one entry.
//!
//! `istio.networking.nds.v1.NameTable.NameInfo` uses the field numbers 1 to 5 (`ips`, `registry`, `shortname`,
//! `namespace`, `alt_hosts`), and `NameTable` uses 1 and 2 (`table`, `name_info`). The entry here has two fields of the
//! mesh's own, which a reader that does not know them ignores:
//!
//! ```text
//! Needs needs = 1000;
//! repeated NeededPort ports = 1001;
//!
//! message Needs {
//!     repeated string listeners = 1;
//!     repeated string clusters = 2;
//! }
//!
//! // The listener `tcp_VIP_NUMBER`, and the cluster `out.HOST|NAME` or, when it is tunnelled, `mtls.HOST|NAME`.
//! message NeededPort {
//!     uint32 number = 1;
//!     string name = 2;
//!     bool tunnelled = 3;
//! }
//! ```
//!
//! The name needs what both say. `ports` is short, because every proxy is sent every name. `needs` says anything else,
//! also that there is nothing.

mod needed_port;
mod needs;
mod wire;

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use boshy_mesh::{Hostname, LabelError};
use bytes::Bytes;
use prost::Message;

pub use self::needs::Needs;

/// A name, as its resource describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The host name.
    pub host: Hostname,
    /// Its virtual IP.
    pub vip: Ipv4Addr,
    /// What it needs; `None` from a pilot that does not say it.
    pub needs: Option<Arc<Needs>>,
}

/// Why a name resource is rejected.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The body is not a name table.
    #[error("read a name table")]
    Message(#[source] prost::DecodeError),
    /// The table does not have exactly one entry.
    #[error("a name table with {0} names, want one")]
    Entries(usize),
    /// The host is not a canonical name.
    #[error("read the host name {host:?}")]
    Host {
        /// As received.
        host: String,
        /// The rule it breaks.
        #[source]
        source: LabelError,
    },
    /// The entry does not have exactly one IPv4 address.
    #[error("the addresses {ips:?} of {host}, want one IPv4 address")]
    Addresses {
        /// Host name of the entry.
        host: Hostname,
        /// As received.
        ips: Vec<String>,
    },
    /// A port that the name needs has no valid number or name.
    #[error("the port {number} with the name {name:?} of {host}")]
    Port {
        /// Host name of the entry.
        host: Hostname,
        /// As received.
        number: u32,
        /// As received.
        name: String,
    },
}

impl Name {
    /// Encodes the name as the body of its resource.
    pub fn encode(&self) -> Bytes {
        let ports = self.needs.as_deref().and_then(|needs| needed_port::all_of(&self.host, self.vip, needs));
        let needs = self.needs.as_deref().filter(|_| ports.is_none());
        let info = wire::NameInfo {
            ips: vec![self.vip.to_string()],
            registry: "Bosh".to_owned(),
            needs: needs.map(wire::Needs::from),
            ports: ports.unwrap_or_default(),
            ..wire::NameInfo::default()
        };
        wire::NameTable { table: HashMap::from([(self.host.to_string(), info)]) }.encode_to_vec().into()
    }

    /// Decodes the body of a resource.
    ///
    /// # Errors
    /// When it is not exactly one canonical name with one IPv4 address, or a port that it needs is none.
    pub fn decode(body: &[u8]) -> Result<Self, NameError> {
        let table = wire::NameTable::decode(body).map_err(NameError::Message)?.table;
        let count = table.len();
        let Some((host, info)) = table.into_iter().next().filter(|_| count == 1) else {
            return Err(NameError::Entries(count));
        };
        let host = Hostname::parse(&host).map_err(|source| NameError::Host { host, source })?;
        let vip = match info.ips.as_slice() {
            [ip] if let Ok(vip) = ip.parse() => vip,
            _ => return Err(NameError::Addresses { host, ips: info.ips }),
        };
        let mut needs = info.needs.map(Needs::from);
        for port in info.ports {
            let needs = needs.get_or_insert_default();
            needed_port::add(&port, &host, vip, needs).ok_or_else(|| NameError::Port {
                host: host.clone(),
                number: port.number,
                name: port.name.clone(),
            })?;
        }
        Ok(Self { host, vip, needs: needs.map(Arc::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `istio.networking.nds.v1.NameTable`, as a reader knows it that does not know the needs.
    #[derive(Clone, PartialEq, Message)]
    struct IstioTable {
        #[prost(map = "string, message", tag = "1")]
        table: HashMap<String, IstioInfo>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct IstioInfo {
        #[prost(string, repeated, tag = "1")]
        ips: Vec<String>,
        #[prost(string, tag = "2")]
        registry: String,
    }

    fn table(host: &str, ips: &[&str]) -> Vec<u8> {
        let ips = ips.iter().map(ToString::to_string).collect();
        let info = IstioInfo { ips, registry: "Bosh".to_owned() };
        IstioTable { table: HashMap::from([(host.to_owned(), info)]) }.encode_to_vec()
    }

    fn info(ports: Vec<wire::NeededPort>) -> wire::NameInfo {
        wire::NameInfo { ips: vec!["169.254.255.2".to_owned()], ports, ..wire::NameInfo::default() }
    }

    fn encoded(info: wire::NameInfo) -> Vec<u8> {
        wire::NameTable { table: HashMap::from([("a.b.c.boshy".to_owned(), info)]) }.encode_to_vec()
    }

    fn needing(needs: Option<Needs>) -> Name {
        let host = Hostname::parse("a.b.c.boshy").unwrap();
        Name { host, vip: Ipv4Addr::new(169, 254, 255, 2), needs: needs.map(Arc::new) }
    }

    /// The needs of a service with two ports, one of which is tunnelled.
    fn needs() -> Needs {
        let clusters = vec!["out.a.b.c.boshy|http".into(), "mtls.a.b.c.boshy|admin".into()];
        Needs { listeners: vec!["tcp_169.254.255.2_80".into(), "tcp_169.254.255.2_81".into()], clusters }
    }

    /// Needs of which something is not named after a port.
    fn unusual() -> [Needs; 5] {
        let all = needs();
        let (mut named, mut addressed, mut padded, mut fewer, mut subset) =
            (all.clone(), all.clone(), all.clone(), all.clone(), all);
        named.clusters[1] = "out.other.boshy|http".into();
        addressed.listeners[0] = "tcp_169.254.255.3_80".into();
        padded.listeners[0] = "tcp_169.254.255.2_080".into();
        fewer.clusters.pop();
        subset.clusters.push("out.a.b.c.boshy|http|canary".into());
        [named, addressed, padded, fewer, subset]
    }

    #[test]
    fn a_name_comes_back_as_it_was_sent_with_its_needs() {
        for needs in [None, Some(Needs::default()), Some(needs())].into_iter().chain(unusual().map(Some)) {
            let name = needing(needs);
            assert_eq!(Name::decode(&name.encode()).unwrap(), name);
        }
    }

    #[test]
    fn the_needs_of_ports_are_short() {
        let names = needing(Some(needs())).encode().len() - needing(None).encode().len();
        assert!(names < 30, "{names} octets for two ports");
    }

    #[test]
    fn a_pilot_that_names_each_need_is_understood() {
        let named = wire::NameInfo { needs: Some((&needs()).into()), ..info(vec![]) };
        assert_eq!(Name::decode(&encoded(named)).unwrap(), needing(Some(needs())));
    }

    #[test]
    fn needs_of_both_kinds_add_up_and_a_port_that_is_none_is_refused() {
        let port = |number, name: &str| wire::NeededPort { number, name: name.to_owned(), tunnelled: false };
        let needs = Needs { listeners: vec!["other".into()], clusters: vec![] };
        let both = wire::NameInfo { needs: Some((&needs).into()), ..info(vec![port(80, "http")]) };
        let Name { needs, .. } = Name::decode(&encoded(both)).unwrap();
        let needs = needs.unwrap();
        assert_eq!(needs.listeners, ["other".into(), "tcp_169.254.255.2_80".into()]);
        assert_eq!(needs.clusters, ["out.a.b.c.boshy|http".into()]);
        for port in [port(65_536, "http"), port(80, ""), port(80, "a|b")] {
            let error = Name::decode(&encoded(info(vec![port]))).unwrap_err();
            assert!(matches!(error, NameError::Port { .. }), "{error}");
        }
    }

    #[test]
    fn a_name_of_a_pilot_that_does_not_say_needs_is_read_and_one_that_does_is_read_by_all() {
        let (host, ips) = ("a.b.c.boshy", ["169.254.255.2"]);
        assert_eq!(Name::decode(&table(host, &ips)).unwrap(), needing(None));
        assert_eq!(needing(None).encode(), table(host, &ips));
        let read = IstioTable::decode(needing(Some(needs())).encode()).unwrap();
        assert_eq!(read.encode_to_vec(), table(host, &ips));
    }

    #[test]
    fn anything_but_one_name_with_one_ipv4_address_is_refused() {
        assert!(matches!(Name::decode(b"\xff"), Err(NameError::Message(_))));
        assert!(matches!(Name::decode(b""), Err(NameError::Entries(0))));
        assert!(matches!(Name::decode(&table("A.b", &["1.2.3.4"])), Err(NameError::Host { .. })));
        assert!(matches!(Name::decode(&table("a.b", &[])), Err(NameError::Addresses { .. })));
        assert!(matches!(Name::decode(&table("a.b", &["::1"])), Err(NameError::Addresses { .. })));
        assert!(matches!(Name::decode(&table("a.b", &["1.2.3.4", "1.2.3.5"])), Err(NameError::Addresses { .. })));
    }
}
