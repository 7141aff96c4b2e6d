//! Decides which instance owns which address, and so who is there. Pure.
//!
//! An address leads to one VM. A director gives it to one instance at a time, but the facts of a deployment that cannot
//! be read are old, and its addresses may have a new owner by now. So each address belongs to the newest claim: the one
//! of the VM created last by the director's own clock. When the clock does not decide, the instance that was first seen
//! most recently with its VM and addresses owns it. All instances claim their addresses, also those that expose no
//! port.

use std::{cmp::Ordering, collections::HashMap, net::IpAddr};

use crate::{
    Address, CloudNetwork, Deployment, Endpoint, Instance, InstanceGroup, Inventory, NetworkAddress, Place, Problem,
    Shared, VipRange, Workload, Workloads, address::impossible,
};

/// An instance's claim to an address.
#[derive(Clone, Copy)]
struct Claim<'i> {
    deployment: &'i str,
    instance: &'i Instance,
}

/// What makes an instance a workload, where the inventory has it. Most facts are those of a workload that is known
/// already, so they are compared before they are copied.
struct Facts<'i> {
    claim: Claim<'i>,
    group: Option<&'i InstanceGroup>,
    networks: &'i [CloudNetwork],
    owners: &'i HashMap<IpAddr, Claim<'i>>,
}

/// All workloads, the endpoints of every group that exposes a port, and the problems that exclude other instances.
pub(crate) struct Residents<'i> {
    endpoints: HashMap<(&'i str, &'i str), Vec<Endpoint>>,
    pub(crate) workloads: Vec<Shared<Workload>>,
    pub(crate) problems: Vec<Problem>,
}

impl<'i> Residents<'i> {
    pub(crate) fn of(inventory: &'i Inventory, range: VipRange, known: &Workloads) -> Self {
        let owners = owners(inventory);
        let mut residents = Self { endpoints: HashMap::new(), workloads: Vec::new(), problems: Vec::new() };
        for deployment in &inventory.deployments {
            for instance in &deployment.instances {
                let claim = Claim { deployment: &deployment.name, instance };
                let group = deployment.group_of(instance);
                let facts = Facts { claim, group, networks: &inventory.networks, owners: &owners };
                let workload = facts.workload(known);
                residents.workloads.extend(workload.clone());
                let Some(group) = group.filter(|group| instance.expects_vm && group.exposes()) else { continue };
                let place = Place::deployment(&deployment.name).group(&group.name);
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
                let endpoint = workload.map(|workload| Endpoint { ip, workload });
                residents.endpoints.entry((&deployment.name, &group.name)).or_default().extend(endpoint);
            }
        }
        residents
    }

    pub(crate) fn endpoints(&self, deployment: &str, group: &str) -> Vec<Endpoint> {
        self.endpoints.get(&(deployment, group)).cloned().unwrap_or_default()
    }
}

/// The newest claim to each address. An instance that expects no VM has no address, unless the director says so and no
/// other instance claims it.
fn owners(inventory: &Inventory) -> HashMap<IpAddr, Claim<'_>> {
    let instances = inventory.deployments.iter().map(|deployment| deployment.instances.len()).sum();
    let mut owners: HashMap<IpAddr, Claim<'_>> = HashMap::with_capacity(instances);
    for deployment in &inventory.deployments {
        for instance in &deployment.instances {
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

impl<'i> Facts<'i> {
    /// The workload; the known one when nothing has changed. `None` without an address of its own.
    fn workload(&self, known: &Workloads) -> Option<Shared<Workload>> {
        let first = self.claim.instance.reachable().next()?;
        let known = known.at(first.ip).map(|plan| &plan.workload).filter(|known| self.are_those_of(known));
        known.cloned().or_else(|| self.addresses().next().map(|_| Shared::new(self.to_workload())))
    }

    fn to_workload(&self) -> Workload {
        let owned = |(address, network): (Address, Option<&str>)| NetworkAddress {
            address,
            network: network.map(str::to_owned),
        };
        Workload {
            id: self.claim.instance.id.clone(),
            deployment: self.claim.deployment.to_owned(),
            group: self.group_name().to_owned(),
            addresses: self.addresses().map(owned).collect(),
            agent_id: self.claim.instance.agent_id.clone(),
            az: self.claim.instance.az.clone(),
            jobs: self.jobs().map(str::to_owned).collect(),
        }
    }

    fn are_those_of(&self, known: &Workload) -> bool {
        let Workload { id, deployment, group, addresses, agent_id, az, jobs } = known;
        let addresses = addresses.iter().map(|own| (own.address, own.network.as_deref()));
        *id == self.claim.instance.id
            && deployment == self.claim.deployment
            && group == self.group_name()
            && self.addresses().eq(addresses)
            && *agent_id == self.claim.instance.agent_id
            && *az == self.claim.instance.az
            && self.jobs().eq(jobs)
    }

    fn group_name(&self) -> &'i str {
        self.group.map_or(&self.claim.instance.group, |group| &group.name)
    }

    /// The addresses that no other instance has claimed since, each with its network.
    fn addresses(&self) -> impl Iterator<Item = (Address, Option<&'i str>)> {
        let Self { claim, group, networks, owners } = *self;
        let is_own = move |address: &Address| owners.get(&address.ip).is_none_or(|owner| owner.is(claim));
        let network = move |address| Some(claim.instance.network_of(address, group?, networks)?.name.as_str());
        claim.instance.reachable().filter(is_own).map(move |address| (address, network(address)))
    }

    fn jobs(&self) -> impl Iterator<Item = &'i str> {
        self.group.into_iter().flat_map(|group| &group.jobs).map(|job| job.name.as_str())
    }
}

impl Claim<'_> {
    fn is(self, other: Self) -> bool {
        self.deployment == other.deployment && self.instance.id == other.instance.id
    }

    /// Orders two claims. Never equal for two instances, so that two pilots with the same facts reach the same result.
    fn newer(self, other: Self) -> Ordering {
        let is_there = self.instance.expects_vm.cmp(&other.instance.expects_vm);
        let made = match (self.instance.vm_created_at, other.instance.vm_created_at) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => Ordering::Equal,
        };
        let by_name = || (other.deployment, &other.instance.id).cmp(&(self.deployment, &self.instance.id));
        is_there.then(made).then_with(|| self.instance.since.cmp(&other.instance.since)).then_with(by_name)
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

#[cfg(test)]
#[path = "residents_tests.rs"]
mod tests;
