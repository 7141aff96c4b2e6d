//! Endpoints: the addresses of a service's instances, and how an address is written.

use std::{collections::BTreeMap, net::IpAddr};

use boshy_mesh::{AvailabilityZone, Endpoint, MESH_PORT, Port, ServiceKey, ServicePlan, TrustDomain};
use envoy_types::pb::envoy::config::{
    core::v3::{Address, Locality, SocketAddress, address, socket_address::PortSpecifier},
    endpoint::v3::{
        ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
    },
};
use prost::Message;

use super::resource_names::{outbound_name, tunnel_name};
use crate::Resource;

/// `out.KEY`: the endpoints.
pub(crate) fn endpoints(key: &ServiceKey, plan: &ServicePlan, port: &Port) -> Resource {
    assignment(&outbound_name(key), plan, |endpoint| Some(lb_endpoint(endpoint.ip, port.number)))
}

/// `mtls.KEY`: where tunnels to the endpoints begin. Each has the name that its certificate must have. An instance
/// whose id cannot be in a certificate has no tunnel.
pub(crate) fn tunnel_endpoints(key: &ServiceKey, plan: &ServicePlan, domain: &TrustDomain) -> Resource {
    assignment(&tunnel_name(key), plan, |endpoint| {
        let hostname = domain.instance_name(&endpoint.workload.id).ok()?;
        Some(named_endpoint(endpoint.ip, MESH_PORT, hostname))
    })
}

/// Endpoints, one locality per availability zone, all with the same priority. Without zone-aware routing, which
/// requires a local cluster in the bootstrap, Envoy balances over all of them.
fn assignment(name: &str, plan: &ServicePlan, written: impl Fn(&Endpoint) -> Option<LbEndpoint>) -> Resource {
    let mut zones: BTreeMap<&AvailabilityZone, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in plan.endpoints() {
        zones.entry(&endpoint.workload.az).or_default().push(endpoint);
    }
    let locality = |(zone, endpoints): (&AvailabilityZone, Vec<&Endpoint>)| LocalityLbEndpoints {
        locality: zone.clone().map(|zone| Locality { zone, ..Locality::default() }),
        lb_endpoints: endpoints.iter().filter_map(|endpoint| written(endpoint)).collect(),
        ..LocalityLbEndpoints::default()
    };
    let assignment = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: zones.into_iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    };
    Resource::new(name, assignment.encode_to_vec())
}

pub(super) fn lb_endpoint(ip: IpAddr, port: u16) -> LbEndpoint {
    named_endpoint(ip, port, String::new())
}

fn named_endpoint(ip: IpAddr, port: u16, hostname: String) -> LbEndpoint {
    let endpoint = EnvoyEndpoint { address: Some(address(ip, port)), hostname, ..EnvoyEndpoint::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
}

pub(super) fn address(ip: IpAddr, port: u16) -> Address {
    let address = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(address::Address::SocketAddress(address)) }
}
