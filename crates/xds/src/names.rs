//! The name table on the wire: Istio's NDS message, one resource per host name, and what a name needs.
//!
//! Istio sends one message for all names. Here each name is a resource of its own, so that a change costs one name. The
//! message is the same, with one entry.
//!
//! `istio.networking.nds.v1.NameTable.NameInfo` uses the field numbers 1 to 5 (`ips`, `registry`, `shortname`,
//! `namespace`, `alt_hosts`), and `NameTable` uses 1 and 2 (`table`, `name_info`). The entry here has one field of the
//! mesh's own, with the number 1000, which a reader that does not know it ignores:
//!
//! ```text
//! message Needs {
//!     repeated string listeners = 1;
//!     repeated string clusters = 2;
//! }
//! ```

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use boshy_mesh::{Hostname, LabelError};
use bytes::Bytes;
use prost::Message;

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

/// The resources that carry connections to a name, by name. The name is answered once Envoy has accepted them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Listeners, one for each port.
    pub listeners: Vec<Arc<str>>,
    /// Clusters to which these listeners lead. Each says itself where its endpoints are.
    pub clusters: Vec<Arc<str>>,
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
}

impl Name {
    /// Encodes the name as the body of its resource.
    pub fn encode(&self) -> Bytes {
        let info = wire::NameInfo {
            ips: vec![self.vip.to_string()],
            registry: "Bosh".to_owned(),
            needs: self.needs.as_deref().map(wire::Needs::from),
            ..wire::NameInfo::default()
        };
        wire::NameTable { table: HashMap::from([(self.host.to_string(), info)]) }.encode_to_vec().into()
    }

    /// Decodes the body of a resource.
    ///
    /// # Errors
    /// When it is not exactly one canonical name with one IPv4 address.
    pub fn decode(body: &[u8]) -> Result<Self, NameError> {
        let table = wire::NameTable::decode(body).map_err(NameError::Message)?.table;
        let count = table.len();
        let Some((host, info)) = table.into_iter().next().filter(|_| count == 1) else {
            return Err(NameError::Entries(count));
        };
        let host = Hostname::parse(&host).map_err(|source| NameError::Host { host, source })?;
        match info.ips.as_slice() {
            [ip] if let Ok(vip) = ip.parse() => {
                Ok(Self { host, vip, needs: info.needs.map(|needs| Arc::new(needs.into())) })
            }
            _ => Err(NameError::Addresses { host, ips: info.ips }),
        }
    }
}

/// The messages.
mod wire {
    use std::collections::HashMap;

    use prost::Message;

    /// `istio.networking.nds.v1.NameTable`.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NameTable {
        #[prost(map = "string, message", tag = "1")]
        pub(super) table: HashMap<String, NameInfo>,
    }

    /// `istio.networking.nds.v1.NameTable.NameInfo`, and the needs.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NameInfo {
        #[prost(string, repeated, tag = "1")]
        pub(super) ips: Vec<String>,
        #[prost(string, tag = "2")]
        pub(super) registry: String,
        #[prost(string, tag = "3")]
        pub(super) shortname: String,
        #[prost(string, tag = "4")]
        pub(super) namespace: String,
        #[prost(message, optional, tag = "1000")]
        pub(super) needs: Option<Needs>,
    }

    /// See [`super`].
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Needs {
        #[prost(string, repeated, tag = "1")]
        listeners: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        clusters: Vec<String>,
    }

    impl From<&super::Needs> for Needs {
        fn from(super::Needs { listeners, clusters }: &super::Needs) -> Self {
            let [listeners, clusters] =
                [listeners, clusters].map(|names| names.iter().map(ToString::to_string).collect());
            Self { listeners, clusters }
        }
    }

    impl From<Needs> for super::Needs {
        fn from(Needs { listeners, clusters }: Needs) -> Self {
            let [listeners, clusters] = [listeners, clusters].map(|names| names.into_iter().map(Into::into).collect());
            Self { listeners, clusters }
        }
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

    fn needing(needs: Option<Needs>) -> Name {
        let host = Hostname::parse("a.b.c.boshy").unwrap();
        Name { host, vip: Ipv4Addr::new(169, 254, 255, 2), needs: needs.map(Arc::new) }
    }

    fn needs() -> Needs {
        let clusters = vec!["out.a|http".into(), "out.a|admin".into()];
        Needs { listeners: vec!["tcp_169.254.255.2_80".into(), "tcp_169.254.255.2_81".into()], clusters }
    }

    #[test]
    fn a_name_comes_back_as_it_was_sent_with_its_needs() {
        for name in [needing(None), needing(Some(Needs::default())), needing(Some(needs()))] {
            assert_eq!(Name::decode(&name.encode()).unwrap(), name);
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
