//! Envoy's discovery protocols: resources, sessions, gRPC and the v1 JSON.

pub mod client;
pub mod names;
pub mod relay;
mod resource;
mod status;
mod verdicts;

pub use resource::{Resource, ResourceMap, ResourceSet, ResourceType, TypedResources};
pub use status::{Flavour, ProxyStatus, Rejection, TypeStatus};
pub use verdicts::{Verdict, Verdicts};
