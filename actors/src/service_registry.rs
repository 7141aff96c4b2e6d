//! Combines inventory and leases into the snapshot that all readers share.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, AtomicResponse, Context, Handler, Message, WrapFuture};
use arc_swap::{ArcSwap, ArcSwapOption};
use boshy_mesh::{
    Discovery, Inventory, LeaseRules, Leases, MeshRules, MeshSnapshot, MtlsMode, MtlsRules, Policies, Problem,
    SnapshotContent, Tld, TrustDomain, discover,
};
use boshy_supervision::{ChildRef, SendError};
use boshy_xds::Proxies;
use err_report::Report;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    records_file::{self, RecordsFile},
    tunnelled_services::{self, TunnelledServices},
    vip_pool::{LeaseError, ReconcileLeases, VipPool},
};

/// How often it is looked whether other instances accept tunnels.
const LOOK: Duration = Duration::from_secs(1);

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
    /// Settings of mutual TLS; `None` when the mesh has no certificates.
    pub(crate) mtls: Option<Mtls>,
    /// The inventory that was observed last.
    pub(crate) observed: Arc<ArcSwapOption<Inventory>>,
}

/// Settings of mutual TLS, and what is remembered of it.
#[derive(Clone)]
pub(crate) struct Mtls {
    /// Trust domain of the certificates.
    pub(crate) domain: TrustDomain,
    /// Mode of each port for which no document says another.
    pub(crate) mode: MtlsMode,
    /// The services that are tunnelled.
    pub(crate) tunnelled: Arc<TunnelledServices>,
}

impl Mtls {
    async fn rules(&self, able: BTreeSet<String>) -> MtlsRules {
        let tunnelled = self.tunnelled.known().await;
        MtlsRules { domain: self.domain.clone(), mode: self.mode, able: able.into(), tunnelled }
    }
}

impl ServiceRegistryParts {
    async fn publish(self, inventory: Arc<Inventory>) -> Result<(), RegistryError> {
        let inventory = records_file::completed(inventory, &*self.records.rows().await);
        let published = self.snapshot.borrow().clone();
        let found = discover(&inventory, &self.tld, self.rules.range, &published.content.workloads);
        let request = ReconcileLeases { claims: found.claims(), published, accepted: self.proxies.oldest() };
        let reconciled = self.pool.send(request).await??;
        let collisions = found.collisions(&reconciled.leases);
        let mtls = match &self.mtls {
            Some(mtls) => Some(mtls.rules(self.proxies.able()).await),
            None => None,
        };
        let rules = MeshRules { mtls, policies: Policies::of(&inventory.policies) };
        let of_policies = rules.problems(&inventory, &found);
        self.report([found.problems.clone(), collisions, reconciled.problems(&self.rules), of_policies].concat());
        let content = self.assemble(&found, &reconciled.leases, rules).await;
        self.snapshot.send_if_modified(|current| {
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

    /// The next content. Which services are tunnelled is on disk before it is published: a service of which that cannot
    /// be written stays as it is.
    async fn assemble(&self, found: &Discovery, leases: &Leases, mut rules: MeshRules) -> SnapshotContent {
        let published = self.snapshot.borrow().clone();
        let assembled = |rules: &MeshRules| SnapshotContent::assemble(found, leases, rules, &published.content);
        let content = assembled(&rules);
        let (Some(mtls), Some(of_mtls)) = (&self.mtls, &mut rules.mtls) else { return content };
        if mtls.tunnelled.keep(tunnelled_services::to_keep(&content, &of_mtls.tunnelled, leases)).await {
            return content;
        }
        of_mtls.able = Arc::default();
        assembled(&rules)
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

/// Instances have become able to accept tunnels, or are no longer.
#[derive(Message)]
#[rtype(result = "()")]
struct AbleChanged;

/// See the module's documentation.
pub(crate) struct ServiceRegistry {
    parts: ServiceRegistryParts,
    /// Counts changes of the instances that are able.
    able: watch::Receiver<u64>,
}

impl ServiceRegistry {
    pub(crate) fn new(parts: ServiceRegistryParts) -> Self {
        let able = parts.proxies.able_changes();
        Self { parts, able }
    }

    /// Looks whether other instances are able. A fleet that connects changes this thousands of times within a moment.
    fn look(&mut self, context: &mut Context<Self>) {
        if self.able.has_changed().unwrap_or_default() {
            self.able.mark_unchanged();
            context.notify(AbleChanged);
        }
    }
}

impl Actor for ServiceRegistry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if self.parts.mtls.is_some() {
            context.run_interval(LOOK, Self::look);
        }
    }
}

impl Handler<InventoryObserved> for ServiceRegistry {
    /// Atomic: two inventories are never processed at once, so the later one wins.
    type Result = AtomicResponse<Self, Result<(), RegistryError>>;

    fn handle(&mut self, message: InventoryObserved, _: &mut Context<Self>) -> Self::Result {
        self.parts.observed.store(Some(Arc::clone(&message.0)));
        AtomicResponse::new(Box::pin(self.parts.clone().publish(message.0).into_actor(self)))
    }
}

impl Handler<AbleChanged> for ServiceRegistry {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: AbleChanged, _: &mut Context<Self>) -> Self::Result {
        let parts = self.parts.clone();
        let publish = async move {
            let Some(inventory) = parts.observed.load_full() else { return };
            if let Err(error) = parts.publish(inventory).await {
                // The sender of the next inventory learns of it as well.
                warn!(error = %Report::new(&error), "which instances accept tunnels has changed, and is not published");
            }
        };
        AtomicResponse::new(Box::pin(publish.into_actor(self)))
    }
}

#[cfg(test)]
#[path = "service_registry_tests.rs"]
mod tests;
