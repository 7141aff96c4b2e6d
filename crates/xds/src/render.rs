//! Converts a snapshot to resources.
//!
//! Resources are a function of a plan. What all proxies share is encoded once per change of a service's plan, what only
//! the proxies of one VM get once per change of its workload's plan. Both are remembered by the plan and passed on by
//! reference.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use boshy_mesh::{Hostname, MeshSnapshot, NodeId, ServiceKey, ServicePlan, Shared, WorkloadPlan, Workloads};

use crate::{
    Capture, Layer, Resource, ResourceMap, ResourceSet, ResourceType, TypedResources, envoy,
    names::{Name, Needs},
};

/// Address at which Envoy accepts redirected connections.
pub const CAPTURE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15001);

/// The resources of one snapshot, for all proxies.
#[derive(Clone, Debug, Default)]
pub struct SharedResources {
    services: BTreeMap<Hostname, (Shared<ServicePlan>, Arc<ServiceResources>)>,
    /// The workloads that have ports, by each of their addresses.
    workloads: HashMap<IpAddr, Arc<WorkloadResources>>,
    set: ResourceSet,
}

/// The encoded resources of one service.
#[derive(Debug)]
struct ServiceResources(Vec<(ResourceType, Arc<Resource>)>);

/// The resources of one workload, which only the proxies on its VM get. They are encoded when the first of these asks,
/// because most VMs may be connected to another pilot.
#[derive(Debug)]
struct WorkloadResources {
    plan: Shared<WorkloadPlan>,
    layers: OnceLock<[(ResourceType, Layer); 2]>,
}

impl SharedResources {
    /// Renders a snapshot. Services and workloads that are unchanged since `previous` are not encoded again. A snapshot
    /// of generation 0, from before the first read of the director, gives resources that are not known.
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
                let encoded = known.unwrap_or_else(|| Arc::new(ServiceResources::of(plan)));
                (plan.host().clone(), (plan.clone(), encoded))
            })
            .collect();
        let of_services = services.values().flat_map(|(_, encoded)| encoded.0.iter().cloned());
        let set = collect(of_services.chain(fixed(capture))).of_generation(snapshot.generation);
        let workloads = workload_resources(&snapshot.content.workloads, previous);
        Self { workloads, services, set: previous.map_or(set.clone(), |old| set.sharing(&old.set)) }
    }

    /// The resources for one proxy: those that all share, and those of the workload that has the node's address.
    pub fn for_node(&self, node: &NodeId) -> ResourceSet {
        let own = node.ip().and_then(|ip| self.workloads.get(&ip)).map(|own| own.layers()).unwrap_or_default();
        own.iter().fold(self.set.clone(), |set, (kind, layer)| {
            let layered = set.of(*kind).with(layer.clone());
            set.with(*kind, layered)
        })
    }

    fn encoded(&self, plan: &Shared<ServicePlan>) -> Option<Arc<ServiceResources>> {
        let (old, encoded) = self.services.get(plan.host())?;
        (old == plan).then(|| encoded.clone())
    }
}

impl ServiceResources {
    fn of(plan: &ServicePlan) -> Self {
        let (mut resources, mut needs) = (Vec::new(), Needs::default());
        for port in &plan.service.ports {
            let key = ServiceKey::new(plan.host(), &port.name);
            let (cluster, endpoints) = (envoy::outbound_cluster(&key), envoy::endpoints(&key, &plan.service, port));
            let listener = envoy::outbound_listener(&key, plan.vip, port.number);
            needs.listeners.push(Arc::clone(&listener.name));
            needs.clusters.push(Arc::clone(&cluster.name));
            resources.extend([
                (ResourceType::Cluster, cluster),
                (ResourceType::Endpoints, endpoints),
                (ResourceType::Listener, listener),
            ]);
        }
        let name = Name { host: plan.host().clone(), vip: plan.vip, needs: Some(Arc::new(needs)) };
        resources.push((ResourceType::Names, Resource::new(plan.host().as_str(), name.encode())));
        Self(resources.into_iter().map(|(kind, resource)| (kind, Arc::new(resource))).collect())
    }
}

impl WorkloadResources {
    fn new(plan: &Shared<WorkloadPlan>) -> Self {
        Self { plan: plan.clone(), layers: OnceLock::new() }
    }

    fn layers(&self) -> &[(ResourceType, Layer)] {
        self.layers.get_or_init(|| layers_of_workload(&self.plan))
    }
}

/// The inbound part of a VM.
fn layers_of_workload(plan: &WorkloadPlan) -> [(ResourceType, Layer); 2] {
    let ports = || plan.inbound.iter().map(|port| port.at);
    let clusters = ports().map(|at| envoy::inbound_cluster(at.port())).collect();
    let listeners = ports().map(|at| envoy::inbound_listener(at.ip(), at.port())).collect();
    [(ResourceType::Cluster, clusters), (ResourceType::Listener, listeners)]
}

fn workload_resources(
    workloads: &Workloads,
    previous: Option<&SharedResources>,
) -> HashMap<IpAddr, Arc<WorkloadResources>> {
    let mut by_address = HashMap::with_capacity(workloads.iter().len());
    for plan in workloads.iter().filter(|plan| !plan.inbound.is_empty()) {
        let known = plan.workload.addresses.first().and_then(|own| previous?.workloads.get(&own.address.ip));
        let known = known.filter(|known| known.plan == *plan).cloned();
        let resources = known.unwrap_or_else(|| Arc::new(WorkloadResources::new(plan)));
        for address in &plan.workload.addresses {
            by_address.entry(address.address.ip).or_insert_with(|| Arc::clone(&resources));
        }
    }
    by_address
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
        (ResourceType::Listener, Arc::new(envoy::capture_listener(Capture::at(capture)))),
    ]
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
