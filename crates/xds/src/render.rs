//! Converts a snapshot to resources.
//!
//! Resources are a function of a plan and of the scope of the proxy that gets them ([`Scope`]). What all proxies share is
//! encoded once per change of a service's plan, what only the proxies of one VM get once per change of its workload's
//! plan. Both are remembered by the plan and passed on by reference.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use boshy_mesh::{
    Hostname, InboundPort, MeshSnapshot, NodeId, Port, ServiceKey, ServicePlan, Shared, TrustDomain, WorkloadPlan,
    Workloads,
};

use crate::{
    Capture, Layer, Resource, ResourceMap, ResourceSet, ResourceType, Scope, TypedResources, envoy,
    names::{Name, Needs},
    table,
};

/// Address at which Envoy accepts redirected connections.
pub const CAPTURE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15001);

/// The resources of one snapshot, for all proxies.
#[derive(Clone, Debug, Default)]
pub struct SharedResources {
    services: BTreeMap<Hostname, (Shared<ServicePlan>, Arc<ServiceResources>)>,
    /// The workloads that have ports, by each of their addresses.
    workloads: HashMap<IpAddr, Arc<WorkloadResources>>,
    /// What all proxies have.
    mesh: ResourceSet,
    /// With what proxies in [`Scope::Certified`] have beside.
    certified: ResourceSet,
    /// With what proxies in [`Scope::Plain`] have beside, made when the first one asks.
    plain: OnceLock<ResourceSet>,
    /// Version of the table of leases that pilots share.
    table: Option<u64>,
}

type Encoded = Vec<(ResourceType, Arc<Resource>)>;

/// The encoded resources of one service.
#[derive(Debug)]
struct ServiceResources {
    common: Encoded,
    /// Those of a service that is tunnelled, in which the scopes differ.
    scoped: Option<Scoped>,
}

#[derive(Debug)]
struct Scoped {
    certified: Encoded,
    /// Made when the first proxy in this scope asks.
    plain: OnceLock<Encoded>,
}

/// The resources of one workload, which only the proxies on its VM get. They are encoded when the first of these asks,
/// because most VMs may be connected to another pilot.
#[derive(Debug)]
struct WorkloadResources {
    plan: Shared<WorkloadPlan>,
    common: OnceLock<Layers>,
    /// What accepts tunnels, which needs a certificate.
    certified: OnceLock<Layers>,
}

type Layers = Vec<(ResourceType, Layer)>;

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
        let common = services.values().flat_map(|(_, encoded)| encoded.common.iter().cloned());
        let mesh = layers(common.chain(fixed(capture)))
            .fold(ResourceSet::default(), |set, (kind, layer)| {
                set.with(kind, TypedResources::new([layer.shared(kind)]))
            })
            .of_generation(snapshot.generation);
        let table = snapshot.content.table;
        let mesh = table.map_or(mesh.clone(), |table| {
            let names = mesh.of(ResourceType::Names).labelled(&table::label(table));
            mesh.with(ResourceType::Names, names)
        });
        let mesh = previous.map_or(mesh.clone(), |old| mesh.sharing(&old.mesh));
        let certified = scoped(&services).flat_map(|(_, scoped)| scoped.certified.iter().cloned());
        let certified = beside(&mesh, present(certified));
        let certified = previous.map_or(certified.clone(), |old| certified.sharing(&old.certified));
        let workloads = workload_resources(&snapshot.content.workloads, previous);
        Self { services, workloads, mesh, certified, plain: OnceLock::new(), table }
    }

    /// Version of the table of leases that pilots share; `None` when they do not.
    pub fn table(&self) -> Option<u64> {
        self.table
    }

    /// The resources for one proxy: those of its scope, and those of the workload that has the node's address.
    pub fn for_node(&self, node: &NodeId, scope: Scope) -> ResourceSet {
        let set = match scope {
            Scope::Certified => &self.certified,
            Scope::Plain => self.plain(),
        };
        let Some(own) = node.ip().and_then(|ip| self.workloads.get(&ip)) else { return set.clone() };
        on_top(set, own.layers(scope).cloned())
    }

    fn plain(&self) -> &ResourceSet {
        self.plain.get_or_init(|| {
            let plain = scoped(&self.services).flat_map(|(plan, scoped)| scoped.plain(plan).iter().cloned());
            beside(&self.mesh, present(plain))
        })
    }

    fn encoded(&self, plan: &Shared<ServicePlan>) -> Option<Arc<ServiceResources>> {
        let (old, encoded) = self.services.get(plan.host())?;
        (old == plan).then(|| encoded.clone())
    }
}

impl ServiceResources {
    fn of(plan: &ServicePlan) -> Self {
        let is_tunnelled =
            |port: &&Port| plan.tunnel.as_ref().is_some_and(|tunnel| tunnel.ports.contains(&port.number));
        let (tunnelled, direct): (Vec<_>, Vec<_>) = plan.service.ports.iter().partition(is_tunnelled);
        let mut common: Encoded = direct.iter().flat_map(|port| directly(plan, port)).collect();
        let Some(tunnel) = &plan.tunnel else {
            common.push(name(plan, &common));
            return Self { common, scoped: None };
        };
        let mut certified: Encoded =
            tunnelled.iter().flat_map(|port| through_tunnels(plan, &tunnel.domain, port)).collect();
        certified.push(name(plan, common.iter().chain(&certified)));
        Self { common, scoped: Some(Scoped { certified, plain: OnceLock::new() }) }
    }
}

impl Scoped {
    /// Nothing for a port that accepts tunnels only. A name of which no port is left is known and not answered, because
    /// it needs nothing.
    fn plain(&self, plan: &ServicePlan) -> &Encoded {
        self.plain.get_or_init(|| {
            let tunnel = plan.tunnel.as_ref();
            let is_strict = |port: &&Port| tunnel.is_some_and(|tunnel| tunnel.strict.contains(&port.number));
            let is_tunnelled = |port: &&Port| tunnel.is_some_and(|tunnel| tunnel.ports.contains(&port.number));
            let of = |ports: Vec<&Port>| ports.into_iter().flat_map(|port| directly(plan, port)).collect::<Encoded>();
            let reached = plan.service.ports.iter().filter(|port| !is_strict(port)).collect();
            let name = name(plan, &of(reached));
            let scoped = plan.service.ports.iter().filter(|port| is_tunnelled(port) && !is_strict(port)).collect();
            of(scoped).into_iter().chain([name]).collect()
        })
    }
}

/// The resources of a port that is reached in plaintext.
fn directly(plan: &ServicePlan, port: &Port) -> [(ResourceType, Arc<Resource>); 3] {
    let key = ServiceKey::new(plan.host(), &port.name);
    encoded([
        (ResourceType::Cluster, envoy::outbound_cluster(&key)),
        (ResourceType::Endpoints, envoy::endpoints(&key, plan, port)),
        (ResourceType::Listener, envoy::outbound_listener(&key, plan.vip, port.number)),
    ])
}

/// The resources of a port that is reached through tunnels.
fn through_tunnels(plan: &ServicePlan, domain: &TrustDomain, port: &Port) -> [(ResourceType, Arc<Resource>); 3] {
    let key = ServiceKey::new(plan.host(), &port.name);
    encoded([
        (ResourceType::Cluster, envoy::tunnel_cluster(&key)),
        (ResourceType::Endpoints, envoy::tunnel_endpoints(&key, plan, domain)),
        (ResourceType::Listener, envoy::tunnel_listener(&key, plan.host(), plan.vip, port.number)),
    ])
}

/// The name of a service, which needs the listeners and clusters among these resources.
fn name<'r>(
    plan: &ServicePlan,
    resources: impl IntoIterator<Item = &'r (ResourceType, Arc<Resource>)>,
) -> (ResourceType, Arc<Resource>) {
    let mut needs = Needs::default();
    for (kind, resource) in resources {
        match kind {
            ResourceType::Listener => needs.listeners.push(Arc::clone(&resource.name)),
            ResourceType::Cluster => needs.clusters.push(Arc::clone(&resource.name)),
            _ => {}
        }
    }
    let name = Name { host: plan.host().clone(), vip: plan.vip, needs: Some(Arc::new(needs)) };
    (ResourceType::Names, Arc::new(Resource::new(plan.host().as_str(), name.encode())))
}

fn encoded<const N: usize>(resources: [(ResourceType, Resource); N]) -> [(ResourceType, Arc<Resource>); N] {
    resources.map(|(kind, resource)| (kind, Arc::new(resource)))
}

/// The services that differ between the scopes.
fn scoped(
    services: &BTreeMap<Hostname, (Shared<ServicePlan>, Arc<ServiceResources>)>,
) -> impl Iterator<Item = (&ServicePlan, &Scoped)> {
    services.values().filter_map(|(plan, encoded)| Some((&**plan, encoded.scoped.as_ref()?)))
}

impl WorkloadResources {
    fn new(plan: &Shared<WorkloadPlan>) -> Self {
        Self { plan: plan.clone(), common: OnceLock::new(), certified: OnceLock::new() }
    }

    fn layers(&self, scope: Scope) -> impl Iterator<Item = &(ResourceType, Layer)> {
        let common = self.common.get_or_init(|| common_layers(&self.plan));
        let certified = match scope {
            Scope::Certified => self.certified.get_or_init(|| certified_layers(&self.plan)),
            Scope::Plain => const { &Vec::new() },
        };
        common.iter().chain(certified)
    }
}

/// The inbound part of a VM. Its routes say which ports accept tunnels only, so every VM gets them.
fn common_layers(plan: &WorkloadPlan) -> Layers {
    let inbound = plan.inbound.iter().flat_map(arriving_at);
    let tunnelled = envoy::tunnelled_ports(&plan.inbound);
    let routes = tunnelled.iter().map(|(ip, ports)| (ResourceType::Route, envoy::mesh_routes(*ip, ports)));
    let own = tunnelled.values().flatten().map(|port| (ResourceType::Cluster, envoy::mesh_cluster(port.at)));
    let all = inbound.chain(routes).chain(own);
    present(all.map(|(kind, resource)| (kind, Arc::new(resource)))).collect()
}

/// What a VM has for connections to one of its ports that come in plaintext.
fn arriving_at(port: &InboundPort) -> Vec<(ResourceType, Resource)> {
    let (ip, number) = (port.at.ip(), port.at.port());
    match envoy::capture_of(port) {
        None => vec![
            (ResourceType::Cluster, envoy::inbound_cluster(number)),
            (ResourceType::Listener, envoy::inbound_listener(ip, number)),
        ],
        Some(ingress) => vec![
            (ResourceType::Cluster, envoy::captured_cluster(port.at)),
            (ResourceType::Listener, envoy::captured_listener(port.at, ingress, port.plaintext.as_deref())),
            (ResourceType::Listener, envoy::ingress_listener(ip)),
        ],
    }
}

/// The listeners that accept tunnels.
fn certified_layers(plan: &WorkloadPlan) -> Layers {
    let addresses = envoy::tunnelled_ports(&plan.inbound).into_keys();
    let listeners = addresses.map(|ip| (ResourceType::Listener, Arc::new(envoy::mesh_listener(ip))));
    present(listeners).collect()
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

/// A layer of each type.
fn layers(
    resources: impl Iterator<Item = (ResourceType, Arc<Resource>)>,
) -> impl Iterator<Item = (ResourceType, Layer)> {
    let mut maps = ResourceType::ALL.map(|_| ResourceMap::new());
    for (kind, resource) in resources {
        maps[kind.index()].insert(resource.name.clone(), resource);
    }
    ResourceType::ALL.into_iter().zip(maps).map(|(kind, map)| (kind, Layer::new(map)))
}

/// A layer of each type that has resources.
fn present(
    resources: impl Iterator<Item = (ResourceType, Arc<Resource>)>,
) -> impl Iterator<Item = (ResourceType, Layer)> {
    layers(resources).filter(|(_, layer)| !layer.resources().is_empty())
}

/// The mesh's resources with those of a scope, in one layer that all proxies of the scope share.
fn beside(mesh: &ResourceSet, layers: impl Iterator<Item = (ResourceType, Layer)>) -> ResourceSet {
    layers.fold(mesh.clone(), |set, (kind, layer)| {
        let both = mesh.of(kind).with(layer).flattened().shared(kind);
        set.with(kind, TypedResources::new([both]))
    })
}

fn on_top(set: &ResourceSet, layers: impl Iterator<Item = (ResourceType, Layer)>) -> ResourceSet {
    layers.fold(set.clone(), |set, (kind, layer)| {
        let layered = set.of(kind).with(layer);
        set.with(kind, layered)
    })
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
#[cfg(test)]
#[path = "render_tunnel_tests.rs"]
mod tunnel_tests;
