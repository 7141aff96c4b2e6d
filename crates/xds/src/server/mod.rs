//! The ADS server: gRPC around sessions.
//!
//! ```text
//!   Source ── set ──> stream task ── responses ──> encoder ──> socket
//!                      │   ^── requests ── decoder ──┘
//!                      └──> Proxies (for operators), Verdicts (for the agent)
//! ```
//!
//! A proxy costs its server a bounded amount: what is unanswered is bounded by its session, requests by their size, and whoever
//! does not answer in time is disconnected, by force if it does not read either.

mod codec;
mod connection;
mod proxies;
mod repairs;
mod secure;
mod source;
mod stream;

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use boshy_admission::{Admission, Limits};
use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService},
    transport::Server,
};

use self::{
    codec::RawCodec,
    connection::{Accepted, Gate},
    stream::StreamService,
};
pub use self::{
    proxies::Proxies,
    repairs::Repairs,
    secure::{Refusal, Refusals, Security},
    source::{MeshSource, Sets, Source},
};
use crate::{
    MeshTold, Verdicts,
    session::{Channel, Delta, Sotw},
};

/// Largest request: a proxy that comes back lists all that it has, about 100 octets for each resource.
const MAX_REQUEST: usize = 16 << 20;
/// Streams on one connection. A proxy uses one; a tool may look beside it.
const MAX_STREAMS: u32 = 8;
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// How long a proxy may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first request of a stream. A connection without a stream that has asked, be it that it says nothing, or no more than a
    /// preface, or opens streams and asks for nothing, is cut after this and the farewell.
    pub first_request: Duration,
    /// For the answer to a response. Envoy answers about clusters when they are warm, which by default it gives up after 15 s.
    pub answer: Duration,
    /// Between closing a stream, or the server, and cutting the connection.
    pub farewell: Duration,
    /// Between HTTP/2 pings; the pong may take a third of it.
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

/// The aggregated discovery service, both flavours. Clones share everything.
#[derive(Clone)]
pub struct AdsService {
    source: Arc<dyn Source>,
    proxies: Proxies,
    verdicts: Option<Verdicts>,
    told: Option<MeshTold>,
    repairs: Repairs,
    patience: Patience,
    limits: Limits,
    /// Takes the streams that begin; there while it is served.
    begun: Option<mpsc::UnboundedSender<StreamTask>>,
    /// Ends streams.
    stop: CancellationToken,
    /// Ends connections.
    cut: CancellationToken,
}

impl AdsService {
    /// Serves what the source has and enters whoever connects into `proxies`.
    pub fn new(source: impl Source, proxies: Proxies) -> Self {
        Self {
            source: Arc::new(source),
            proxies,
            verdicts: None,
            told: None,
            repairs: Repairs::default(),
            patience: Patience::default(),
            limits: connection::LIMITS,
            begun: None,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// This service, recording a verdict for every resource.
    #[must_use]
    pub fn recording(self, verdicts: Verdicts) -> Self {
        Self { verdicts: Some(verdicts), ..self }
    }

    /// This service, telling its proxies again what they are found to lack.
    #[must_use]
    pub fn repairing(self, repairs: Repairs) -> Self {
        Self { repairs, ..self }
    }

    /// This service, telling whoever opens a stream what mesh it is.
    #[must_use]
    pub fn telling(self, told: MeshTold) -> Self {
        Self { told: Some(told), ..self }
    }

    /// This service with another patience.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// This service with other bounds on its connections.
    #[must_use]
    pub fn admitting(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    fn gate(&self) -> Gate {
        let admission = Admission::new(self.limits.within_descriptors());
        // A stream that asks for nothing is told so before its connection is cut.
        let unused = self.patience.first_request + self.patience.farewell;
        Gate { admission, unused, cut: self.cut.clone() }
    }

    /// Serves on a TCP socket until `shutdown`, then closes all streams with `UNAVAILABLE`. The service is then at its end.
    ///
    /// # Errors
    /// When the transport fails as a whole; what goes wrong with one connection ends that one.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let gate = self.gate();
        self.serve(connection::tcp(listener, gate), shutdown).await
    }

    /// Serves on a TCP socket over TLS until `shutdown`, then closes all streams with `UNAVAILABLE`. The service is then at its end.
    ///
    /// # Errors
    /// When the transport fails as a whole; what goes wrong with one connection ends that one.
    pub async fn serve_tls(
        self,
        listener: TcpListener,
        security: Security,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        let gate = self.gate();
        self.serve(secure::tls(listener, security, gate), shutdown).await
    }

    /// Serves on a Unix socket until `shutdown`, then closes all streams with `UNAVAILABLE`. The service is then at its end.
    ///
    /// # Errors
    /// When the transport fails as a whole; what goes wrong with one connection ends that one.
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
        let Self { patience, stop, cut, source, .. } = self.clone();
        let (begun, begin) = mpsc::unbounded_channel();
        self.begun = Some(begun);
        // Connections live in tasks of their own; nothing of this service outlives this future.
        let _end = (stop.clone().drop_guard(), cut.drop_guard());
        let served = Server::builder()
            .http2_keepalive_interval(Some(patience.ping))
            .http2_keepalive_timeout(Some(patience.ping / 3))
            .max_concurrent_streams(Some(MAX_STREAMS))
            .add_service(self)
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

    fn stream<C: Channel + Send + 'static>(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<http::Response<Body>, Infallible> {
        let stream = StreamService::<C>::new(self.clone());
        let mut grpc = Grpc::new(RawCodec::<C>::default()).max_decoding_message_size(MAX_REQUEST);
        Box::pin(async move { Ok(grpc.streaming(stream, request).await) })
    }
}

type StreamTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs streams beside each other, and none for longer than this is run. A panic in one is a bug; it costs that stream, whose proxy
/// comes back, and not those of all others.
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

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for AdsService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            DELTA => self.stream::<Delta>(request),
            SOTW => self.stream::<Sotw>(request),
            _ => Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) }),
        }
    }
}
