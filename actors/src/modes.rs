//! Brings ports from one mode of mutual TLS to another ([`Stage`](boshy_mesh::Stage)): decides what is published next,
//! keeps it on disk before it is published, and looks who has accepted it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use boshy_mesh::{
    Discovery, FromLinks, Hostname, Leases, MeshRules, MeshSnapshot, Moves, MtlsMode, MtlsRules, ReportTable, Stage,
    Stages, Standing, TrustDomain,
};
use boshy_state::StateFileError;
use boshy_web::status::{ChangeStatus, Lack, LackChange, MtlsStatus};
use boshy_xds::{AgentReports, Proxies};
use err_report::Report;
use tracing::{info, warn};

use crate::{
    clock::Clock,
    kept_stages::{Kept, KeptStages},
};

/// Settings of mutual TLS, and how far its ports are. It outlives the actor. Clones share all state.
#[derive(Clone)]
pub(crate) struct Modes {
    /// Trust domain of the certificates.
    pub(crate) domain: TrustDomain,
    /// Mode of each port for which no document says another.
    pub(crate) mode: MtlsMode,
    /// What follows from BOSH links.
    pub(crate) from_links: FromLinks,
    /// The stages on disk.
    pub(crate) kept: Arc<KeptStages>,
    /// The clock.
    pub(crate) clock: Clock,
    /// What is waited for.
    pub(crate) progress: Progress,
}

/// What is waited for. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// `None` until this process has published something.
    moves: Arc<Mutex<Option<Moves>>>,
    /// The ports that are on their way.
    changing: Arc<ArcSwap<Vec<ChangeStatus>>>,
    /// Why stages are not on disk.
    unkept: Arc<ArcSwap<Option<Lack>>>,
}

/// What was published, and what is next.
pub(crate) struct Advance {
    before: Kept,
    pub(crate) after: Arc<Stages>,
    /// Whether the next one is the same, as long as [`Modes::look`] has no news and what else it is about stays.
    pub(crate) is_over: bool,
}

impl Modes {
    /// The rules by which every port would be where its mode begins.
    pub(crate) fn rules(&self) -> MtlsRules {
        MtlsRules::new(self.domain.clone(), self.mode)
    }

    /// Decides what is published next. It is on disk afterwards: while the disk takes nothing, no port moves.
    pub(crate) async fn advance(
        &self,
        found: &Discovery,
        leases: &Leases,
        rules: &MeshRules,
        reported: &ReportTable,
    ) -> Advance {
        let before = self.kept.known().await;
        let hosts: BTreeSet<&Hostname> = leases.iter().map(|(_, lease)| &lease.host).collect();
        let step = |standing: &dyn Fn(&Hostname, u16, bool) -> Standing| {
            let able = reported.able();
            before.stages.next(
                found.leased(leases).map(|(service, _)| service),
                |service, port| rules.mode(service, port),
                |service, port| standing(&service.host, port.number, service.is_able(&able)),
                |host| hosts.contains(host),
            )
        };
        let stays = |_: &Hostname, _, able| Standing { able, settled: false, late: false };
        let is_first = self.progress.moves().is_none();
        let next = {
            let moves = self.progress.moves();
            step(&|host, port, able| match &*moves {
                Some(moves) => {
                    Standing { able, settled: moves.is_settled(host, port), late: moves.is_late(host, port) }
                }
                None => stays(host, port, able),
            })
        };
        let agents = self.agents(&before, found, reported);
        let next = Kept { stages: Arc::new(next), agents };
        let after = Arc::clone(&next.stages);
        let unkept = self.kept.keep(next).await.err();
        let after = if unkept.is_none() { after } else { Arc::new(step(&stays)) };
        self.progress.show(found, leases, rules, &after);
        self.report(unkept.as_ref());
        let is_over = !is_first && unkept.is_none() && before.stages == after;
        Advance { before, after, is_over }
    }

    /// Says why no port changes its mode, when it begins, changes and ends.
    fn report(&self, unkept: Option<&StateFileError>) {
        let before = self.progress.lack();
        let lack = unkept.map(|error| {
            let remedy = format!(
                "Make {} writable for the pilot, with room on the disk; until then no port changes its mode.",
                self.kept.file().display()
            );
            let (since, reason) = (self.clock.look().wall.0, Report::new(error).to_string());
            Lack { what: "modes", since, reason, remedy }.lasting(&before)
        });
        match Lack::change(before.as_ref(), lack.as_ref()) {
            Some(LackChange::Lacks(lack)) => {
                warn!(reason = lack.reason, "no port changes its mode: it could not be kept");
            }
            Some(LackChange::Ended) => info!("modes of ports are on disk again"),
            None => return,
        }
        self.progress.unkept.store(Arc::new(lack));
    }

    /// The instances whose agents have to hear of the next move, also if this pilot starts again before.
    fn agents(&self, before: &Kept, found: &Discovery, reported: &ReportTable) -> BTreeSet<String> {
        let awaited =
            self.progress.moves().as_ref().map_or_else(|| before.agents.clone(), |moves| moves.awaited().clone());
        let is_there = |id: &str| awaited.contains(id) || reported.has(id);
        let listed = found.workloads.iter().map(|workload| &workload.id);
        listed.filter(|id| is_there(id)).cloned().collect()
    }

    /// Records that this is published.
    pub(crate) fn published(&self, advance: &Advance, snapshot: &MeshSnapshot) {
        let (now, generation) = (self.clock.look().moment, snapshot.generation);
        let Advance { before, after, .. } = advance;
        let mut moves = self.progress.moves();
        let moves = moves.get_or_insert_with(|| {
            let plans = snapshot.content.workloads.iter().map(|plan| &plan.workload.id);
            let awaited = plans.filter(|id| before.agents.contains(*id)).cloned().collect();
            Moves::resumed(&before.stages, generation, awaited, now)
        });
        moves.published(&before.stages, after, generation, now);
    }

    /// Looks who has accepted what was published. Returns whether a port may move that could not before.
    pub(crate) fn look(&self, reports: &AgentReports, proxies: &Proxies) -> bool {
        let mut moves = self.progress.moves();
        let Some(moves) = moves.as_mut().filter(|moves| !moves.are_over()) else { return false };
        let (reported, connected) = (reports.table(), proxies.instances());
        // What the callers have that are connected to other pilots is not known.
        let all_here = reported.iter().all(|(instance, _)| connected.contains(&**instance));
        let accepted = |generation| all_here && proxies.oldest().is_none_or(|oldest| oldest >= generation);
        moves.look(|instance| reported.has(instance), accepted, self.clock.look().moment)
    }
}

impl Progress {
    /// What operators are shown.
    pub(crate) fn status(&self, mode: MtlsMode) -> MtlsStatus {
        let awaited = self.moves().as_ref().map(|moves| moves.awaited().iter().cloned().collect());
        MtlsStatus { mode, changing: self.changing.load().as_ref().clone(), awaited: awaited.unwrap_or_default() }
    }

    /// The note for operators, if any.
    pub(crate) fn lack(&self) -> Option<Lack> {
        self.unkept.load().as_ref().clone()
    }

    fn show(&self, found: &Discovery, leases: &Leases, rules: &MeshRules, stages: &Stages) {
        let ports = found.leased(leases).flat_map(|(service, _)| service.ports.iter().map(move |port| (service, port)));
        let changing = ports.filter_map(|(service, port)| {
            let (stage, wanted) = (stages.get(&service.host, port.number)?, rules.mode(service, port));
            let is_there = stage == Stage::goal(wanted);
            (!is_there).then(|| ChangeStatus { host: service.host.clone(), port: port.number, stage, wanted })
        });
        self.changing.store(Arc::new(changing.collect()));
    }

    fn moves(&self) -> MutexGuard<'_, Option<Moves>> {
        // Usable after a panic: each change leaves it consistent.
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
