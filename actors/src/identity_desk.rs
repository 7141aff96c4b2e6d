//! Where requests for certificates wait, and what became of them. It outlives the task that decides.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use boshy_mesh::{Timestamp, TrustDomain};
use boshy_web::status::{IdentityStatus, Lack, RefusedRequest};
use boshy_xds::{CertificateRequest, Certifier, Refusal, RefusalKind};
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::clock;

/// Requests that wait. The server bounds them, too.
const WAITING: usize = 256;
/// Refusals that the status shows.
const SHOWN: usize = 20;

/// A request, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) request: CertificateRequest,
    pub(crate) answer: oneshot::Sender<Result<Vec<String>, Refusal>>,
}

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
    refusals: VecDeque<RefusedRequest>,
    lack: Option<Lack>,
}

impl IdentityDesk {
    pub(crate) fn new(trust_domain: TrustDomain) -> (Self, Requests) {
        let (waiting, requests) = mpsc::channel(WAITING);
        let status = IdentityStatus {
            trust_domain,
            authority_end: None,
            known: 0,
            issued: 0,
            refused: BTreeMap::new(),
            latest_refusals: Vec::new(),
        };
        let shown = Arc::new(Mutex::new(Shown { status, refusals: VecDeque::new(), lack: None }));
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

    /// Records the state of the authority.
    pub(crate) fn stands(&self, authority_end: Option<Timestamp>, known: usize, reason: Option<(String, String)>) {
        let mut shown = self.shown();
        shown.status.authority_end = authority_end.map(|end| end.0);
        shown.status.known = known as u64;
        let lack = reason.map(|(reason, remedy)| {
            let lack = Lack { what: "identities", since: clock::now().0, reason, remedy };
            lack.lasting(&shown.lack)
        });
        match (&shown.lack, &lack) {
            (before, Some(now)) if before.as_ref().is_none_or(|before| before.reason != now.reason) => {
                warn!(reason = now.reason, "no certificates are issued");
            }
            (Some(_), None) => info!("certificates are issued again"),
            _ => {}
        }
        shown.lack = lack;
    }

    /// Records a certificate.
    pub(crate) fn issued(&self) {
        self.shown().status.issued += 1;
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
            let (from, (answer, answered)) = (request.from, oneshot::channel());
            let decided = match this.waiting.send(Asked { request, answer }).await {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            };
            let decided = decided.unwrap_or_else(|| {
                let text = "the certificate authority is restarting; ask again".to_owned();
                Err(Refusal { kind: RefusalKind::Unavailable, reason: "restart", text })
            });
            decided.inspect_err(|refusal| this.refused(from, refusal))
        })
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
