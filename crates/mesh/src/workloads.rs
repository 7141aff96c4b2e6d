//! The workloads of a snapshot, and where each is found.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    net::IpAddr,
};

use crate::{Shared, Workload, WorkloadPlan};

/// The workloads of a snapshot, in the order of the inventory.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    plans: Vec<Shared<WorkloadPlan>>,
    by_address: ByAddress,
}

/// Indexes of workloads by their addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByAddress(HashMap<IpAddr, usize>);

impl Workloads {
    /// Plans, and where each is found.
    pub(crate) fn new(plans: Vec<Shared<WorkloadPlan>>, by_address: ByAddress) -> Self {
        Self { plans, by_address }
    }

    /// The workload that has an address. A block of addresses is found by its first one.
    pub fn at(&self, ip: IpAddr) -> Option<&Shared<WorkloadPlan>> {
        self.by_address.get(ip).and_then(|index| self.plans.get(index))
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Shared<WorkloadPlan>> {
        self.plans.iter()
    }

    /// The plan for a workload that may be the same as this one: the one at its first address.
    pub(crate) fn like(&self, workload: &Workload) -> Option<&Shared<WorkloadPlan>> {
        self.at(workload.addresses.first()?.address.ip)
    }
}

impl ByAddress {
    pub(crate) fn of(workloads: &[Shared<Workload>]) -> Self {
        let mut indexes = HashMap::with_capacity(workloads.len());
        for (index, workload) in workloads.iter().enumerate() {
            for own in &workload.addresses {
                indexes.entry(own.address.ip).or_insert(index);
            }
        }
        Self(indexes)
    }

    pub(crate) fn get(&self, ip: IpAddr) -> Option<usize> {
        self.0.get(&ip).copied()
    }
}

impl PartialEq for Workloads {
    fn eq(&self, other: &Self) -> bool {
        self.plans == other.plans
    }
}

impl Eq for Workloads {}

impl Hash for Workloads {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plans.hash(state);
    }
}
