//! Envoy's discovery protocol (xDS v3): resources, sessions and gRPC.
//!
//! ```text
//!   MeshSnapshot ──> SharedResources ──for_node──> ResourceSet ──> session ──> AdsService ──> proxy
//!   (the pilot's)    encoded once                  by reference    pure        thin            │
//!                                                                  AckStates, Proxies <─────────┘
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `render` | a snapshot becomes resources (pure) |
//! | `envoy` | Envoy's messages, its bootstrap, and what it reports to have (pure) |
//! | `peer` | who asks for resources, by its certificate and its request |
//! | `refused`, `refusals` | tunnels that were not opened, as Envoy reports them |
//! | `istio` | messages of Istio's certificate service |
//! | `report` | messages of the service by which agents report to pilots |
//! | `layers` | the resources of a proxy as layers that proxies share (pure) |
//! | `order` | the resource types, and which waits for which: one row for each type (pure) |
//! | `session` | both ends of the protocol (pure) |
//! | `server` | gRPC for the serving end (thin) |
//! | `agent` | what a VM receives, serves to its Envoy and lets DNS answer (pure, but for the stream) |
//!
//! No other crate depends on gRPC, protobuf or Envoy's messages.

mod ack_states;
pub mod agent;
mod clock;
mod content;
mod digest;
mod envoy;
mod gzip;
mod istio;
mod layers;
pub mod names;
mod order;
mod pacing;
mod peer;
mod refusals;
mod refused;
mod render;
mod report;
mod resource;
mod server;
pub mod session;
mod status;
mod table;
mod told;
mod way;

#[cfg(test)]
#[path = "../tests/support/mesh.rs"]
mod support;

pub use ack_states::{AckState, AckStates};
pub use content::Content;
pub use digest::Digest;
pub use envoy::{
    AdminAddress, Bootstrap, CAPTURE as CAPTURE_LISTENER, CERTIFICATE, Capture, Captured, EnvoyVersion, PROGRAM_HEADER,
    PeerTimeout, ROOTS, Secrets, captured_ports, inspection, strict_ports,
};
pub use layers::{Layer, ResourceSet, TypedResources};
pub use order::ResourceType;
pub use pacing::Pacing;
pub use peer::{Identity, NotItsOwn, Peer, Scope, WorkloadIdentity, WorkloadTrust};
pub use refusals::{Refusals, SeenRefusal};
pub use refused::{RefusalReason, RefusedTunnel, Side};
pub use render::{CAPTURE, SharedResources};
pub use resource::{Resource, ResourceMap};
pub use server::{
    AdsService, AgentReports, CertificateRequest, Certifier, HandshakeFailure, HandshakeFailures, MeshSource, Patience,
    Proxies, Refusal, RefusalKind, Repairs, Resident, Security, Sets, Source,
};
pub use status::{Flavour, ProxyStatus, Rejection, TypeStatus};
pub use told::MeshTold;
/// Failure of a gRPC transport as a whole.
pub use tonic::transport::Error as TransportError;

/// HTTP/2 in ALPN (RFC 7301), the only protocol of gRPC.
pub const ALPN: &[&[u8]] = &[b"h2"];
