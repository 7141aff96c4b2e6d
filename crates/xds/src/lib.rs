//! Envoy's discovery protocols: resources, sessions, gRPC and the v1 JSON.

mod resource;
mod status;
pub mod v1;

pub use resource::{Resource, ResourceMap, ResourceSet, ResourceType, TypedResources};
pub use status::{Flavour, ProxyStatus, Rejection, TypeStatus};
