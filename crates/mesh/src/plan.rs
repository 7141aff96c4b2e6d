//! Plans: what the resources of a service and of a workload are made of.
//!
//! A plan joins facts of the director, leases, and whatever rules apply, so that its resources are a function of the
//! plan alone. A reader keeps what it made of a plan as long as it meets the same pointer. A rule that comes later
//! becomes a field of the plan that it applies to: the hash and the sharing follow from the derived traits, and only
//! the function that makes resources of the plan has to know the field.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
};

use crate::{Discovery, Hostname, Leases, Protocol, Service, ServiceKey, Shared, Workload, Workloads};

/// A service, joined with its virtual IP.
///
/// Rules for those who call the service, such as routes and retries, belong here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePlan {
    /// The service.
    pub service: Service,
    /// Its virtual IP.
    pub vip: Ipv4Addr,
}

/// A workload, joined with the ports at which it is reached.
///
/// Rules for what arrives, such as who may connect and whether with a certificate, belong here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadPlan {
    /// The workload.
    pub workload: Shared<Workload>,
    /// The exposed ports at the address where services reach it, and what is spoken there. Of two services with one
    /// port number the first by name decides.
    pub inbound: BTreeMap<SocketAddr, Protocol>,
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

/// The services that hold a lease, sorted by name.
pub(crate) fn of_services(
    found: &Discovery,
    leases: &Leases,
    previous: &[Shared<ServicePlan>],
) -> Vec<Shared<ServicePlan>> {
    let leased = found.services.iter().filter_map(|(host, claimants)| {
        let (vip, owner) = (leases.vip(host)?, leases.holder(host)?.owner.as_ref()?);
        let service = claimants.iter().find(|service| service.origin == *owner)?;
        let known = by_host(previous, host.as_str()).filter(|known| known.vip == vip && known.service == *service);
        Some(known.cloned().unwrap_or_else(|| Shared::new(ServicePlan { service: service.clone(), vip })))
    });
    leased.collect()
}

/// The plan of a service by its name.
pub(crate) fn by_host<'p>(plans: &'p [Shared<ServicePlan>], host: &str) -> Option<&'p Shared<ServicePlan>> {
    let index = plans.binary_search_by(|plan| plan.service.host.as_str().cmp(host)).ok()?;
    plans.get(index)
}

/// Joins workloads with the services that have endpoints on them.
pub(crate) fn of_workloads(
    workloads: impl IntoIterator<Item = Shared<Workload>>,
    services: &[Shared<ServicePlan>],
    previous: &Workloads,
) -> Workloads {
    let workloads: Vec<_> = workloads.into_iter().collect();
    let mut inbound: HashMap<_, BTreeMap<SocketAddr, Protocol>> = HashMap::new();
    for plan in services {
        for endpoint in &plan.service.endpoints {
            let ports = inbound.entry(endpoint.workload.key()).or_default();
            for port in &plan.service.ports {
                ports.entry(SocketAddr::new(endpoint.ip, port.number)).or_insert(port.protocol);
            }
        }
    }
    let plans = workloads.iter().map(|workload| {
        let inbound = inbound.remove(&workload.key()).unwrap_or_default();
        Shared::reusing(previous.like(workload), WorkloadPlan { workload: workload.clone(), inbound })
    });
    plans.collect()
}
