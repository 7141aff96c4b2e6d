//! Envoy's side of the mesh: its v3 messages as the mesh uses them, its bootstrap, and what it reports to have.
//!
//! Clusters and listeners have the names of the v1 API.

mod bootstrap;
mod cluster;
mod endpoint;
mod ingress;
pub mod inspection;
mod listener;
mod metadata;
mod passages;
mod peers;
mod provider;
mod rbac;
mod refusals;
mod resource_names;
mod secret;
mod tls;

#[cfg(test)]
pub(crate) use self::cluster::{ClusterEndpoints, EdsServiceName};
pub use self::{
    bootstrap::{AdminAddress, Bootstrap, EnvoyVersion},
    ingress::{Captured, captured_ports},
    listener::{CAPTURE, Capture},
    peers::PeerTimeout,
    provider::{PROGRAM_HEADER, strict_ports},
    secret::Secrets,
    tls::{CERTIFICATE, ROOTS},
};
pub(crate) use self::{
    cluster::{endpoints_of, inbound_cluster, nowhere_cluster, outbound_cluster, tunnel_cluster},
    endpoint::{endpoints, tunnel_endpoints},
    ingress::{capture_of, captured_cluster, captured_listener, ingress_listener},
    listener::{capture_listener, inbound_listener, listener_address, outbound_listener, tunnel_listener},
    provider::{is_mesh_name, mesh_cluster, mesh_listener, mesh_routes, tunnelled_ports},
    refusals::DENIED,
    resource_names::{listener_name, outbound_name, service_host, tunnel_name},
    secret::roots,
};
