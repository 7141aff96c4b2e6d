//! The client's messages: as values, and on the wire.

use std::{collections::BTreeSet, sync::Arc};

use boshy_mesh::NodeId;
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource},
    },
    google::rpc::Status,
};
use prost::Message;

use crate::{Digest, Resource, ResourceType, digest::ASK};

/// gRPC code 3, which Envoy sends in a rejection.
const INVALID_ARGUMENT: i32 = 3;
/// Length to which the reason of a rejection is cut. It is read by people.
const LONGEST_REASON: usize = 1024;

/// A name that no resource has and that sorts after all others. The protocol does not report when all resources have
/// been sent. But a server answers for every requested name that does not exist, and the pilot sends names in order, so
/// its answer for this one comes last.
pub const MARK: &str = "\u{10ffff}";

/// A message to the server. `type_url` is text where the type may be unknown here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestToPilot {
    /// Subscribes to all resources of a type.
    Subscribe {
        /// The type.
        kind: ResourceType,
        /// Held names with their versions (`initial_resource_versions`). An empty version makes the server send the
        /// resource, or its removal, in any case.
        held: Vec<(Arc<str>, Arc<str>)>,
        /// Whether to request a report that everything has been sent; see [`ResponseFromPilot::complete`].
        mark: bool,
    },
    /// Subscribes to all resources of a type of which everything is held, in the place of a list of versions.
    Claim {
        /// The type.
        kind: ResourceType,
        /// Of the held resources.
        digest: Digest,
    },
    /// Says the held names with their versions, because the pilot asks ([`ResponseFromPilot::asks`]).
    Tell {
        /// The type.
        kind: ResourceType,
        /// Nonce of the response with which it asks.
        nonce: String,
        /// As in [`RequestToPilot::Subscribe`].
        held: Vec<(Arc<str>, Arc<str>)>,
    },
    /// Requests resources again, whatever version is held, so that they can be answered anew.
    Resend {
        /// Their type.
        kind: ResourceType,
        /// Their names.
        names: Vec<Arc<str>>,
    },
    /// Acknowledges a response (ACK): it is in effect.
    Ack {
        /// Type of the response.
        type_url: String,
        /// Nonce of the response.
        nonce: String,
    },
    /// Rejects a response (NACK): it is not in effect as a whole.
    Nack {
        /// Type of the response.
        type_url: String,
        /// Nonce of the response.
        nonce: String,
        /// Reason, for people.
        reason: String,
    },
}

impl RequestToPilot {
    /// Whether it answers a response.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Ack { .. } | Self::Nack { .. })
    }

    /// Encodes the message. `node` belongs in the first message of a stream only.
    pub fn into_wire(self, node: Option<&NodeId>) -> DeltaDiscoveryRequest {
        let node = node.map(|id| Node { id: id.as_str().to_owned(), ..Node::default() });
        match self {
            Self::Subscribe { kind, held, mark } => DeltaDiscoveryRequest {
                node,
                type_url: kind.url().to_owned(),
                resource_names_subscribe: ["*"].into_iter().chain(mark.then_some(MARK)).map(str::to_owned).collect(),
                initial_resource_versions: held.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
                ..Default::default()
            },
            Self::Claim { kind, digest } => DeltaDiscoveryRequest {
                node,
                type_url: kind.url().to_owned(),
                resource_names_subscribe: vec!["*".to_owned()],
                initial_resource_versions: [("*".to_owned(), digest.to_string())].into(),
                ..Default::default()
            },
            Self::Tell { kind, nonce, held } => DeltaDiscoveryRequest {
                node,
                type_url: kind.url().to_owned(),
                response_nonce: nonce,
                initial_resource_versions: held.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
                ..Default::default()
            },
            Self::Resend { kind, names } => DeltaDiscoveryRequest {
                node,
                type_url: kind.url().to_owned(),
                resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
                ..Default::default()
            },
            Self::Ack { type_url, nonce } => {
                DeltaDiscoveryRequest { node, type_url, response_nonce: nonce, ..Default::default() }
            }
            Self::Nack { type_url, nonce, reason } => DeltaDiscoveryRequest {
                node,
                type_url,
                response_nonce: nonce,
                error_detail: Some(Status { code: INVALID_ARGUMENT, message: shortened(reason), details: Vec::new() }),
                ..Default::default()
            },
        }
    }
}

/// A response of the server: resources of one type that are set or removed. Every resource is named once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseFromPilot {
    /// The type.
    pub kind: ResourceType,
    /// Repeated in the answer.
    pub nonce: String,
    /// The server's version of the whole type, for display (`system_version_info`).
    pub version: String,
    /// New and changed resources, with the server's versions.
    pub resources: Vec<Resource>,
    /// Names of removed resources.
    pub removed: Vec<Arc<str>>,
    /// Whether all resources of the type have been sent.
    pub complete: bool,
}

/// A response that cannot be parsed; none of it is applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// Type of the response as given on the wire.
    pub type_url: String,
    /// Nonce of the response.
    pub nonce: String,
    /// What is wrong, and with which resource.
    pub reason: String,
}

impl From<Malformed> for RequestToPilot {
    fn from(Malformed { type_url, nonce, reason }: Malformed) -> Self {
        Self::Nack { type_url, nonce, reason }
    }
}

/// Bytes that are not a valid response.
#[derive(Debug, thiserror::Error)]
pub enum UndecodableResponse {
    /// They are not a protobuf message of this type.
    #[error("decoding a DeltaDiscoveryResponse")]
    Protobuf(#[source] prost::DecodeError),
    /// The message is malformed.
    #[error("reading a DeltaDiscoveryResponse")]
    Content(#[source] Malformed),
}

impl ResponseFromPilot {
    /// Whether the pilot asks for the held names and versions, because it does not know the digest.
    pub fn asks(&self) -> bool {
        self.removed.iter().any(|name| **name == *ASK)
    }

    /// Decodes a message from the wire.
    ///
    /// # Errors
    /// When it is not such a message, or [`ResponseFromPilot::from_wire`] rejects it.
    pub fn decode(octets: &[u8]) -> Result<Self, UndecodableResponse> {
        let message = DeltaDiscoveryResponse::decode(octets).map_err(UndecodableResponse::Protobuf)?;
        Self::from_wire(message).map_err(UndecodableResponse::Content)
    }

    /// Converts a message. Bodies are moved, not copied.
    ///
    /// # Errors
    /// For an unknown type, a resource without a name or body, a body of another type, and a name that occurs twice.
    pub fn from_wire(message: DeltaDiscoveryResponse) -> Result<Self, Malformed> {
        let DeltaDiscoveryResponse {
            type_url,
            nonce,
            system_version_info,
            resources,
            mut removed_resources,
            removed_resource_names,
            ..
        } = message;
        removed_resources.extend(removed_resource_names.into_iter().map(|removed| removed.name));
        read(&type_url, resources, removed_resources)
            .map(|(kind, resources, mut removed)| {
                let complete = removed.extract_if(.., |name| **name == *MARK).next().is_some();
                Self { kind, nonce: nonce.clone(), version: system_version_info, resources, removed, complete }
            })
            .map_err(|reason| Malformed { type_url, nonce, reason })
    }
}

type Content = (ResourceType, Vec<Resource>, Vec<Arc<str>>);

fn read(type_url: &str, resources: Vec<WireResource>, removed: Vec<String>) -> Result<Content, String> {
    let kind = ResourceType::from_url(type_url).ok_or_else(|| format!("unknown type {type_url:?}"))?;
    let resources = resources.into_iter().map(|resource| resource_of(kind, resource)).collect::<Result<Vec<_>, _>>()?;
    let removed: Vec<Arc<str>> = removed.into_iter().map(Arc::from).collect();
    let mut seen = BTreeSet::new();
    for name in resources.iter().map(|resource| &resource.name).chain(&removed) {
        if !seen.insert(name) {
            return Err(format!("resource {name:?} occurs twice"));
        }
    }
    Ok((kind, resources, removed))
}

fn resource_of(kind: ResourceType, resource: WireResource) -> Result<Resource, String> {
    let WireResource { name, version, resource: body, .. } = resource;
    if name.is_empty() {
        return Err("a resource without a name".to_owned());
    }
    let body = body.ok_or_else(|| format!("resource {name:?} has no body"))?;
    if body.type_url != kind.url() {
        return Err(format!("resource {name:?} is of type {:?}", body.type_url));
    }
    Ok(Resource { name: name.into(), version: version.into(), body: body.value.into() })
}

fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push_str(" ...");
    }
    reason
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
