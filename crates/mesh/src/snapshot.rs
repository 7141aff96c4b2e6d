//! The state of the mesh at one moment, which all readers share.

use crate::{
    Discovery, Leases, MeshRules, NameTable, ServicePlan, Shared, Workload, Workloads, join, shared::ContentHash,
};

/// Content of a snapshot, without its generation. Unchanged plans are shared with the previous snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotContent {
    /// Services with an address, sorted by name.
    pub services: Vec<Shared<ServicePlan>>,
    /// Workloads, whether they expose a port or not.
    pub workloads: Workloads,
    /// Version of the table of leases that several pilots share, counted from 1. `None` for a table of one pilot.
    pub table: Option<u64>,
}

/// An immutable state of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshSnapshot {
    /// Increases with every change during the life of the process. It cannot be compared across restarts or between
    /// pilots.
    pub generation: u64,
    /// Equal for equal content, on every pilot of the same build: the first 16 hexadecimal digits of a SHA-256. It is
    /// folded from the hashes that the plans know of themselves.
    pub hash: String,
    /// Its content.
    pub content: SnapshotContent,
}

impl SnapshotContent {
    /// Assembles the services that hold a lease, and all workloads. Unchanged ones are shared with `previous`.
    pub fn assemble(found: &Discovery, leases: &Leases, rules: &MeshRules, previous: &Self) -> Self {
        let services = join::services(found, leases, rules, &previous.services);
        Self::join(services, found.workloads.iter().cloned(), rules, previous)
    }

    /// Joins services, sorted by name, with workloads: those of their endpoints, and any others.
    pub fn join(
        services: Vec<Shared<ServicePlan>>,
        workloads: impl IntoIterator<Item = Shared<Workload>>,
        rules: &MeshRules,
        previous: &Self,
    ) -> Self {
        let workloads = join::workloads(workloads, &services, rules, &previous.workloads);
        Self { services, workloads, table: None }
    }

    /// The same by a version of the table that pilots share.
    #[must_use]
    pub fn of_table(self, table: Option<u64>) -> Self {
        Self { table, ..self }
    }

    /// A service by name.
    pub fn service(&self, host: &str) -> Option<&Shared<ServicePlan>> {
        let index = self.services.binary_search_by(|plan| plan.host().as_str().cmp(host)).ok()?;
        self.services.get(index)
    }

    /// The name table.
    pub fn names(&self) -> NameTable {
        self.services.iter().map(|plan| (plan.service.host.clone(), plan.vip)).collect()
    }
}

impl MeshSnapshot {
    /// The next snapshot, or `None` when the content is unchanged.
    #[must_use]
    pub fn next(&self, content: SnapshotContent) -> Option<Self> {
        if self.generation > 0 && content == self.content {
            return None;
        }
        Some(Self { generation: self.generation + 1, hash: ContentHash::of(&content).to_string(), content })
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
