//! The state of the mesh at one moment, which all readers share.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Discovery, Hostname, Inventory, Leases, NameTable, Service, ServiceKey};

/// What the resources of a service are made of: the service, joined with all that applies to it.
///
/// A rule of an operator that applies to the service (routes, retries, who may call it) becomes a field here and is
/// joined in [`SnapshotContent::assemble`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ServicePlan {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// Its virtual IP.
    pub vip: Ipv4Addr,
}

/// Availability zone of a VM; `None` when the director gives none.
pub type AvailabilityZone = Option<String>;

/// Content of a snapshot, without its generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotContent {
    /// Services with an address, sorted by name. Unchanged services are shared with the previous snapshot.
    pub services: Vec<Arc<ServicePlan>>,
    /// Availability zone of every VM of the director, by each of its addresses, whether it exposes a port or not.
    pub zones: BTreeMap<IpAddr, AvailabilityZone>,
}

/// An immutable state of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MeshSnapshot {
    /// Increases with every change during the life of the process. It cannot be compared across restarts or between
    /// pilots.
    pub generation: u64,
    /// Equal for equal content, on every pilot: the first 16 hexadecimal digits of a SHA-256.
    pub hash: String,
    /// Its content.
    #[serde(flatten)]
    pub content: SnapshotContent,
}

impl SnapshotContent {
    /// Assembles the services that hold a lease and the zones of all VMs. Unchanged services are shared with
    /// `previous`.
    pub fn assemble(inventory: &Inventory, found: &Discovery, leases: &Leases, previous: &Self) -> Self {
        let services = found
            .services
            .iter()
            .filter_map(|(host, claimants)| {
                let (vip, owner) = (leases.vip(host)?, leases.holder(host)?.owner.as_ref()?);
                let service = claimants.iter().find(|service| service.origin == *owner)?;
                let unchanged =
                    previous.service(service.host.as_str()).filter(|old| old.vip == vip && old.service == *service);
                Some(unchanged.cloned().unwrap_or_else(|| Arc::new(ServicePlan { service: service.clone(), vip })))
            })
            .collect();
        let instances = inventory.deployments.iter().flat_map(|deployment| &deployment.instances);
        let zones = instances.flat_map(|instance| instance.addresses().map(|ip| (ip, instance.az.clone()))).collect();
        Self { services, zones }
    }

    /// A service by name.
    pub fn service(&self, host: &str) -> Option<&Arc<ServicePlan>> {
        let index = self.services.binary_search_by(|plan| plan.service.host.as_str().cmp(host)).ok()?;
        self.services.get(index)
    }

    /// Services with an endpoint on this address: those for which a sidecar there receives traffic.
    pub fn services_on(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<ServicePlan>> {
        self.services.iter().filter(move |plan| plan.service.endpoints.iter().any(|endpoint| endpoint.ip == ip))
    }

    /// The name table.
    pub fn names(&self) -> NameTable {
        self.services.iter().map(|plan| (plan.service.host.clone(), plan.vip)).collect()
    }

    fn hash(&self) -> String {
        let mut digest = Sha256::new();
        let mut feed = |line: String| digest.update(line.as_bytes());
        for plan in &self.services {
            feed(format!("{} {}\n", plan.service.host, plan.vip));
            for port in &plan.service.ports {
                feed(format!(" {} {} {:?}\n", port.name, port.number, port.protocol));
            }
            for endpoint in &plan.service.endpoints {
                feed(format!(" {} {:?}\n", endpoint.ip, endpoint.az));
            }
        }
        for (ip, zone) in &self.zones {
            feed(format!("{ip} {zone:?}\n"));
        }
        digest.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
    }
}

impl ServicePlan {
    /// Name of the service.
    pub fn host(&self) -> &Hostname {
        &self.service.host
    }

    /// Its keys, one per port.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.service.ports.iter().map(|port| ServiceKey::new(&self.service.host, &port.name))
    }
}

impl MeshSnapshot {
    /// The next snapshot, or `None` when the content is unchanged.
    #[must_use]
    pub fn next(&self, content: SnapshotContent) -> Option<Self> {
        if self.generation > 0 && content == self.content {
            return None;
        }
        Some(Self { generation: self.generation + 1, hash: content.hash(), content })
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
