//! The v1 discovery API of 2018, which Envoys before version 2 of the protocol poll.
//!
//! ```text
//!   MeshSnapshot + NodeId --of_node--> wire types --render--> Document (bytes, number of resources)
//! ```
//!
//! It is kept so that clients of that time work unchanged. Field order, omitted fields, indentation and sorting are
//! exact, because the same mesh must give the same bytes. Names are those of the v3 resources, except for cluster names
//! over 189 octets. HTTP (paths, statuses, the cache) is handled elsewhere.
//!
//! Not promised: HTTP routes, policies, TLS and labels, for which this mesh has no source.

mod clusters;
mod endpoints;
mod json;
mod listeners;
mod names;
#[cfg(test)]
mod tests;
mod wire;

use std::num::IntErrorKind;

use boshy_mesh::{MeshSnapshot, NodeId};
use bytes::Bytes;
use serde::Serialize;

/// Name of the union of all routes, for explicit HTTP proxies.
const HTTP_PROXY: &str = "http_proxy";

/// A response body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The text, UTF-8.
    pub body: Bytes,
    /// Number of listeners, clusters, hosts or virtual hosts in it. Only a response with at least one may be cached.
    pub resources: usize,
}

/// Why the API has no document. The texts are those of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name of a route configuration is neither a port number nor `http_proxy`.
    #[error("strconv.Atoi: parsing {name:?}: {reason}")]
    RouteName {
        /// The requested name.
        name: String,
        /// Why it is not a number.
        reason: &'static str,
    },
    /// No VM of the director has the node's address.
    #[error("couldn't find the given cluster node")]
    UnknownNode,
}

/// LDS: listeners of a node.
pub fn listeners(snapshot: &MeshSnapshot, node: &NodeId) -> Document {
    let listeners = listeners::of_node(snapshot, node);
    Document::new(listeners.len(), &wire::Listeners { listeners })
}

/// CDS: clusters of a node.
pub fn clusters(snapshot: &MeshSnapshot, node: &NodeId) -> Document {
    let clusters = clusters::of_node(snapshot, node);
    Document::new(clusters.len(), &wire::Clusters { clusters })
}

/// RDS: the named routes. They are empty in every snapshot and for every node, because no port of the mesh speaks HTTP
/// to its proxy.
///
/// # Errors
/// [`Error::RouteName`] for a name that is neither a number nor `http_proxy`.
pub fn routes(name: &str) -> Result<Document, Error> {
    if name != HTTP_PROXY {
        // Rust and Go agree on the syntax of a number: an optional sign, decimal digits, 64 bits.
        name.parse::<i64>().map_err(|error| Error::RouteName {
            name: name.to_owned(),
            reason: match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            },
        })?;
    }
    Ok(Document::new(0, &wire::Routes { virtual_hosts: [] }))
}

/// SDS: endpoints of a service key. An unknown key has none, which is not an error.
pub fn service(snapshot: &MeshSnapshot, key: &str) -> Document {
    let hosts = endpoints::of_key(snapshot, key);
    Document::new(hosts.len(), &wire::Hosts { hosts })
}

/// Endpoints of all service keys.
pub fn registration(snapshot: &MeshSnapshot) -> Document {
    let entries = endpoints::of_all(snapshot);
    Document::new(entries.len(), &entries)
}

/// Availability zone of a node's VM as bare text; empty when the director names none.
///
/// # Errors
/// [`Error::UnknownNode`] when no VM has the node's address.
pub fn availability_zone(snapshot: &MeshSnapshot, node: &NodeId) -> Result<Document, Error> {
    let plan = node.ip().and_then(|ip| snapshot.content.workloads.at(ip)).ok_or(Error::UnknownNode)?;
    let text = plan.workload.az.clone().unwrap_or_default();
    Ok(Document { resources: usize::from(!text.is_empty()), body: text.into() })
}

/// Renders any value in the JSON style of this API, for what a server reports about itself.
pub fn render(value: &impl Serialize) -> Bytes {
    json::render(value).into()
}

impl Document {
    fn new(resources: usize, value: &impl Serialize) -> Self {
        Self { body: render(value), resources }
    }
}
