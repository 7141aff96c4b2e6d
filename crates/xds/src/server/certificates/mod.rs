//! Istio's certificate service, beside ADS.
//!
//! It reads requests, bounds them and sends answers. Who gets which certificate is decided by a [`Certifier`].

mod rate;

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{NamedService, UnaryService},
};

use self::rate::RateLimit;
use super::{
    connection::Connection,
    unary::{self, Answered},
};
use crate::{
    Identity, WorkloadIdentity,
    istio::{CREATE, CreateRequest, CreateResponse, SERVICE},
};

/// Largest request. One with an RSA key of 8,192 bits and a certificate of such a key takes 6 KiB.
const MAX_REQUEST: usize = 32 << 10;
/// Requests that are decided at once. More wait.
const AT_ONCE: usize = 256;
/// Requests that wait. More are refused.
const WAITING: usize = 4096;

/// A request for a certificate, and what its connection proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Source address of the connection.
    pub from: IpAddr,
    /// Whose client certificate was presented.
    pub identity: Identity,
    /// The request, PEM.
    pub csr: String,
    /// Wanted life; `None` when nothing is wanted.
    pub life: Option<Duration>,
    /// The latest certificate of the sender, as it says: PEM, unverified.
    pub latest: Option<String>,
    /// What the BOSH agent of the sender's VM vouches for, as the sender says: PEM, unverified.
    pub proof: Option<String>,
}

/// Decides about requests for certificates.
pub trait Certifier: Send + Sync + 'static {
    /// The PEM texts of a chain, or why there is none: leaf, its issuers, roots.
    fn certify(&self, request: CertificateRequest) -> BoxFuture<'static, Result<Vec<String>, Refusal>>;

    /// Takes notice of a certificate with which a workload has made a connection, by its source address. `issuer` is the
    /// SHA-256 of what has issued it, as the workload says. Returns whether it should ask for another one now.
    fn has_shown(&self, from: IpAddr, workload: &WorkloadIdentity, issuer: Option<&str>) -> bool;

    /// Takes notice of a request that was refused before it was decided.
    fn refused(&self, from: IpAddr, refusal: &Refusal);
}

/// Why a request is refused. The sender is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// Name of the reason in metrics: lower-case letters and underscores.
    pub reason: &'static str,
    /// The reason in words. It contains nothing secret.
    pub text: String,
}

/// Kinds of refusals, as gRPC's status codes have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The connection does not say who the sender is.
    Unauthenticated,
    /// The sender may not have this certificate.
    Denied,
    /// The request is no request, or its key is too weak.
    Invalid,
    /// It may succeed later, without a change at the sender.
    Unavailable,
    /// There are too many requests.
    TooMany,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let of = match refusal.kind {
            RefusalKind::Unauthenticated => Self::unauthenticated,
            RefusalKind::Denied => Self::permission_denied,
            RefusalKind::Invalid => Self::invalid_argument,
            RefusalKind::Unavailable => Self::unavailable,
            RefusalKind::TooMany => Self::resource_exhausted,
        };
        of(refusal.text)
    }
}

/// The service. Clones share all state.
#[derive(Clone)]
pub(super) struct CertificateService {
    certifier: Arc<dyn Certifier>,
    rate: Arc<RateLimit>,
    /// One for each request that is decided or waits.
    places: Arc<Semaphore>,
    /// One for each request that is decided.
    turns: Arc<Semaphore>,
}

impl CertificateService {
    pub(super) fn new(certifier: Arc<dyn Certifier>) -> Self {
        let (places, turns) = (Semaphore::new(AT_ONCE + WAITING), Semaphore::new(AT_ONCE));
        Self { certifier, rate: Arc::default(), places: places.into(), turns: turns.into() }
    }

    async fn create(self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let connection = request.extensions().get::<Connection>().cloned();
        let unknown = || Status::unauthenticated("the connection has no client certificate");
        let connection = connection.ok_or_else(unknown)?;
        let (from, identity) = connection.client.zip(connection.identity).ok_or_else(unknown)?;
        // Until it is answered, the connection is not closed for a newcomer.
        let _in_use = connection.place.busy();
        let answer = match self.admit(from) {
            Ok(_place) => self.decide(from, identity, request.into_inner()).await,
            Err(refusal) => {
                self.certifier.refused(from, &refusal);
                Err(refusal)
            }
        };
        Ok(Response::new(CreateResponse { cert_chain: answer? }))
    }

    fn admit(&self, from: IpAddr) -> Result<impl Sized + use<>, Refusal> {
        let too_many = |reason, text: &str| Refusal { kind: RefusalKind::TooMany, reason, text: text.to_owned() };
        if !self.rate.admits(from, Instant::now()) {
            return Err(too_many("rate", "too many requests came from this address; ask again in a minute"));
        }
        let busy = |_| too_many("busy", "too many requests wait; ask again in a minute");
        Arc::clone(&self.places).try_acquire_owned().map_err(busy)
    }

    async fn decide(&self, from: IpAddr, identity: Identity, wish: CreateRequest) -> Result<Vec<String>, Refusal> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let (latest, proof) = (wish.latest().map(str::to_owned), wish.proof().map(str::to_owned));
        let life = u64::try_from(wish.validity_duration).ok().filter(|life| *life > 0).map(Duration::from_secs);
        self.certifier.certify(CertificateRequest { from, identity, csr: wish.csr, life, latest, proof }).await
    }
}

/// The only method.
struct Create(CertificateService);

impl UnaryService<CreateRequest> for Create {
    type Response = CreateResponse;
    type Future = BoxFuture<'static, Result<Response<CreateResponse>, Status>>;

    fn call(&mut self, request: Request<CreateRequest>) -> Self::Future {
        Box::pin(self.0.clone().create(request))
    }
}

impl NamedService for CertificateService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for CertificateService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        unary::answer(Create(self.clone()), CREATE, MAX_REQUEST, request)
    }
}
