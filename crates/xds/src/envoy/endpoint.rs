//! Endpoints: the addresses of a service's instances, and how an address is written.

use std::{collections::BTreeMap, net::IpAddr};

use boshy_mesh::{AvailabilityZone, Endpoint, Port, Service, ServiceKey};
use envoy_types::pb::envoy::config::{
    core::v3::{Address, Locality, SocketAddress, address, socket_address::PortSpecifier},
    endpoint::v3::{
        ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
    },
};
use prost::Message;

use crate::Resource;

/// `KEY`: the endpoints, one locality per availability zone, all with the same priority. Without zone-aware routing,
/// which requires a local cluster in the bootstrap, Envoy balances over all of them.
pub(crate) fn endpoints(key: &ServiceKey, service: &Service, port: &Port) -> Resource {
    let mut zones: BTreeMap<&AvailabilityZone, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in &service.endpoints {
        zones.entry(&endpoint.workload.az).or_default().push(endpoint);
    }
    let locality = |(zone, endpoints): (&AvailabilityZone, Vec<&Endpoint>)| LocalityLbEndpoints {
        locality: zone.clone().map(|zone| Locality { zone, ..Locality::default() }),
        lb_endpoints: endpoints.iter().map(|endpoint| lb_endpoint(endpoint.ip, port.number)).collect(),
        ..LocalityLbEndpoints::default()
    };
    let assignment = ClusterLoadAssignment {
        cluster_name: key.to_string(),
        endpoints: zones.into_iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    };
    Resource::new(key.as_str(), assignment.encode_to_vec())
}

pub(super) fn lb_endpoint(ip: IpAddr, port: u16) -> LbEndpoint {
    let endpoint = EnvoyEndpoint { address: Some(address(ip, port)), ..EnvoyEndpoint::default() };
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
