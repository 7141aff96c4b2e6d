//! Combines inventory and leases into the snapshot that all readers share.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, WrapFuture};
use arc_swap::{ArcSwap, ArcSwapOption};
use boshy_mesh::{
    Discovery, Inventory, LeaseRules, Leases, MeshRules, MeshSnapshot, Moment, Policies, Problem, ReportTable,
    SnapshotContent, Tld, discover,
};
use boshy_records::Readings;
use boshy_supervision::{ChildRef, SendError};
use boshy_xds::{AgentReports, Proxies};
use err_report::Report;
use futures::{Stream, stream};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    modes::{Advance, Modes},
    records_file::{RecordedFacts, RecordsFile},
    shared_leases::Agreed,
    vip_pool::{LeaseError, Leased, ReconcileLeases, VipPool},
};

/// How often it is looked what agents report, what proxies have accepted, and whether other leases are agreed.
const LOOK: Duration = Duration::from_secs(1);
/// How long instances that are about to stop gather: a deployment that is deleted stops all of its own.
const GATHER: Duration = Duration::from_millis(50);

/// A director was read completely: its facts, and when they were asked for.
#[derive(Message)]
#[rtype(result = "Result<(), RegistryError>")]
pub(crate) struct InventoryObserved(pub(crate) Arc<Inventory>, pub(crate) Readings);

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
    /// The file that maps addresses to networks, and tells of changes before the director was asked.
    pub(crate) records: Arc<RecordsFile>,
    /// Proxies that may still know released addresses.
    pub(crate) proxies: Proxies,
    /// What the agents report of their VMs.
    pub(crate) reports: AgentReports,
    /// The published snapshots. This actor is the only writer.
    pub(crate) snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>>,
    /// Problems that operators should correct.
    pub(crate) problems: Arc<ArcSwap<Vec<Problem>>>,
    /// Settings of mutual TLS; `None` when the mesh has no certificates.
    pub(crate) mtls: Option<Modes>,
    /// The table of leases that all pilots share, if they share one.
    pub(crate) agreed: Option<watch::Receiver<Agreed>>,
    /// The clock of the leases.
    pub(crate) clock: Clock,
    /// The inventory that was observed last.
    pub(crate) observed: Arc<ArcSwapOption<(Arc<Inventory>, Readings)>>,
}

/// A round that has changed nothing. Another one of the same facts would change nothing either, until others say
/// something else ([`OthersChanged`]) or time has passed.
struct Settled {
    facts: RecordedFacts,
    until: Moment,
}

impl ServiceRegistryParts {
    /// Publishes what follows from the facts, unless they are `settled`.
    async fn publish(self, settled: Option<Settled>) -> Result<Option<Settled>, RegistryError> {
        let Some(observed) = self.observed.load_full() else { return Ok(None) };
        let facts = self.records.beside(&observed.0, &observed.1).await;
        let now = self.clock.look().moment;
        if settled.as_ref().is_some_and(|settled| settled.facts.are(&facts) && now < settled.until) {
            return Ok(settled);
        }
        let inventory = facts.completed();
        let published = self.snapshot.borrow().clone();
        let found = discover(&inventory, &self.tld, self.rules.range, &published.content.workloads);
        let request = ReconcileLeases { claims: found.claims(), published, accepted: self.proxies.oldest() };
        let Leased { reconciled, until } = self.pool.send(request).await??;
        let collisions = found.collisions(&reconciled.leases);
        let mtls = self.mtls.as_ref().map(Modes::rules);
        let stopping = self.reports.stops().ids();
        let rules = MeshRules { mtls, policies: self.policies(&inventory), stopping };
        let of_policies = rules.problems(&inventory, &found);
        self.report([found.problems.clone(), collisions, reconciled.problems(&self.rules), of_policies].concat());
        let (content, advance) = self.assemble(&found, &reconciled.leases, rules).await;
        let content = content.of_table(reconciled.table);
        let is_new = self.snapshot.send_if_modified(|current| {
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
        if let (Some(mtls), Some(advance)) = (&self.mtls, &advance) {
            mtls.published(advance, &self.snapshot.borrow());
        }
        let rests = !is_new && advance.is_none_or(|advance| advance.is_over);
        Ok(until.filter(|_| rests).map(|until| Settled { facts, until }))
    }

    fn policies(&self, inventory: &Inventory) -> Policies {
        let written = Policies::of(&inventory.policies);
        match &self.mtls {
            Some(mtls) => written.with_links(&inventory.deployments, &mtls.domain, mtls.from_links),
            None => written,
        }
    }

    /// The next content, and how it changes modes.
    async fn assemble(
        &self,
        found: &Discovery,
        leases: &Leases,
        mut rules: MeshRules,
    ) -> (SnapshotContent, Option<Advance>) {
        let advance = match &self.mtls {
            Some(mtls) => Some(mtls.advance(found, leases, &rules, &self.reports.table()).await),
            None => None,
        };
        if let (Some(of_mtls), Some(advance)) = (&mut rules.mtls, &advance) {
            of_mtls.stages = Arc::clone(&advance.after);
        }
        let published = self.snapshot.borrow().clone();
        (SnapshotContent::assemble(found, leases, &rules, &published.content), advance)
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

/// What the snapshot also depends on has changed: what agents report, what proxies have accepted, the agreed leases, or
/// `records.json`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct OthersChanged;

/// See the module's documentation.
pub(crate) struct ServiceRegistry {
    parts: ServiceRegistryParts,
    /// Changes with what is reported.
    reported: watch::Receiver<ReportTable>,
    /// The last round, if it has changed nothing.
    settled: Option<Settled>,
}

impl ServiceRegistry {
    pub(crate) fn new(parts: ServiceRegistryParts) -> Self {
        let reported = parts.reports.changes();
        Self { parts, reported, settled: None }
    }

    /// Looks whether something else is reported, a port may change its mode further, or other leases are agreed. A fleet
    /// that connects changes the first thousands of times within a moment.
    fn look(&mut self, context: &mut Context<Self>) {
        let ServiceRegistryParts { reports, proxies, mtls, agreed, .. } = &mut self.parts;
        reports.sweep();
        let reported = self.reported.has_changed().unwrap_or_default();
        let agreed_anew = agreed.as_ref().is_some_and(|agreed| agreed.has_changed().unwrap_or_default());
        let accepted = mtls.as_ref().is_some_and(|mtls| mtls.look(reports, proxies));
        if reported || agreed_anew || accepted {
            self.reported.mark_unchanged();
            agreed.iter_mut().for_each(watch::Receiver::mark_unchanged);
            context.notify(OthersChanged);
        }
    }
}

/// Says when instances are about to stop or no longer are, without waiting for the next look: their jobs wait until their
/// callers know.
fn stops(reports: &AgentReports) -> impl Stream<Item = OthersChanged> + use<> {
    stream::unfold(reports.stop_changes(), |mut changes| async move {
        changes.changed().await.ok()?;
        sleep(GATHER).await;
        changes.mark_unchanged();
        Some((OthersChanged, changes))
    })
}

impl Actor for ServiceRegistry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(LOOK, Self::look);
        context.add_message_stream(stops(&self.parts.reports));
    }
}

impl Handler<InventoryObserved> for ServiceRegistry {
    /// Atomic: two inventories are never processed at once, so the later one wins.
    type Result = AtomicResponse<Self, Result<(), RegistryError>>;

    fn handle(&mut self, message: InventoryObserved, _: &mut Context<Self>) -> Self::Result {
        self.parts.observed.store(Some(Arc::new((message.0, message.1))));
        let published = self.parts.clone().publish(self.settled.take()).into_actor(self);
        AtomicResponse::new(Box::pin(published.map(|published, actor, _| {
            actor.settled = published?;
            Ok(())
        })))
    }
}

impl Handler<OthersChanged> for ServiceRegistry {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: OthersChanged, _: &mut Context<Self>) -> Self::Result {
        let published = self.parts.clone().publish(None).into_actor(self);
        AtomicResponse::new(Box::pin(published.map(|published, actor, _| {
            actor.settled = published.unwrap_or_else(|error| {
                // The sender of the next inventory learns of it as well.
                warn!(error = %Report::new(&error), "what the mesh depends on has changed, and is not published");
                None
            });
        })))
    }
}

#[cfg(test)]
#[path = "service_registry_tests.rs"]
mod tests;
