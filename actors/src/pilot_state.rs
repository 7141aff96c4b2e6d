//! What the pilot's actors share: the channels between them, and the results that they publish.
//!
//! It outlives the actors. Each value has one writer, which is named here; readers borrow or subscribe.

use std::sync::Arc;

use arc_swap::ArcSwap;
use boshy_mesh::{Inventory, LeaseRules, MeshSnapshot, Problem};
use boshy_supervision::TreeStatus;
use boshy_tls::ServerTls;
use boshy_web::status::{ConvergenceStatus, DirectorStatus, Lack, PilotStatus, Readiness, XdsStatus};
use boshy_xds::{HandshakeFailures, Proxies, Security, WorkloadTrust};
use tokio::sync::watch;

use crate::{
    convergence::Converged,
    director_poller::PollReport,
    identity_desk::{IdentityDesk, Requests},
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
    /// The connected agents and proxies, by `xds_server`.
    pub(crate) proxies: Proxies,
    /// TLS of the xDS server, and the handshakes that failed, by `xds_server`; `None` without TLS.
    pub(crate) security: Option<Security>,
    /// Requests for certificates, by `certificate_authority`; `None` without an authority.
    pub(crate) identities: Option<(IdentityDesk, Requests)>,
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
        let report = PollReport { known, complete: false, director, deployments: Vec::new(), lacking: Vec::new() };
        Self {
            snapshot: Arc::new(watch::Sender::new(Arc::default())),
            poll: Arc::new(ArcSwap::from_pointee(report)),
            pool: Arc::new(ArcSwap::from_pointee(vip_pool::unused(rules))),
            since_start: Vec::new(),
            unkept: Arc::default(),
            problems: Arc::default(),
            proxies: Proxies::default(),
            security: tls.map(|tls| Security::new(tls, workloads.clone(), HandshakeFailures::default())),
            identities: workloads.map(|trust| IdentityDesk::new(trust.domain)),
            converged: Arc::default(),
        }
    }

    /// The status for operators.
    pub(crate) fn report(&self, actors: &TreeStatus) -> PilotStatus {
        let snapshot = self.snapshot.borrow().clone();
        let (poll, pool, unkept) = (self.poll.load(), self.pool.load(), self.unkept.load());
        let desk = self.identities.as_ref().map(|(desk, _)| desk);
        let unissued = desk.and_then(IdentityDesk::lack);
        let lacking = self.since_start.iter().chain(&pool.lack).chain(&**unkept).chain(&poll.lacking).chain(&unissued);
        PilotStatus {
            readiness: readiness(&poll, &snapshot),
            lacking: lacking.cloned().collect(),
            snapshot: snapshot.as_ref().into(),
            convergence: self.convergence(),
            director: poll.director.clone(),
            deployments: poll.deployments.clone(),
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
            proxies: self.proxies.list(),
        }
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
