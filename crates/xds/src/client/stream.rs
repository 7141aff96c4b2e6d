//! One stream to a pilot: connection, questions, responses.
//!
//! Who owns a [`PilotStream`] chooses pilots and pauses, and takes what it says:
//!
//! ```text
//! let mut attempt = picker.first();
//! loop {
//!     sleep(attempt.pause).await;
//!     let lived = stream.run(&attempt.pilot, &listener).await;
//!     attempt = picker.after(lived, random());
//! }
//! ```

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

use super::{Malformed, Request, Response, connect::connect, error::ExchangeError};
use crate::told::MeshTold;

/// Messages on their way to the pilot and responses that it has no answer to: beyond that nothing more is read from it.
const IN_FLIGHT: usize = 1024;

/// Limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// Longest wait for the resolver, and for each address with its TLS handshake.
    pub connect_timeout: Duration,
    /// Pause between HTTP/2 pings.
    pub keepalive_interval: Duration,
    /// A pilot that does not answer a ping for this long is dead.
    pub keepalive_timeout: Duration,
    /// Largest message taken, in octets.
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

/// What a stream says, in this order: opening, open, received as often as may be, ended.
#[derive(Debug)]
pub enum StreamEvent {
    /// A stream is being opened: the questions that it begins with are wanted, and later ones.
    Opening {
        /// Takes them. The stream ends when it is dropped.
        upstream: mpsc::Sender<Request>,
    },
    /// The pilot has accepted it.
    Open {
        /// Which pilot.
        pilot: Uri,
        /// What it says of its mesh; an older pilot says nothing.
        told: Option<MeshTold>,
    },
    /// A response came, or something that is none.
    Received(Result<Response, Malformed>),
    /// It ended, or never was open.
    Ended {
        /// How long it was open; zero when it never was.
        lived: Duration,
        /// Why it ended.
        error: ExchangeError,
    },
}

/// Whoever takes what a stream says.
pub trait StreamListener {
    /// Takes it, to the end of what follows from it; false when nobody is there to do that.
    fn hear(&self, event: StreamEvent) -> impl Future<Output = bool>;
}

/// Opens streams to pilots, one at a time.
#[derive(Clone, Debug)]
pub struct PilotStream {
    /// Who we are to the pilot.
    pub node: NodeId,
    /// Limits of a connection.
    pub settings: ExchangeSettings,
    /// What is shown to pilots by `https`; without it, these are not reached.
    pub tls: Option<ClientTls>,
    /// How many responses have no answer yet ([`super::Outlets::unanswered`]).
    pub unanswered: watch::Receiver<usize>,
}

impl PilotStream {
    /// Opens a stream and stays on it until it ends. How long it was open; zero when it never was.
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
    ) -> Result<(mpsc::WeakSender<Request>, Streaming<DeltaDiscoveryResponse>), ExchangeError> {
        let channel = channel(pilot, self.tls.as_ref(), &self.settings).await?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(self.settings.largest_message);
        // The pilot may answer only once it has been asked, so the questions are queued before the stream opens.
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
        room: &mpsc::WeakSender<Request>,
        mut responses: Streaming<DeltaDiscoveryResponse>,
    ) -> ExchangeError {
        loop {
            self.room(room).await;
            let heard = match responses.message().await {
                Ok(Some(message)) => listener.hear(StreamEvent::Received(Response::from_wire(message))).await,
                Ok(None) => false,
                Err(source) => return ExchangeError::Receive { pilot: pilot.clone(), source: Box::new(source) },
            };
            if !heard {
                return ExchangeError::Closed { pilot: pilot.clone() };
            }
        }
    }

    /// Waits for room for the answer to the next response and to those that still have none. Where there will be none, because the stream is
    /// down, the next read tells that better.
    async fn room(&self, upstream: &mpsc::WeakSender<Request>) {
        let mut unanswered = self.unanswered.clone();
        let open = unanswered.wait_for(|unanswered| *unanswered < IN_FLIGHT).await.map_or(0, |unanswered| *unanswered);
        if let Some(upstream) = upstream.upgrade() {
            let _room = upstream.reserve_many(open + 1).await;
        }
    }
}

/// A connection that speaks HTTP/2.
async fn channel(pilot: &Uri, tls: Option<&ClientTls>, settings: &ExchangeSettings) -> Result<Channel, ExchangeError> {
    let connection = connect(pilot, tls, settings.connect_timeout).await;
    let connection = connection.map_err(|source| ExchangeError::Connect { pilot: pilot.clone(), source })?;
    let mut connection = Some(TokioIo::new(connection));
    // TLS is below and done. tonic would want its own for a URI by `https`, and makes no other use of the scheme.
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
