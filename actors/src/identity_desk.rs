//! Where requests for certificates wait, and what became of them. It outlives the task that decides.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use boshy_config::IdentitySettings;
use boshy_identity::Register;
use boshy_mesh::Timestamp;
use boshy_web::status::{Attestation, IdentityStatus, Lack, LackChange, RefusedRequest};
use boshy_xds::{CertificateRequest, Certifier, Refusal, RefusalKind, WorkloadIdentity};
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::{clock, succession::Succession};

/// Requests that wait. The server bounds them, too.
const WAITING: usize = 256;
/// Refusals that the status shows.
const SHOWN: usize = 20;

/// What waits.
pub(crate) enum Asked {
    /// A request for a certificate.
    Certificate(CertificateRequest, Answer<Vec<String>>),
    /// A workload has made a connection with a certificate.
    Shown(ShownCertificate),
    /// An operator lets the VMs of an instance have another key. The answer is how many keys were known.
    AnotherKey(String, Answer<usize>),
}

/// A certificate with which a workload has made a connection.
pub(crate) struct ShownCertificate {
    /// Source address of the connection.
    pub(crate) from: IpAddr,
    /// What the certificate says.
    pub(crate) workload: WorkloadIdentity,
    /// Fingerprint of what has issued it.
    pub(crate) issuer: Option<String>,
}

/// Where an answer goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// The end of the desk that decides. One life of the task holds it at a time.
pub(crate) type Requests = Arc<tokio::sync::Mutex<mpsc::Receiver<Asked>>>;

/// See the module's documentation. Clones share the state.
#[derive(Clone)]
pub(crate) struct IdentityDesk {
    waiting: mpsc::Sender<Asked>,
    shown: Arc<Mutex<Shown>>,
}

struct Shown {
    status: IdentityStatus,
    register: Arc<Register>,
    refusals: VecDeque<RefusedRequest>,
    lack: Option<Lack>,
    /// The authority of before still issues.
    is_awaited: bool,
    /// The authority of whose every workload should have a certificate by now, when another one has issued before.
    wanted: Option<String>,
}

impl IdentityDesk {
    pub(crate) fn new(settings: &IdentitySettings) -> (Self, Requests) {
        let (waiting, requests) = mpsc::channel(WAITING);
        let status = IdentityStatus {
            trust_domain: settings.trust_domain.clone(),
            attestation: if settings.bosh_agents.is_some() { Attestation::BoshAgent } else { Attestation::Deployment },
            authority_end: None,
            known: 0,
            issued: 0,
            refused: BTreeMap::new(),
            latest_refusals: Vec::new(),
        };
        let shown = Shown {
            status,
            register: Arc::default(),
            refusals: VecDeque::new(),
            lack: None,
            is_awaited: false,
            wanted: None,
        };
        let shown = Arc::new(Mutex::new(shown));
        (Self { waiting, shown }, Arc::new(tokio::sync::Mutex::new(requests)))
    }

    /// The status for operators.
    pub(crate) fn status(&self) -> IdentityStatus {
        let shown = self.shown();
        IdentityStatus { latest_refusals: shown.refusals.iter().cloned().collect(), ..shown.status.clone() }
    }

    /// Why no certificates are issued.
    pub(crate) fn lack(&self) -> Option<Lack> {
        self.shown().lack.clone()
    }

    /// The keys that are known, as they are on disk.
    pub(crate) fn register(&self) -> Arc<Register> {
        Arc::clone(&self.shown().register)
    }

    /// Records the state of the authority, and the keys that are on disk.
    pub(crate) fn stands(
        &self,
        authority_end: Option<Timestamp>,
        register: Register,
        reason: Option<(String, String)>,
    ) {
        let mut shown = self.shown();
        shown.status.authority_end = authority_end.map(|end| end.0);
        shown.status.known = register.len() as u64;
        shown.register = register.into();
        let lack = reason.map(|(reason, remedy)| {
            let lack = Lack { what: "identities", since: clock::now().0, reason, remedy };
            lack.lasting(&shown.lack)
        });
        match Lack::change(shown.lack.as_ref(), lack.as_ref()) {
            Some(LackChange::Lacks(lack)) => warn!(reason = lack.reason, "no certificates are issued"),
            Some(LackChange::Ended) => info!("certificates are issued again"),
            None => {}
        }
        shown.lack = lack;
    }

    /// Records which of two authorities issues.
    pub(crate) fn follows(&self, authorities: &Succession) {
        let mut shown = self.shown();
        let is_awaited = authorities.is_awaited();
        if shown.is_awaited && !is_awaited {
            info!("the next authority issues certificates from now on");
            shown.wanted = authorities.next();
        }
        shown.is_awaited = is_awaited;
    }

    /// Whether the authority of before still issues.
    pub(crate) fn is_awaited(&self) -> bool {
        self.shown().is_awaited
    }

    /// Records a certificate.
    pub(crate) fn issued(&self) {
        self.shown().status.issued += 1;
    }

    /// Lets the VMs of an instance have another key. Returns how many keys were known.
    ///
    /// # Errors
    /// When the authority has expired, is restarting, or cannot write to its disk.
    pub(crate) async fn allow(&self, instance: String) -> Result<usize, Refusal> {
        self.ask(|answer| Asked::AnotherKey(instance, answer)).await
    }

    async fn ask<T>(&self, asked: impl FnOnce(Answer<T>) -> Asked) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let decided = match self.waiting.send(asked(answer)).await {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        decided.unwrap_or_else(|| {
            let text = "the certificate authority is restarting; ask again".to_owned();
            Err(Refusal { kind: RefusalKind::Unavailable, reason: "restart", text })
        })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Usable after a panic: each change leaves it consistent.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Certifier for IdentityDesk {
    fn certify(&self, request: CertificateRequest) -> BoxFuture<'static, Result<Vec<String>, Refusal>> {
        let this = self.clone();
        Box::pin(async move {
            let from = request.from;
            let decided = this.ask(|answer| Asked::Certificate(request, answer)).await;
            decided.inspect_err(|refusal| this.refused(from, refusal))
        })
    }

    fn has_shown(&self, from: IpAddr, workload: &WorkloadIdentity, issuer: Option<&str>) -> bool {
        let shown = ShownCertificate { from, workload: workload.clone(), issuer: issuer.map(str::to_owned) };
        // When there is no room, it is shown again with the next report.
        let _ = self.waiting.try_send(Asked::Shown(shown));
        self.shown().wanted.as_deref().is_some_and(|wanted| issuer != Some(wanted))
    }

    fn refused(&self, address: IpAddr, refusal: &Refusal) {
        warn!(%address, reason = refusal.reason, "refused a certificate: {refusal}");
        let mut shown = self.shown();
        *shown.status.refused.entry(refusal.reason).or_default() += 1;
        if shown.refusals.len() == SHOWN {
            shown.refusals.pop_front();
        }
        let reason = refusal.text.clone();
        shown.refusals.push_back(RefusedRequest { at: clock::now().0, address, reason });
    }
}
