//! Computes services from an inventory.
//!
//! A service exists because a manifest exposes a port, not because an instance runs. A group that is stopped or scaled
//! to zero keeps its service and therefore its virtual IP. Endpoints are the instances that expect a VM and own their
//! address (see `residents`).

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{
    Claim, Claims, Deployment, Hostname, InstanceGroup, Inventory, Job, Leases, Lifecycle, Origin, Place, Problem,
    Service, Shared, Tld, VipRange, Workload, Workloads, residents::Residents,
};

/// The services of an inventory, and the problems found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The services that claim each name, in the inventory's order. The leases say which of several owns the name.
    pub services: BTreeMap<Hostname, Vec<Service>>,
    /// The workloads, in the inventory's order.
    pub workloads: Vec<Shared<Workload>>,
    /// Earlier origins of the jobs of a migrated group.
    formerly: BTreeMap<Origin, Vec<Origin>>,
    /// Names that are not valid DNS names, and addresses inside the virtual-IP range.
    pub problems: Vec<Problem>,
}

/// Computes the services and workloads. Workloads that are unchanged are shared with the `known` ones.
pub fn discover(inventory: &Inventory, tld: &Tld, range: VipRange, known: &Workloads) -> Discovery {
    let mut services: BTreeMap<Hostname, Vec<Service>> = BTreeMap::new();
    let mut formerly = BTreeMap::new();
    let residents = Residents::of(inventory, range, known);
    let mut problems = Vec::new();
    for deployment in &inventory.deployments {
        for (group, job) in exposing_jobs(deployment) {
            let place = Place::deployment(&deployment.name).group(&group.name).job(&job.name);
            let host = match Hostname::of_service(&job.name, &group.name, &deployment.name, tld) {
                Ok(host) => host,
                Err(error) => {
                    problems.push(Problem::new(place, format!("has no name in the mesh: {error}")));
                    continue;
                }
            };
            let origin =
                Origin { deployment: deployment.name.clone(), group: group.name.clone(), job: job.name.clone() };
            let claimants = services.entry(host.clone()).or_default();
            if claimants.iter().any(|first| first.origin == origin) {
                problems.push(Problem::new(place, "is written twice; the first counts"));
                continue;
            }
            let endpoints = residents.endpoints(&deployment.name, &group.name);
            if !group.migrated_from.is_empty() {
                let before = |name: &String| Origin { group: name.clone(), ..origin.clone() };
                formerly.insert(origin.clone(), group.migrated_from.iter().map(before).collect());
            }
            claimants.push(Service { host, origin, ports: job.ports.clone(), endpoints });
        }
    }
    problems.extend(residents.problems);
    problems.extend(inventory.problems.iter().cloned());
    problems.extend(inventory.policies.iter().flat_map(|config| config.problems.iter().cloned()));
    problems.extend(inventory.deployments.iter().flat_map(|deployment| deployment.problems.iter().cloned()));
    Discovery { services, workloads: residents.workloads, formerly, problems }
}

impl Discovery {
    /// The services that hold a lease, with their addresses, sorted by name.
    pub fn leased<'f>(&'f self, leases: &'f Leases) -> impl Iterator<Item = (&'f Service, Ipv4Addr)> + use<'f> {
        self.services.iter().filter_map(|(host, claimants)| {
            let (vip, owner) = (leases.vip(host)?, leases.holder(host)?.owner.as_ref()?);
            Some((claimants.iter().find(|service| service.origin == *owner)?, vip))
        })
    }

    /// The claims to each name.
    pub fn claims(&self) -> Claims {
        let claim = |service: &Service| Claim {
            owner: service.origin.clone(),
            formerly: self.formerly.get(&service.origin).cloned().unwrap_or_default(),
        };
        let claims = |services: &Vec<Service>| services.iter().map(claim).collect();
        self.services.iter().map(|(host, services)| (host.clone(), claims(services))).collect()
    }

    /// Services whose name is owned by another service: by the holder of its lease, or, without a lease, by the first
    /// claimant.
    pub fn collisions(&self, leases: &Leases) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (host, services) in self.services.iter().filter(|(_, services)| services.len() > 1) {
            let Some(first) = services.first().map(|service| &service.origin) else { continue };
            let holder = leases.holder(host).and_then(|lease| lease.owner.as_ref()).unwrap_or(first);
            let others = services.iter().filter(|service| service.origin != *holder);
            problems.extend(others.map(|service| collision(service.origin.place(), host, holder)));
        }
        problems
    }
}

fn exposing_jobs(deployment: &Deployment) -> impl Iterator<Item = (&InstanceGroup, &Job)> {
    deployment
        .groups
        .iter()
        .filter(|group| group.lifecycle == Lifecycle::Service)
        .flat_map(|group| group.jobs.iter().map(move |job| (group, job)))
        .filter(|(_, job)| !job.ports.is_empty())
}

fn collision(place: Place, host: &Hostname, holder: &Origin) -> Problem {
    let holder = holder.place();
    Problem::new(place, format!("has the mesh name {host} of {holder}, which keeps it; rename one of them"))
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
