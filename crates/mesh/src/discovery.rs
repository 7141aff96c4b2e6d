//! Inventory to services.
//!
//! A service exists because a manifest exposes a port, not because an instance runs: a group scaled to none, or stopped, keeps
//! its service and so its virtual IP. Endpoints are the instances that expect a VM and have an address. Instances are matched
//! by the groups of the manifest, so compilation VMs never appear.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;

use crate::{
    Deployment, Hostname, Instance, InstanceGroup, Inventory, Job, Lifecycle, Place, Port, Problem, Tld, VipRange,
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
            let endpoints = endpoints(deployment, group, range, &place, &mut problems);
            let origin =
                Origin { deployment: deployment.name.clone(), group: group.name.clone(), job: job.name.clone() };
            services.insert(host.clone(), Service { host, origin, ports: job.ports.clone(), endpoints });
        }
    }
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

fn endpoints(
    deployment: &Deployment,
    group: &InstanceGroup,
    range: VipRange,
    place: &Place,
    problems: &mut Vec<Problem>,
) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for instance in deployment.instances.iter().filter(|instance| instance.group == group.name && instance.expects_vm) {
        match address(instance) {
            Some(IpAddr::V4(ip)) if range.contains(ip) => problems.push(Problem::new(
                place.clone(),
                format!(
                    "instance {}/{} has the address {ip} inside the virtual-IP range {range}; choose another range",
                    instance.group, instance.index
                ),
            )),
            Some(ip) => endpoints.push(Endpoint { ip, az: instance.az.clone() }),
            None => {}
        }
    }
    endpoints
}

/// The address an instance is reached at. The director sorts addresses by number and does not name their networks, so with
/// several networks the lowest IPv4 address is taken.
pub(crate) fn address(instance: &Instance) -> Option<IpAddr> {
    instance.ips.iter().find(|ip| ip.is_ipv4()).or(instance.ips.first()).copied()
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
