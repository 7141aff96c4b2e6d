//! Status of connected proxies, for operators.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{Identity, Peer, ResourceType};

/// A proxy on an open stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyStatus {
    /// Node id, `sidecar~IP~ID~DOMAIN`.
    pub node: String,
    /// `delta` or `sotw`.
    pub flavour: Flavour,
    /// Identity from its certificate; `null` without TLS.
    pub tls: Option<Identity>,
    /// Seconds since the Unix epoch.
    pub connected_since: u64,
    /// State of each type that it asked for.
    pub types: BTreeMap<ResourceType, TypeStatus>,
}

impl ProxyStatus {
    /// A proxy that has asked for nothing yet.
    pub(crate) fn new(peer: &Peer, flavour: Flavour, connected_since: u64) -> Self {
        let (node, tls) = (peer.node.as_str().to_owned(), peer.identity.clone());
        Self { node, flavour, tls, connected_since, types: BTreeMap::new() }
    }
}

/// Which of the two ADS methods a stream uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// `DeltaAggregatedResources`.
    Delta,
    /// `StreamAggregatedResources`, state of the world.
    Sotw,
}

/// One type on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// Version of the last response.
    pub sent: Option<Arc<str>>,
    /// Version of the last acknowledged response.
    pub accepted: Option<Arc<str>>,
    /// The last rejection, kept until a later version is accepted.
    pub rejected: Option<Rejection>,
}

/// A response that a proxy rejected (NACK).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The rejected version.
    pub version: String,
    /// The proxy's error text.
    pub reason: String,
    /// Seconds since the Unix epoch.
    pub at: u64,
}
