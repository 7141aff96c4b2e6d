//! One stream to a pilot: connection, requests, responses.
//!
//! The owner of a [`PilotStream`] chooses pilots and pauses, and handles its events:

mod certificate;
mod connect;
mod error;
mod picker;

use std::{future::Future, io, time::Duration};

use boshy_mesh::NodeId;
use boshy_tls::ClientTls;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use self::connect::connect;
pub use self::{
    certificate::{CertificateWish, request_certificate},
    connect::ConnectError,
    error::{ExchangeError, Refusal},
    picker::{Attempt, PickerSettings, PilotPicker},
};
use crate::{
    MeshTold,
    session::client::{Malformed, RequestToPilot, ResponseFromPilot},
};

/// Limit on messages on their way to the pilot and on unanswered responses. At the limit, no more is read from the
/// pilot.
const IN_FLIGHT: usize = 1024;

/// Limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// Maximum time for the resolver, and for each address with its TLS handshake.
    pub connect_timeout: Duration,
    /// Interval of HTTP/2 pings.
    pub keepalive_interval: Duration,
    /// A pilot that does not answer a ping within this time is considered dead.
    pub keepalive_timeout: Duration,
    /// Largest message accepted, in octets.
    pub largest_message: usize,
}

impl Default for ExchangeSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            largest_message: 4 << 20,
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

/// Opens streams to pilots, one at a time.
#[derive(Clone, Debug)]
pub struct PilotStream {
    /// The agent's identity.
    pub node: NodeId,
    /// Limits of a connection.
    pub settings: ExchangeSettings,
    /// TLS for `https` pilots; without it, such a pilot cannot be reached.
    pub tls: Option<ClientTls>,
    /// Number of unanswered responses ([`crate::agent::Outlets::unanswered`]).
    pub unanswered: watch::Receiver<usize>,
}

impl PilotStream {
    /// Opens a stream and serves it until it ends. Returns how long it was open; zero when it could not be opened.
    pub async fn run(&self, pilot: &Uri, listener: &impl StreamListener) -> Duration {
        let (lived, error) = match self.open(pilot, listener).await {
            Err(error) => (Duration::ZERO, error),
            Ok((room, responses)) => {
                let started = Instant::now();
                let error = self.converse(pilot, listener, &room, responses).await;
                (started.elapsed(), error)
            }
        };
        listener.hear(StreamEvent::Ended { lived, error }).await;
        lived
    }

    async fn open(
        &self,
        pilot: &Uri,
        listener: &impl StreamListener,
    ) -> Result<(mpsc::WeakSender<RequestToPilot>, Streaming<DeltaDiscoveryResponse>), ExchangeError> {
        let channel = channel(pilot, self.tls.as_ref(), &self.settings).await?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(self.settings.largest_message);
        // The pilot may answer only after the first request, so requests are queued before the stream opens.
        let (upstream, requests) = mpsc::channel(IN_FLIGHT);
        let room = upstream.downgrade();
        listener.hear(StreamEvent::Opening { upstream }).await;
        let node = self.node.clone();
        let outbound = ReceiverStream::new(requests).enumerate();
        let outbound = outbound.map(move |(index, request)| request.into_wire((index == 0).then_some(&node)));
        let opened = client.delta_aggregated_resources(outbound).await;
        let opened = opened.map_err(|source| ExchangeError::Open { pilot: pilot.clone(), source: Box::new(source) })?;
        let told = MeshTold::read(opened.metadata());
        listener.hear(StreamEvent::Open { pilot: pilot.clone(), told }).await;
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

/// An HTTP/2 connection.
async fn channel(pilot: &Uri, tls: Option<&ClientTls>, settings: &ExchangeSettings) -> Result<Channel, ExchangeError> {
    let connection = connect(pilot, tls, settings.connect_timeout).await;
    let connection = connection.map_err(|source| ExchangeError::Connect { pilot: pilot.clone(), source })?;
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
