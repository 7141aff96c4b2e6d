//! Envoy's discovery protocol (xDS v3): resources, sessions and gRPC.
//!
//! ```text
//!   MeshSnapshot ──> SharedResources ──for_node──> ResourceSet ──> session ──> AdsService ──> proxy
//!   (the pilot's)    encoded once                  by reference    pure        thin            │
//!                                                                  Verdicts, Proxies <─────────┘
//! ```
//!
//! No other crate depends on gRPC, protobuf or Envoy's messages.

mod bootstrap;
mod build;
pub mod client;
mod envoy;
pub mod inspection;
pub mod names;
mod pairs;
mod peers;
pub mod relay;
mod resource;
mod server;
pub mod session;
mod status;
mod told;
mod verdicts;

#[cfg(test)]
#[path = "../tests/support/mesh.rs"]
mod support;

pub use bootstrap::{Bootstrap, EnvoyVersion};
pub use build::{CAPTURE, SharedResources};
pub use envoy::{CAPTURE as CAPTURE_LISTENER, Capture};
pub use peers::PeerTimeout;
/// HTTP/2 in ALPN (RFC 7301), the only protocol of gRPC.
pub const ALPN: &[&[u8]] = &[b"h2"];

pub use pairs::outbound_pairs;
pub use resource::{Resource, ResourceMap, ResourceSet, ResourceType, TypedResources};
pub use server::{AdsService, MeshSource, Patience, Proxies, Refusal, Refusals, Repairs, Security, Sets, Source};
pub use status::{Flavour, PeerStatus, ProxyStatus, Rejection, TypeStatus};
pub use told::MeshTold;
/// Failure of a gRPC transport as a whole.
pub use tonic::transport::Error as TransportError;
pub use verdicts::{Verdict, Verdicts};
