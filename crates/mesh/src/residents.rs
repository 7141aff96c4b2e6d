//! Decides which instance owns which address. Pure.
//!
//! An address leads to one VM. A director gives it to one instance at a time, but the facts of a deployment that cannot
//! be read are old, and its addresses may have a new owner by now. So each address belongs to the newest claim: the one
//! of the VM created last by the director's own clock. When the clock does not decide, the instance that was first seen
//! most recently with its VM and addresses owns it. All instances claim their addresses, also those that expose no
//! port.

use std::{cmp::Ordering, collections::HashMap, net::IpAddr};

use crate::{
    Deployment, Endpoint, Instance, InstanceGroup, Inventory, Lifecycle, Place, Problem, VipRange, address::impossible,
};

/// An instance's claim to an address.
#[derive(Clone, Copy)]
struct Claim<'i> {
    deployment: &'i str,
    instance: &'i Instance,
}

/// Endpoints of every group that exposes a port, and the problems that exclude other instances.
pub(crate) struct Residents<'i> {
    endpoints: HashMap<(&'i str, &'i str), Vec<Endpoint>>,
    pub(crate) problems: Vec<Problem>,
}

impl<'i> Residents<'i> {
    pub(crate) fn of(inventory: &'i Inventory, range: VipRange) -> Self {
        let owners = owners(inventory);
        let mut residents = Self { endpoints: HashMap::new(), problems: Vec::new() };
        for deployment in &inventory.deployments {
            for instance in deployment.instances.iter().filter(|instance| instance.expects_vm) {
                let Some(group) = deployment.group_of(instance).filter(|group| group.exposes()) else { continue };
                let place = Place::deployment(&deployment.name).group(&group.name);
                let claim = Claim { deployment: &deployment.name, instance };
                let mut problem = |reason: String| {
                    residents
                        .problems
                        .push(Problem::new(place.clone(), format!("instance {} {reason}", instance.title())));
                };
                for (ip, reason) in instance.addresses().filter_map(|ip| Some((ip, impossible(ip)?))) {
                    problem(format!("has the address {ip}, which {reason}; it is left out"));
                }
                let Some(ip) = instance.address(group, &inventory.networks) else { continue };
                if let IpAddr::V4(ip) = ip
                    && range.contains(ip)
                {
                    problem(format!("has the address {ip} inside the virtual-IP range {range}; choose another range"));
                    continue;
                }
                if let Some(owner) = owners.get(&ip).filter(|owner| !owner.is(claim)) {
                    let now = format!("instance {} of deployment {:?}", owner.instance.title(), owner.deployment);
                    problem(format!("has the address {ip}, which {now} has claimed since; it is left out"));
                    continue;
                }
                let endpoint = Endpoint { ip, az: instance.az.clone() };
                residents.endpoints.entry((&deployment.name, &group.name)).or_default().push(endpoint);
            }
        }
        residents
    }

    pub(crate) fn endpoints(&self, deployment: &str, group: &str) -> Vec<Endpoint> {
        self.endpoints.get(&(deployment, group)).cloned().unwrap_or_default()
    }
}

/// The newest claim to each address.
fn owners(inventory: &Inventory) -> HashMap<IpAddr, Claim<'_>> {
    let mut owners: HashMap<IpAddr, Claim<'_>> = HashMap::new();
    for deployment in &inventory.deployments {
        for instance in deployment.instances.iter().filter(|instance| instance.expects_vm) {
            let claim = Claim { deployment: &deployment.name, instance };
            for ip in instance.addresses() {
                let owner = owners.entry(ip).or_insert(claim);
                if claim.newer(*owner) == Ordering::Greater {
                    *owner = claim;
                }
            }
        }
    }
    owners
}

impl Claim<'_> {
    fn is(self, other: Self) -> bool {
        self.deployment == other.deployment && self.instance.id == other.instance.id
    }

    /// Orders two claims. Never equal for two instances, so that two pilots with the same facts reach the same result.
    fn newer(self, other: Self) -> Ordering {
        let made = match (self.instance.vm_created_at, other.instance.vm_created_at) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => Ordering::Equal,
        };
        let by_name = || (other.deployment, &other.instance.id).cmp(&(self.deployment, &self.instance.id));
        made.then_with(|| self.instance.since.cmp(&other.instance.since)).then_with(by_name)
    }
}

impl Deployment {
    /// The manifest's group to which an instance belongs. Compilation VMs belong to none.
    ///
    /// An instance is identified by its id. When the manifest does not contain the instance's group (not yet, or no
    /// longer), the instance stays in the group in which it was last found, or goes to the group that lists its group
    /// under `migrated_from`.
    pub fn group_of(&self, instance: &Instance) -> Option<&InstanceGroup> {
        let named = |name: &str| self.groups.iter().find(|group| group.name == name);
        let migrated = || self.groups.iter().find(|group| group.migrated_from.contains(&instance.group));
        named(&instance.group).or_else(|| named(instance.formerly.as_deref()?)).or_else(migrated)
    }
}

impl InstanceGroup {
    pub(crate) fn exposes(&self) -> bool {
        self.lifecycle == Lifecycle::Service && self.jobs.iter().any(|job| !job.ports.is_empty())
    }
}

#[cfg(test)]
#[path = "residents_tests.rs"]
mod tests;
