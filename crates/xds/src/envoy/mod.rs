//! Envoy's side of the mesh: its v3 messages as the mesh uses them, its bootstrap, and what it reports to have.
//!
//! Clusters and listeners have the names of the v1 API.

mod bootstrap;
mod cluster;
mod cluster_name;
mod endpoint;
pub mod inspection;
mod listener;
mod metadata;
mod peers;
mod provider;
mod rbac;
mod secret;
mod tls;

#[cfg(test)]
pub(crate) use self::cluster::{ClusterEndpoints, EdsServiceName};
pub use self::{
    bootstrap::{AdminAddress, Bootstrap, EnvoyVersion},
    listener::{CAPTURE, Capture},
    peers::PeerTimeout,
    provider::strict_ports,
    secret::Secrets,
    tls::{CERTIFICATE, ROOTS},
};
pub(crate) use self::{
    cluster::{endpoints_of, inbound_cluster, nowhere_cluster, outbound_cluster, tunnel_cluster},
    endpoint::{endpoints, tunnel_endpoints},
    listener::{capture_listener, inbound_listener, listener_address, outbound_listener, tunnel_listener},
    provider::{mesh_cluster, mesh_listener, mesh_name, mesh_routes, tunnelled_ports},
};
