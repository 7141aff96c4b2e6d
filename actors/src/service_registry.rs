//! Combines inventory and leases into the snapshot that all readers share.

use std::sync::Arc;

use actix::{Actor, AtomicResponse, Context, Handler, Message, WrapFuture};
use arc_swap::ArcSwap;
use boshy_mesh::{Inventory, LeaseRules, MeshRules, MeshSnapshot, Policies, Problem, SnapshotContent, Tld, discover};
use boshy_supervision::{ChildRef, SendError};
use boshy_xds::Proxies;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    records_file::{self, RecordsFile},
    vip_pool::{LeaseError, ReconcileLeases, VipPool},
};

/// A director was read completely.
#[derive(Message)]
#[rtype(result = "Result<(), RegistryError>")]
pub(crate) struct InventoryObserved(pub(crate) Arc<Inventory>);

/// Why the snapshot stays as it is. The sender of the inventory sends it again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// The pool returned no leases.
    #[error("lease virtual IPs")]
    Leases(#[from] LeaseError),
    /// The pool did not answer.
    #[error("ask the virtual-IP pool")]
    Pool(#[from] SendError),
}

/// Configuration and channels of the registry; they outlive the actor.
#[derive(Clone)]
pub(crate) struct ServiceRegistryParts {
    /// Zone of the mesh.
    pub(crate) tld: Tld,
    /// Rules of the leases: range, quarantine and share.
    pub(crate) rules: LeaseRules,
    /// The pool that leases the addresses.
    pub(crate) pool: ChildRef<VipPool>,
    /// The file that maps addresses to networks.
    pub(crate) records: Arc<RecordsFile>,
    /// Proxies that may still know released addresses.
    pub(crate) proxies: Proxies,
    /// The published snapshots. This actor is the only writer.
    pub(crate) snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>>,
    /// Problems that operators should correct.
    pub(crate) problems: Arc<ArcSwap<Vec<Problem>>>,
}

impl ServiceRegistryParts {
    async fn publish(self, inventory: Arc<Inventory>) -> Result<(), RegistryError> {
        let inventory = records_file::completed(inventory, &*self.records.rows().await);
        let published = self.snapshot.borrow().clone();
        let found = discover(&inventory, &self.tld, self.rules.range, &published.content.workloads);
        let request = ReconcileLeases { claims: found.claims(), published, accepted: self.proxies.oldest() };
        let reconciled = self.pool.send(request).await??;
        let collisions = found.collisions(&reconciled.leases);
        let rules = MeshRules { mtls: None, policies: Policies::of(&inventory.policies) };
        let of_policies = rules.problems(&inventory, &found);
        self.report([found.problems.clone(), collisions, reconciled.problems(&self.rules), of_policies].concat());
        self.snapshot.send_if_modified(|current| {
            let content = SnapshotContent::assemble(&found, &reconciled.leases, &rules, &current.content);
            let Some(next) = current.next(content) else { return false };
            info!(
                generation = next.generation,
                hash = next.hash,
                services = next.content.services.len(),
                "mesh changed"
            );
            *current = Arc::new(next);
            true
        });
        Ok(())
    }

    /// Logs each problem when it first appears, not in every round.
    fn report(&self, problems: Vec<Problem>) {
        let known = self.problems.load();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            warn!(%problem, "something to mend");
        }
        self.problems.store(Arc::new(problems));
    }
}

/// See the module's documentation.
pub(crate) struct ServiceRegistry(pub(crate) ServiceRegistryParts);

impl Actor for ServiceRegistry {
    type Context = Context<Self>;
}

impl Handler<InventoryObserved> for ServiceRegistry {
    /// Atomic: two inventories are never processed at once, so the later one wins.
    type Result = AtomicResponse<Self, Result<(), RegistryError>>;

    fn handle(&mut self, message: InventoryObserved, _: &mut Context<Self>) -> Self::Result {
        AtomicResponse::new(Box::pin(self.0.clone().publish(message.0).into_actor(self)))
    }
}

#[cfg(test)]
#[path = "service_registry_tests.rs"]
mod tests;
