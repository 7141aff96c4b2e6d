//! The ADS server: gRPC for sessions.
//!
//! ```text
//!   Source ── set ──> stream task ── responses ──> encoder ──> socket
//!                      │   ^── requests ── decoder ──┘
//!                      └──> Proxies (for operators), AckStates (for the agent)
//! ```
//!
//! | what many proxies cost | is decided in |
//! |---|---|
//! | the set of each proxy | `source`, and `render` for the layers of one workload |
//! | the difference between two sets | `way`, once for all streams between the same layers |
//! | what a stream is sent, and what it remembers of it | `session::server::delta::ledger` |
//! | the octets of a response | `content`, all but version and nonce; `gzip`, to proxies that accept it |
//! | buffers on the way to the socket | `codec` |
//!
//! A proxy costs the server a bounded amount of memory. Its session bounds what is unanswered, and requests are limited
//! in size. A proxy that does not answer in time is disconnected, by force if it does not read either.

mod access_log;
mod certificates;
mod codec;
mod connection;
mod methods;
mod proxies;
mod repairs;
mod reports;
mod secure;
mod source;
mod stream;
mod turns;
mod unary;

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use boshy_admission::{Admission, Limits};
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_server::AccessLogServiceServer;
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use self::{
    access_log::AccessLog,
    certificates::CertificateService,
    connection::{Accepted, Gate},
    reports::ReportService,
};
pub use self::{
    certificates::{CertificateRequest, Certifier, Refusal, RefusalKind},
    proxies::Proxies,
    repairs::Repairs,
    reports::AgentReports,
    secure::{HandshakeFailure, HandshakeFailures, Security},
    source::{MeshSource, Resident, Sets, Source},
};
use crate::{AckStates, MeshTold, Refusals};

/// Largest request: a reconnecting proxy lists all its resources, about 100 octets each.
const MAX_REQUEST: usize = 16 << 20;
/// Maximum number of streams on a connection. A proxy uses one; a diagnostic tool may use another.
const MAX_STREAMS: u32 = 8;

/// Timeouts for proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first request of a stream. A connection without such a request is cut after this time and the farewell,
    /// whether the client sends nothing, only a preface, or opens streams without a request.
    pub first_request: Duration,
    /// For the answer to a response. Envoy answers about clusters once they are warm, and waits for that for
    /// 15 s at most (the default of `initial_fetch_timeout`).
    pub answer: Duration,
    /// Between closing a stream, or the server, and cutting the connection.
    pub farewell: Duration,
    /// Interval of HTTP/2 pings; the pong may take a third of it.
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_request: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            farewell: Duration::from_secs(5),
            ping: Duration::from_secs(30),
        }
    }
}

/// The aggregated discovery service in both flavours. Clones share all state.
#[derive(Clone)]
pub struct AdsService {
    source: Arc<dyn Source>,
    proxies: Proxies,
    ack_states: Option<AckStates>,
    told: Option<MeshTold>,
    repairs: Repairs,
    reports: Option<AgentReports>,
    /// Takes what proxies report of refused tunnels; `None` for a server that is told nothing.
    refusals: Option<Refusals>,
    /// Set only while TLS is served: a request for a certificate is decided by the sender's own.
    certifier: Option<Arc<dyn Certifier>>,
    patience: Patience,
    limits: Limits,
    /// Takes the streams that begin; set while the service runs.
    begun: Option<mpsc::UnboundedSender<StreamTask>>,
    /// Ends all streams.
    stop: CancellationToken,
    /// Cuts all connections.
    cut: CancellationToken,
}

impl AdsService {
    /// Serves the source's resources and registers connected proxies in `proxies`.
    pub fn new(source: impl Source, proxies: Proxies) -> Self {
        Self {
            source: Arc::new(source),
            proxies,
            ack_states: None,
            told: None,
            repairs: Repairs::default(),
            reports: None,
            refusals: None,
            certifier: None,
            patience: Patience::default(),
            limits: connection::LIMITS,
            begun: None,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Records which resources each proxy acknowledges and rejects.
    #[must_use]
    pub fn recording(self, ack_states: AckStates) -> Self {
        Self { ack_states: Some(ack_states), ..self }
    }

    /// Sends resources again that proxies are found to lack.
    #[must_use]
    pub fn repairing(self, repairs: Repairs) -> Self {
        Self { repairs, ..self }
    }

    /// Records what agents report of their VMs. Of an agent whose certificate names no workload only the stop of the
    /// instance counts that has its address.
    #[must_use]
    pub fn hearing(self, reports: AgentReports) -> Self {
        Self { reports: Some(reports), ..self }
    }

    /// Serves Envoy's access log service as well, for tunnels that were not opened.
    #[must_use]
    pub fn counting(self, refusals: Refusals) -> Self {
        Self { refusals: Some(refusals), ..self }
    }

    /// Reports the mesh's settings to each proxy that opens a stream.
    #[must_use]
    pub fn telling(self, told: MeshTold) -> Self {
        Self { told: Some(told), ..self }
    }

    /// Sets other timeouts.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Sets other connection limits.
    #[must_use]
    pub fn admitting(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The mesh's settings now.
    fn told(&self) -> Option<MeshTold> {
        let told = self.told.clone()?;
        Some(MeshTold { table: self.source.table().or(told.table), ..told })
    }

    fn gate(&self) -> Gate {
        let admission = Admission::new(self.limits.within_descriptors());
        // A stream without a request is closed with a status before its connection is cut.
        let unused = self.patience.first_request + self.patience.farewell;
        Gate { admission, unused, cut: self.cut.clone() }
    }

    /// Serves on a TCP socket until `shutdown`, then closes all streams with `UNAVAILABLE`. The service cannot be used
    /// again.
    ///
    /// # Errors
    /// When the transport fails as a whole. A failure of one connection ends only that one.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let gate = self.gate();
        self.serve(connection::tcp(listener, gate), shutdown).await
    }

    /// Serves on a TCP socket over TLS until `shutdown`, and beside ADS Istio's certificate service, whose requests the
    /// certifier decides. Then closes all streams with `UNAVAILABLE`. The service cannot
    /// be used again.
    ///
    /// # Errors
    /// When the transport fails as a whole. A failure of one connection ends only that one.
    pub async fn serve_tls(
        self,
        listener: TcpListener,
        security: Security,
        certifier: Option<Arc<dyn Certifier>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let gate = self.gate();
        let this = Self { certifier, ..self };
        this.serve(secure::tls(listener, security, gate), shutdown).await
    }

    /// Serves on a Unix socket until `shutdown`, then closes all streams with `UNAVAILABLE`. The service cannot be used
    /// again.
    ///
    /// # Errors
    /// When the transport fails as a whole. A failure of one connection ends only that one.
    pub async fn serve_unix(
        self,
        listener: UnixListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let gate = self.gate();
        self.serve(connection::unix(listener, gate), shutdown).await
    }

    async fn serve<IO: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        mut self,
        incoming: impl Stream<Item = Result<Accepted<IO>, Infallible>>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let Self { patience, stop, cut, source, certifier, reports, refusals, .. } = self.clone();
        let access_log = refusals.map(|refusals| AccessLog { refusals, stop: stop.clone() });
        let (begun, begin) = mpsc::unbounded_channel();
        self.begun = Some(begun);
        // Connections run in tasks of their own. The guards end them all with this future.
        let _end = (stop.clone().drop_guard(), cut.drop_guard());
        let served = Server::builder()
            .http2_keepalive_interval(Some(patience.ping))
            .http2_keepalive_timeout(Some(patience.ping / 3))
            .max_concurrent_streams(Some(MAX_STREAMS))
            .add_service(self)
            .add_optional_service(certifier.clone().map(CertificateService::new))
            .add_optional_service(reports.map(|reports| ReportService::new(reports, Arc::clone(&source), certifier)))
            .add_optional_service(access_log.map(AccessLogServiceServer::new))
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        let stopping = async {
            shutdown.await;
            stop.cancel();
            tokio::time::sleep(patience.farewell).await;
        };
        tokio::select! {
            outcome = served => outcome,
            () = stopping => Ok(()),
            () = source.work() => Ok(()),
            () = tend(begin) => Ok(()),
        }
    }
}

type StreamTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs streams concurrently, and ends them all with this future. A panic in a stream is a bug. It ends that stream,
/// whose proxy reconnects, but not the others.
#[expect(clippy::disallowed_methods, reason = "they end with what runs this, and their panics are told")]
async fn tend(mut begin: mpsc::UnboundedReceiver<StreamTask>) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            Some(stream) = begin.recv() => drop(streams.spawn(stream)),
            Some(ended) = streams.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a stream of the ADS server panicked");
            },
            else => return pending().await,
        }
    }
}
