//! Converts a snapshot to resources.
//!
//! Resources that all proxies share are encoded once per change of their service and passed on by reference. Only a
//! node's own resources, its inbound part, are made per node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use boshy_mesh::{Hostname, MeshSnapshot, NodeId, ServiceKey, ServicePlan};

use crate::{Layer, Resource, ResourceMap, ResourceSet, ResourceType, TypedResources, envoy, names};

/// Address at which Envoy accepts redirected connections.
pub const CAPTURE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15001);

/// The resources of one snapshot, for all proxies.
#[derive(Clone, Debug, Default)]
pub struct SharedResources {
    services: BTreeMap<Hostname, (Arc<ServicePlan>, Arc<Encoded>)>,
    inbound: BTreeMap<IpAddr, BTreeSet<u16>>,
    set: ResourceSet,
}

/// The encoded resources of one service.
#[derive(Debug)]
struct Encoded(Vec<(ResourceType, Arc<Resource>)>);

impl SharedResources {
    /// Renders a snapshot. Services that are unchanged since `previous` are not encoded again. A snapshot of generation
    /// 0, from before the first read of the director, gives resources that are not known.
    pub fn build(snapshot: &MeshSnapshot, previous: Option<&Self>, capture: SocketAddr) -> Self {
        if snapshot.generation == 0 {
            return Self::default();
        }
        let services: BTreeMap<_, _> = snapshot
            .content
            .services
            .iter()
            .map(|plan| {
                let known = previous.and_then(|previous| previous.encoded(plan));
                let encoded = known.unwrap_or_else(|| Arc::new(Encoded::of(plan)));
                (plan.host().clone(), (plan.clone(), encoded))
            })
            .collect();
        let of_services = services.values().flat_map(|(_, encoded)| encoded.0.iter().cloned());
        let set = collect(of_services.chain(fixed(capture))).of_generation(snapshot.generation);
        Self { inbound: inbound(snapshot), services, set: previous.map_or(set.clone(), |old| set.sharing(&old.set)) }
    }

    /// The resources for one proxy. A node whose address hosts no service has no inbound part.
    pub fn for_node(&self, node: &NodeId) -> ResourceSet {
        let Some((ip, ports)) = node.ip().and_then(|ip| self.inbound.get_key_value(&ip)) else {
            return self.set.clone();
        };
        let workload = |make: &dyn Fn(u16) -> Resource| ports.iter().map(|port| make(*port)).collect();
        let clusters = self.set.of(ResourceType::Cluster).with(workload(&envoy::inbound_cluster));
        let listeners = self.set.of(ResourceType::Listener).with(workload(&|port| envoy::inbound_listener(*ip, port)));
        self.set.clone().with(ResourceType::Cluster, clusters).with(ResourceType::Listener, listeners)
    }

    fn encoded(&self, plan: &Arc<ServicePlan>) -> Option<Arc<Encoded>> {
        let (old, encoded) = self.services.get(plan.host())?;
        (Arc::ptr_eq(old, plan) || old == plan).then(|| encoded.clone())
    }
}

impl Encoded {
    fn of(plan: &ServicePlan) -> Self {
        let mut resources =
            vec![(ResourceType::Names, Resource::new(plan.host().as_str(), names::encode(plan.host(), plan.vip)))];
        for port in &plan.service.ports {
            let key = ServiceKey::new(plan.host(), &port.name);
            resources.push((ResourceType::Cluster, envoy::outbound_cluster(&key)));
            resources.push((ResourceType::Endpoints, envoy::endpoints(&key, &plan.service, port)));
            resources.push((ResourceType::Listener, envoy::outbound_listener(&key, plan.vip, port.number)));
        }
        Self(resources.into_iter().map(|(kind, resource)| (kind, Arc::new(resource))).collect())
    }
}

fn collect(resources: impl Iterator<Item = (ResourceType, Arc<Resource>)>) -> ResourceSet {
    let mut maps = ResourceType::ALL.map(|_| ResourceMap::new());
    for (kind, resource) in resources {
        maps[kind.index()].insert(resource.name.clone(), resource);
    }
    ResourceType::ALL
        .into_iter()
        .zip(maps)
        .fold(ResourceSet::default(), |set, (kind, map)| set.with(kind, TypedResources::new([Layer::new(map)])))
}

/// Resources that exist without any service.
fn fixed(capture: SocketAddr) -> [(ResourceType, Arc<Resource>); 2] {
    [
        (ResourceType::Cluster, Arc::new(envoy::nowhere_cluster())),
        (ResourceType::Listener, Arc::new(envoy::capture_listener(capture))),
    ]
}

/// Exposed ports, by the address on which they are exposed.
fn inbound(snapshot: &MeshSnapshot) -> BTreeMap<IpAddr, BTreeSet<u16>> {
    let mut inbound: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for plan in &snapshot.content.services {
        for endpoint in &plan.service.endpoints {
            let ports = plan.service.ports.iter().map(|port| port.number);
            inbound.entry(endpoint.ip).or_default().extend(ports);
        }
    }
    inbound
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
