//! What is known of connected proxies, for operators.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::ResourceType;

/// A proxy on an open stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxyStatus {
    /// Node id, `sidecar~IP~ID~DOMAIN`.
    pub node: String,
    /// `delta` or `sotw`.
    pub flavour: Flavour,
    /// Whose certificate it showed; `null` when it came without TLS.
    pub tls: Option<PeerStatus>,
    /// Seconds since the Unix epoch.
    pub connected_since: u64,
    /// What it has of each type it asked for.
    pub types: BTreeMap<ResourceType, TypeStatus>,
}

/// A proxy that came by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerStatus {
    /// Subject of its certificate, such as `CN=boshy-agent`.
    pub subject: Arc<str>,
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
    pub sent: Option<String>,
    /// Version of the last acknowledged response.
    pub accepted: Option<String>,
    /// The last refusal, kept until a later version is accepted.
    pub rejected: Option<Rejection>,
}

/// A response that a proxy refused (NACK).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Version refused.
    pub version: String,
    /// The proxy's words.
    pub reason: String,
    /// Seconds since the Unix epoch.
    pub at: u64,
}
