//! Plans: what the resources of a service and of a workload are made of.
//!
//! A plan joins facts of the director, leases, and whatever rules apply, so that its resources are a function of the
//! plan alone. A reader keeps what it made of a plan as long as it meets the same pointer. A rule that comes later
//! becomes a field of the plan that it applies to: the hash and the sharing follow from the derived traits, and only
//! the function that makes resources of the plan has to know the field.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    Discovery, Hostname, Leases, Port, Protocol, Service, ServiceKey, Shared, Workload, Workloads, workload::ByAddress,
};

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
    /// Where services reach it, in order, each place once.
    pub inbound: Vec<InboundPort>,
}

/// A place at which a workload is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InboundPort {
    /// Its address and an exposed port.
    pub at: SocketAddr,
    /// What is spoken there. Of two services with one port number the first by name decides.
    pub protocol: Protocol,
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

/// Joins workloads with the services that have endpoints at their addresses.
pub(crate) fn of_workloads(
    workloads: impl IntoIterator<Item = Shared<Workload>>,
    services: &[Shared<ServicePlan>],
    previous: &Workloads,
) -> Workloads {
    let workloads: Vec<_> = workloads.into_iter().collect();
    let by_address = ByAddress::of(&workloads);
    let mut inbound = inbound(services, &by_address).into_iter().peekable();
    let plans = workloads.into_iter().enumerate().map(|(index, workload)| {
        let own = std::iter::from_fn(|| inbound.next_if(|(of, _)| *of == index).map(|(_, port)| port));
        joined(workload, own.collect(), previous)
    });
    Workloads::new(plans.collect(), by_address)
}

/// The ports of all workloads, each with the index of its workload, in order.
fn inbound(services: &[Shared<ServicePlan>], by_address: &ByAddress) -> Vec<(usize, InboundPort)> {
    let endpoints =
        services.iter().flat_map(|plan| plan.service.endpoints.iter().map(move |endpoint| (plan, endpoint)));
    let known = endpoints.filter_map(|(plan, endpoint)| Some((by_address.get(endpoint.ip)?, plan, endpoint.ip)));
    let ports = known.flat_map(|(index, plan, ip)| {
        let at = move |port: &Port| InboundPort { at: (ip, port.number).into(), protocol: port.protocol };
        plan.service.ports.iter().map(move |port| (index, at(port)))
    });
    let mut inbound: Vec<_> = ports.collect();
    // The sort is stable, so that the first service by name stays the first.
    inbound.sort_by_key(|(index, port)| (*index, port.at));
    inbound.dedup_by_key(|(index, port)| (*index, port.at));
    inbound
}

fn joined(workload: Shared<Workload>, inbound: Vec<InboundPort>, previous: &Workloads) -> Shared<WorkloadPlan> {
    let known = previous.like(&workload).cloned();
    let plan = WorkloadPlan { workload, inbound };
    known.filter(|known| **known == plan).unwrap_or_else(|| Shared::new(plan))
}
