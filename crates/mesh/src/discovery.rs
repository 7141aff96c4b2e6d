//! Inventory to services.
//!
//! A service exists because a manifest exposes a port, not because an instance runs: a group scaled to none, or stopped, keeps
//! its service and so its virtual IP. Endpoints are the instances that expect a VM and have an address that is theirs (`residents`).

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use crate::{
    Deployment, Hostname, InstanceGroup, Inventory, Job, Lifecycle, Place, Port, Problem, Tld, VipRange,
    residents::Residents,
};

/// Where a service comes from, as written in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// Deployment.
    pub deployment: String,
    /// Instance group.
    pub group: String,
    /// Job.
    pub job: String,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Endpoint {
    /// Address of the VM.
    pub ip: IpAddr,
    /// Availability zone.
    pub az: Option<String>,
}

/// A service without its virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Service {
    /// Its name.
    pub host: Hostname,
    /// Where it is declared.
    pub origin: Origin,
    /// What it exposes, in the order written; never empty.
    pub ports: Vec<Port>,
    /// Its instances, in order of their index.
    pub endpoints: Vec<Endpoint>,
}

/// Services of an inventory, sorted by name, and what stands in the way of more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The services.
    pub services: Vec<Service>,
    /// Names that are no DNS names, collisions, addresses inside the virtual-IP range.
    pub problems: Vec<Problem>,
}

/// Computes the services. Two that come out with the same name: the first in the inventory's order keeps it.
pub fn discover(inventory: &Inventory, tld: &Tld, range: VipRange) -> Discovery {
    let mut services: BTreeMap<Hostname, Service> = BTreeMap::new();
    let residents = Residents::of(inventory, range);
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
            if let Some(first) = services.get(&host) {
                problems.push(collision(place, &host, &first.origin));
                continue;
            }
            let endpoints = residents.endpoints(&deployment.name, &group.name);
            let origin =
                Origin { deployment: deployment.name.clone(), group: group.name.clone(), job: job.name.clone() };
            services.insert(host.clone(), Service { host, origin, ports: job.ports.clone(), endpoints });
        }
    }
    problems.extend(residents.problems);
    problems.extend(inventory.deployments.iter().flat_map(|deployment| deployment.problems.iter().cloned()));
    Discovery { services: services.into_values().collect(), problems }
}

fn exposing_jobs(deployment: &Deployment) -> impl Iterator<Item = (&InstanceGroup, &Job)> {
    deployment
        .groups
        .iter()
        .filter(|group| group.lifecycle == Lifecycle::Service)
        .flat_map(|group| group.jobs.iter().map(move |job| (group, job)))
        .filter(|(_, job)| !job.ports.is_empty())
}

fn collision(place: Place, host: &Hostname, first: &Origin) -> Problem {
    let holder = Place::deployment(&first.deployment).group(&first.group).job(&first.job);
    Problem::new(place, format!("has the mesh name {host} of {holder}, which keeps it; rename one of them"))
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
