//! The name table on the wire: Istio's NDS message, one resource per host name.
//!
//! Istio sends one message for all names. Here each name is a resource of its own, so that a change costs one name. The
//! message is the same, with one entry.

use std::{collections::HashMap, net::Ipv4Addr};

use boshy_mesh::{Hostname, LabelError};
use bytes::Bytes;
use prost::Message;

/// `istio.networking.nds.v1.NameTable`.
#[derive(Clone, PartialEq, Message)]
struct NameTable {
    #[prost(map = "string, message", tag = "1")]
    table: HashMap<String, NameInfo>,
}

/// `istio.networking.nds.v1.NameTable.NameInfo`.
#[derive(Clone, PartialEq, Message)]
struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    ips: Vec<String>,
    #[prost(string, tag = "2")]
    registry: String,
    #[prost(string, tag = "3")]
    shortname: String,
    #[prost(string, tag = "4")]
    namespace: String,
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

/// Encodes a name with its virtual IP.
pub fn encode(host: &Hostname, vip: Ipv4Addr) -> Bytes {
    let info = NameInfo { ips: vec![vip.to_string()], registry: "Bosh".to_owned(), ..NameInfo::default() };
    NameTable { table: HashMap::from([(host.to_string(), info)]) }.encode_to_vec().into()
}

/// Decodes the name and the virtual IP of a resource.
///
/// # Errors
/// When it is not exactly one canonical name with one IPv4 address.
pub fn decode(body: &[u8]) -> Result<(Hostname, Ipv4Addr), NameError> {
    let table = NameTable::decode(body).map_err(NameError::Message)?.table;
    let count = table.len();
    let Some((host, info)) = table.into_iter().next().filter(|_| count == 1) else {
        return Err(NameError::Entries(count));
    };
    let host = Hostname::parse(&host).map_err(|source| NameError::Host { host, source })?;
    match info.ips.as_slice() {
        [ip] if let Ok(vip) = ip.parse() => Ok((host, vip)),
        _ => Err(NameError::Addresses { host, ips: info.ips }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(host: &str, ips: &[&str]) -> Vec<u8> {
        let info = NameInfo { ips: ips.iter().map(ToString::to_string).collect(), ..NameInfo::default() };
        NameTable { table: HashMap::from([(host.to_owned(), info)]) }.encode_to_vec()
    }

    #[test]
    fn a_name_comes_back_as_it_was_sent() {
        let (host, vip) = (Hostname::parse("a.b.c.boshy").unwrap(), Ipv4Addr::new(169, 254, 255, 2));
        assert_eq!(decode(&encode(&host, vip)).unwrap(), (host, vip));
    }

    #[test]
    fn anything_but_one_name_with_one_ipv4_address_is_refused() {
        assert!(matches!(decode(b"\xff"), Err(NameError::Message(_))));
        assert!(matches!(decode(b""), Err(NameError::Entries(0))));
        assert!(matches!(decode(&table("A.b", &["1.2.3.4"])), Err(NameError::Host { .. })));
        assert!(matches!(decode(&table("a.b", &[])), Err(NameError::Addresses { .. })));
        assert!(matches!(decode(&table("a.b", &["::1"])), Err(NameError::Addresses { .. })));
        assert!(matches!(decode(&table("a.b", &["1.2.3.4", "1.2.3.5"])), Err(NameError::Addresses { .. })));
    }
}
