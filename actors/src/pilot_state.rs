//! What the pilot's actors share: the channels between them, and the results that they publish.
//!
//! It outlives the actors. Each value has one writer, which is named here; readers borrow or subscribe.

use std::sync::Arc;

use arc_swap::ArcSwap;
use boshy_mesh::{Inventory, LeaseRules, MeshSnapshot, MtlsMode, Problem};
use boshy_supervision::TreeStatus;
use boshy_tls::ServerTls;
use boshy_web::status::{
    ConvergenceStatus, DirectorStatus, Lack, PilotStatus, Readiness, ReportStatus, StopStatus, XdsStatus,
};
use boshy_xds::{AgentReports, HandshakeFailures, Proxies, Security, WorkloadTrust};
use tokio::sync::watch;

use crate::{
    convergence::Converged,
    director_poller::PollReport,
    identity_desk::{IdentityDesk, Requests},
    modes::Progress,
    shared_leases::SharedLeases,
    trust::Trust,
    vip_pool::{self, PoolReport},
};

/// See the module's documentation. Clones share the state.
#[derive(Clone)]
pub(crate) struct PilotState {
    /// The mesh, by `service_registry`.
    pub(crate) snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>>,
    /// What is wrong in deployments, by `service_registry`.
    pub(crate) problems: Arc<ArcSwap<Vec<Problem>>>,
    /// What the director said, by `director_poller`.
    pub(crate) poll: Arc<ArcSwap<PollReport>>,
    /// Why the director's facts are not on disk, by `director_poller`.
    pub(crate) unkept: Arc<ArcSwap<Option<Lack>>>,
    /// Virtual IPs, by `vip_pool`.
    pub(crate) pool: Arc<ArcSwap<PoolReport>>,
    /// Leases that all pilots share, by `vip_pool` and `lease_agreement`; `None` when this pilot has its own.
    pub(crate) leases: Option<SharedLeases>,
    /// Why the pilots cannot agree on leases, by `lease_agreement`.
    pub(crate) unagreed: Arc<ArcSwap<Option<Lack>>>,
    /// The connected agents and proxies, by `xds_server`.
    pub(crate) proxies: Proxies,
    /// What the agents report of their VMs, by `xds_server`.
    pub(crate) reports: AgentReports,
    /// TLS of the xDS server, and the handshakes that failed, by `xds_server`; `None` without TLS.
    pub(crate) security: Option<Security>,
    /// Requests for certificates, by `certificate_authority`; `None` without an authority.
    pub(crate) identities: Option<(IdentityDesk, Requests)>,
    /// Who trusts which root; `None` without an authority.
    pub(crate) trust: Option<Trust>,
    /// The mode of the mesh, and the ports that are on their way to their modes, by `service_registry`; `None` without an
    /// authority.
    pub(crate) modes: Option<(MtlsMode, Progress)>,
    /// How fast changes reach the proxies, by `convergence`.
    pub(crate) converged: Arc<ArcSwap<Converged>>,
    /// What is missing since the start: the claim on the state directory, and a valid log filter.
    pub(crate) since_start: Vec<Lack>,
}

impl PilotState {
    /// The state at the start of a process, with the facts that an earlier one has kept.
    pub(crate) fn new(
        director: String,
        rules: &LeaseRules,
        tls: Option<ServerTls>,
        workloads: Option<WorkloadTrust>,
        known: Option<Arc<Inventory>>,
    ) -> Self {
        let director = DirectorStatus { url: director, last_success: None, error: None };
        let report = PollReport { known, complete: false, director, deployments: Arc::default(), lacking: Vec::new() };
        Self {
            snapshot: Arc::new(watch::Sender::new(Arc::default())),
            poll: Arc::new(ArcSwap::from_pointee(report)),
            pool: Arc::new(ArcSwap::from_pointee(vip_pool::unused(rules))),
            leases: None,
            unagreed: Arc::default(),
            since_start: Vec::new(),
            unkept: Arc::default(),
            problems: Arc::default(),
            proxies: Proxies::default(),
            reports: AgentReports::default(),
            security: tls.map(|tls| Security::new(tls, workloads, HandshakeFailures::default())),
            identities: None,
            trust: None,
            modes: None,
            converged: Arc::default(),
        }
    }

    /// The status for operators.
    pub(crate) fn report(&self, actors: &TreeStatus) -> PilotStatus {
        let snapshot = self.snapshot.borrow().clone();
        let (poll, pool, unkept) = (self.poll.load(), self.pool.load(), self.unkept.load());
        let unagreed = self.unagreed.load();
        let desk = self.identities.as_ref().map(|(desk, _)| desk);
        let (unissued, distrust) = (desk.and_then(IdentityDesk::lack), self.trust.as_ref().and_then(Trust::lack));
        let older = self.older_leases(&snapshot);
        let unmoved = self.modes.as_ref().and_then(|(_, progress)| progress.lack());
        let lacking = self
            .since_start
            .iter()
            .chain(&pool.lack)
            .chain(&**unagreed)
            .chain(&**unkept)
            .chain(&poll.lacking)
            .chain(&unissued)
            .chain(&distrust)
            .chain(&unmoved)
            .chain(&older);
        PilotStatus {
            readiness: readiness(&poll, &snapshot),
            lacking: lacking.cloned().collect(),
            snapshot: snapshot.as_ref().into(),
            convergence: self.convergence(),
            director: poll.director.clone(),
            deployments: poll.deployments.to_vec(),
            configs: poll.known.iter().flat_map(|known| &known.policies).map(Into::into).collect(),
            problems: self.problems.load().as_ref().clone(),
            pool: pool.status.clone(),
            services: snapshot.content.services.iter().map(|plan| (&**plan).into()).collect(),
            actors: actors.clone(),
            xds: XdsStatus {
                tls: self.security.is_some(),
                refused: self.security.as_ref().map(|security| security.failures.counts()).unwrap_or_default(),
                foreign: self.proxies.refused(),
            },
            identity: desk.map(IdentityDesk::status),
            mtls: self.modes.as_ref().map(|(mode, progress)| progress.status(*mode)),
            reports: self.reported(),
            stopping: self.stopping(),
            proxies: self.proxies.list(),
        }
    }

    /// Whether agents know a later table of leases than this pilot. They leave it for another pilot.
    fn older_leases(&self, snapshot: &MeshSnapshot) -> Option<Lack> {
        self.leases.as_ref()?;
        let ((known, since), own) = (self.proxies.latest_table()?, snapshot.content.table.unwrap_or(0));
        let reason = format!("agents know version {known} of the leases, and this pilot publishes version {own}");
        let remedy = "Let the pilot reach the director and write its disk, see `shared_leases`; until then such agents are served \
                      by other pilots, or keep what they have.";
        (known > own).then(|| Lack { what: "latest_leases", since, reason, remedy: remedy.to_owned() })
    }

    fn reported(&self) -> Vec<ReportStatus> {
        let (table, now) = (self.reports.table(), self.reports.now());
        table.iter().map(|(instance, heard)| ReportStatus::new(instance, heard, now)).collect()
    }

    fn stopping(&self) -> Vec<StopStatus> {
        let (stops, now) = (self.reports.stops(), self.reports.now());
        let status = |(instance, at): (&Arc<str>, _)| StopStatus {
            instance: instance.to_string(),
            age: now.since(at).as_secs(),
        };
        stops.iter().map(status).collect()
    }

    fn convergence(&self) -> ConvergenceStatus {
        let Converged { generation, accepted } = **self.converged.load();
        ConvergenceStatus {
            generation,
            behind: self.proxies.behind(generation) as u64,
            proxies: accepted.map(|(proxies, _)| proxies as u64),
            milliseconds: accepted.map(|(_, after)| after.as_millis() as u64),
        }
    }
}

fn readiness(poll: &PollReport, snapshot: &MeshSnapshot) -> Readiness {
    match (poll.complete, snapshot.generation > 0) {
        (true, true) => Readiness::ready(),
        (true, false) => {
            Readiness::waiting("the director was read; virtual IPs could not be leased yet, see `lacking`")
        }
        (false, _) => Readiness::waiting(match &poll.director.error {
            Some(error) => format!("the director was not read completely yet: {error}"),
            None => "the director was not read completely yet".to_owned(),
        }),
    }
}
