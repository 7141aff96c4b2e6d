//! Identity of a proxy that asks for configuration: `TYPE~IP~ID~DOMAIN`, in v1 paths and as the v3 node id.

use std::{fmt, net::IpAddr, str::FromStr};

/// Why a node id is refused. The texts equal those of the v1 API byte for byte, including the missing parenthesis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// The id does not have four parts.
    #[error("missing parts in the service node {0:?}")]
    MissingParts(String),
    /// The first part is not a known type.
    #[error("invalid node type (valid types: ingress, sidecar, router in the service node {0:?}")]
    InvalidType(String),
    /// The second part of a sidecar's id is not an address.
    #[error("invalid IP address {ip:?} in the service node {node:?}")]
    InvalidIp {
        /// The second part as given.
        ip: String,
        /// The whole id.
        node: String,
    },
}

/// Kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Runs beside workloads on a VM and has an address.
    Sidecar,
    /// Runs at the edge of the mesh.
    Ingress,
    /// Runs on its own.
    Router,
}

/// Identity of a proxy. Two proxies are the same when their whole ids are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    text: String,
    kind: NodeKind,
    ip: Option<IpAddr>,
}

impl NodeId {
    /// Id of a sidecar.
    pub fn sidecar(ip: IpAddr, id: &str, domain: &str) -> Self {
        Self { text: format!("sidecar~{ip}~{id}~{domain}"), kind: NodeKind::Sidecar, ip: Some(ip) }
    }

    /// The id as given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Kind of proxy.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Address of the VM; always present for a sidecar.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let parts: Vec<&str> = text.split('~').collect();
        let [kind, ip, _id, _domain] = parts[..] else {
            return Err(NodeIdError::MissingParts(text.to_owned()));
        };
        let kind = match kind {
            "sidecar" => NodeKind::Sidecar,
            "ingress" => NodeKind::Ingress,
            "router" => NodeKind::Router,
            _ => return Err(NodeIdError::InvalidType(text.to_owned())),
        };
        let parsed = ip.parse().ok();
        if kind == NodeKind::Sidecar && parsed.is_none() {
            return Err(NodeIdError::InvalidIp { ip: ip.to_owned(), node: text.to_owned() });
        }
        Ok(Self { text: text.to_owned(), kind, ip: parsed })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_has_an_address_and_anything_for_the_rest() {
        let node: NodeId = "sidecar~10.244.0.130~x~x".parse().unwrap();
        assert_eq!((node.kind(), node.ip()), (NodeKind::Sidecar, Some("10.244.0.130".parse().unwrap())));
        assert_eq!(NodeId::sidecar("10.244.0.130".parse().unwrap(), "x", "x"), node);
        assert!("router~~~".parse::<NodeId>().is_ok());
    }

    #[test]
    fn refusals_use_the_words_of_the_v1_api() {
        let refusal = |id: &str| id.parse::<NodeId>().unwrap_err().to_string();
        assert_eq!(refusal("x"), r#"missing parts in the service node "x""#);
        assert_eq!(
            refusal("gateway~1.2.3.4~x~x"),
            r#"invalid node type (valid types: ingress, sidecar, router in the service node "gateway~1.2.3.4~x~x""#
        );
        assert_eq!(refusal("sidecar~nope~x~x"), r#"invalid IP address "nope" in the service node "sidecar~nope~x~x""#);
    }
}
