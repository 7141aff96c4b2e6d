//! One stream to a pilot: connection, requests, responses.
//!
//! The owner of a [`PilotStream`] chooses pilots and pauses, and handles its events:

mod avoided;
mod certificate;
mod connect;
mod error;
mod picker;
mod report;
mod spread;
mod succession;

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use boshy_mesh::NodeId;
use boshy_tls::ClientTls;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use futures::{StreamExt, future::join_all};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Streaming,
    codec::CompressionEncoding,
    metadata::{MetadataMap, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use self::connect::{Io, addresses, connect, connect_at};
pub use self::{
    avoided::Avoided,
    certificate::{CertificateWish, request_certificate},
    connect::ConnectError,
    error::{ExchangeError, Refusal},
    picker::{Attempt, PickerSettings, PilotPicker},
    report::{Reported, send_report},
    spread::Spread,
    succession::{Reach, run_forever},
};
use super::relay::Stored;
use crate::{
    MeshTold, digest, pacing,
    session::client::{Malformed, RequestToPilot, ResponseFromPilot},
    table,
};

/// Limit on messages on their way to the pilot and on unanswered responses. At the limit, no more is read from the
/// pilot.
const IN_FLIGHT: usize = 1024;

/// Limits of a connection, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// Maximum time for the resolver, and for each address with its TLS handshake.
    pub connect_timeout: Duration,
    /// Interval of HTTP/2 pings.
    pub keepalive_interval: Duration,
    /// A pilot that does not answer a ping within this time is considered dead.
    pub keepalive_timeout: Duration,
    /// Largest message accepted, in octets, also after it was decompressed.
    pub largest_message: usize,
    /// Which of the addresses of a pilot's name this VM prefers.
    pub spread: Spread,
}

impl Default for ExchangeSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            largest_message: 4 << 20,
            spread: Spread::default(),
        }
    }
}

/// Events of a stream, in this order: opening, open, any number of received, ended.
#[derive(Debug)]
pub enum StreamEvent {
    /// A stream is being opened. The listener has to send the first requests now, and later ones as needed.
    Opening {
        /// Takes the requests. The stream ends when it is dropped.
        upstream: mpsc::Sender<RequestToPilot>,
        /// Whether the pilot reads digests ([`crate::Digest`]).
        digests: bool,
    },
    /// The pilot has accepted the stream.
    Open {
        /// The pilot.
        pilot: Uri,
        /// What the pilot reports about its mesh; `None` from an older pilot.
        told: Option<MeshTold>,
    },
    /// A response arrived, or a malformed one.
    Received(Result<ResponseFromPilot, Malformed>),
    /// The stream ended, or could not be opened.
    Ended {
        /// How long it was open; zero when it never was.
        lived: Duration,
        /// Why it ended.
        error: ExchangeError,
    },
}

/// Handles the events of a stream.
pub trait StreamListener {
    /// Handles an event and all its consequences. Returns false when the handler is gone.
    fn hear(&self, event: StreamEvent) -> impl Future<Output = bool>;
}

/// An HTTP/2 connection to a pilot. Clones share it.
#[derive(Clone, Debug)]
pub struct PilotConnection {
    /// The pilot.
    pub pilot: Uri,
    /// Its address, of those that its name stands for.
    pub address: SocketAddr,
    channel: Channel,
}

/// Opens streams to pilots, one at a time.
#[derive(Clone, Debug)]
pub struct PilotStream {
    /// The agent's identity.
    pub node: NodeId,
    /// Limits of a connection, and where it leads.
    pub settings: ExchangeSettings,
    /// TLS for `https` pilots; without it, such a pilot cannot be reached.
    pub tls: Option<ClientTls>,
    /// Number of unanswered responses ([`crate::agent::Outlets::unanswered`]).
    pub unanswered: watch::Receiver<usize>,
    /// What the VM has ([`crate::agent::Outlets::stored`]). A pilot with an older table of leases is left.
    pub stored: watch::Receiver<Arc<Stored>>,
    /// Where such pilots were found.
    pub avoided: Avoided,
    /// The connection of the open stream, for other requests to the same pilot.
    pub connection: watch::Sender<Option<PilotConnection>>,
}

impl PilotConnection {
    /// Connects to the first address in the order of the spread that accepts.
    ///
    /// # Errors
    /// When the pilot cannot be reached.
    pub async fn open(
        pilot: &Uri,
        tls: Option<&ClientTls>,
        settings: &ExchangeSettings,
    ) -> Result<Self, ExchangeError> {
        Self::open_but(pilot, &Avoided::default(), tls, settings).await
    }

    /// Connects to the first address that accepts, in the order of the spread, with those that are avoided last.
    async fn open_but(
        pilot: &Uri,
        avoided: &Avoided,
        tls: Option<&ClientTls>,
        settings: &ExchangeSettings,
    ) -> Result<Self, ExchangeError> {
        let connected = connect(pilot, (settings.spread, avoided), tls, settings.connect_timeout).await;
        let (connection, address) =
            connected.map_err(|source| ExchangeError::Connect { pilot: pilot.clone(), source })?;
        let channel = channel(pilot, connection, settings).await?;
        Ok(Self { pilot: pilot.clone(), address, channel })
    }

    /// Connects to each address of the pilot's name but `known`, at the same time.
    ///
    /// # Errors
    /// When the name has no address at present. An address that cannot be reached is an error of its own.
    pub async fn open_all(
        pilot: &Uri,
        known: Option<SocketAddr>,
        tls: Option<&ClientTls>,
        settings: &ExchangeSettings,
    ) -> Result<Vec<Result<Self, ExchangeError>>, ExchangeError> {
        let patience = settings.connect_timeout;
        let failed = |source| ExchangeError::Connect { pilot: pilot.clone(), source };
        let addresses = addresses(pilot, settings.spread, patience).await.map_err(failed)?;
        let open = async |address| {
            let connection = connect_at(pilot, address, tls, patience).await.map_err(failed)?;
            let channel = channel(pilot, connection, settings).await?;
            Ok(Self { pilot: pilot.clone(), address, channel })
        };
        Ok(join_all(addresses.into_iter().filter(|address| Some(*address) != known).map(open)).await)
    }
}

impl PilotStream {
    /// Opens a stream and serves it until it ends. Returns how long it was open; zero when it could not be opened.
    pub async fn run(&self, pilot: &Uri, listener: &impl StreamListener) -> Duration {
        let shown = Shown(&self.connection);
        let (lived, error) = match self.open(pilot, listener).await {
            Err(error) => (Duration::ZERO, error),
            Ok((room, responses)) => {
                let started = Instant::now();
                let error = self.converse(pilot, listener, &room, responses).await;
                (started.elapsed(), error)
            }
        };
        drop(shown);
        listener.hear(StreamEvent::Ended { lived, error }).await;
        lived
    }

    async fn open(
        &self,
        pilot: &Uri,
        listener: &impl StreamListener,
    ) -> Result<(mpsc::WeakSender<RequestToPilot>, Streaming<DeltaDiscoveryResponse>), ExchangeError> {
        let connection = PilotConnection::open_but(pilot, &self.avoided, self.tls.as_ref(), &self.settings).await?;
        let mut client = AggregatedDiscoveryServiceClient::new(connection.channel.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(self.settings.largest_message);
        let (upstream, requests) = mpsc::channel::<RequestToPilot>(IN_FLIGHT);
        let room = upstream.downgrade();
        let node = self.node.clone();
        let outbound = ReceiverStream::new(requests).enumerate();
        let outbound = outbound.map(move |(index, request)| request.into_wire((index == 0).then_some(&node)));
        let known = self.stored.borrow().table();
        let mut request = Request::new(outbound);
        request.metadata_mut().insert(pacing::HEADER, MetadataValue::from_static(pacing::SENT));
        if let Some(known) = known {
            request.metadata_mut().insert(table::KNOWN, known.into());
        }
        // A pilot answers at once, and says in its headers whether it reads digests. Another server may answer only
        // after the first request.
        let mut opening = pin!(client.delta_aggregated_resources(request));
        let early = timeout(self.settings.connect_timeout, &mut opening).await.ok();
        let digests = matches!(&early, Some(Ok(opened)) if reads_digests(opened.metadata()));
        listener.hear(StreamEvent::Opening { upstream, digests }).await;
        let opened = match early {
            Some(opened) => opened,
            None => opening.await,
        };
        let opened = opened.map_err(|source| ExchangeError::Open { pilot: pilot.clone(), source: Box::new(source) })?;
        let told = MeshTold::read(opened.metadata());
        let table = told.as_ref().and_then(|told| told.table);
        if table::is_older(table, known) {
            let address = connection.address;
            self.avoided.add(address, Instant::now().into_std());
            let [table, known] = [table, known].map(Option::unwrap_or_default);
            return Err(ExchangeError::Behind { pilot: pilot.clone(), address, table, known });
        }
        listener.hear(StreamEvent::Open { pilot: pilot.clone(), told }).await;
        self.connection.send_replace(Some(connection));
        Ok((room, opened.into_inner()))
    }

    async fn converse(
        &self,
        pilot: &Uri,
        listener: &impl StreamListener,
        room: &mpsc::WeakSender<RequestToPilot>,
        mut responses: Streaming<DeltaDiscoveryResponse>,
    ) -> ExchangeError {
        loop {
            self.room(room).await;
            let heard = match responses.message().await {
                Ok(Some(message)) => listener.hear(StreamEvent::Received(ResponseFromPilot::from_wire(message))).await,
                Ok(None) => false,
                Err(source) => return ExchangeError::Receive { pilot: pilot.clone(), source: Box::new(source) },
            };
            if !heard {
                return ExchangeError::Closed { pilot: pilot.clone() };
            }
        }
    }

    /// Waits for room for the answer to the next response and for the outstanding answers. When the stream has ended
    /// there will be no room; the next read reports that better.
    async fn room(&self, upstream: &mpsc::WeakSender<RequestToPilot>) {
        let mut unanswered = self.unanswered.clone();
        let open = unanswered.wait_for(|unanswered| *unanswered < IN_FLIGHT).await.map_or(0, |unanswered| *unanswered);
        if let Some(upstream) = upstream.upgrade() {
            let _room = upstream.reserve_many(open + 1).await;
        }
    }
}

fn reads_digests(headers: &MetadataMap) -> bool {
    headers.get(digest::HEADER).is_some_and(|form| form == digest::FORM)
}

/// Takes the connection back when its stream ends, also when that is dropped: others would keep it open.
struct Shown<'c>(&'c watch::Sender<Option<PilotConnection>>);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|connection| connection.take().is_some());
    }
}

/// HTTP/2 over a connection.
async fn channel(pilot: &Uri, connection: Box<dyn Io>, settings: &ExchangeSettings) -> Result<Channel, ExchangeError> {
    let mut connection = Some(TokioIo::new(connection));
    // TLS is already done below. For an `https` URI tonic would add its own, and it uses the scheme for nothing else.
    let origin = pilot.authority().map_or_else(|| "pilot".to_owned(), ToString::to_string);
    let begin = |source| ExchangeError::Begin { pilot: pilot.clone(), source };
    let endpoint = Endpoint::from_shared(format!("http://{origin}")).map_err(begin)?;
    endpoint
        .connect_timeout(settings.connect_timeout)
        .http2_keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector(service_fn(move |_| {
            let connection = connection.take().ok_or(io::ErrorKind::NotConnected);
            async move { connection.map_err(io::Error::from) }
        }))
        .await
        .map_err(begin)
}
