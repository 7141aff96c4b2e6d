//! One gRPC stream at a time between the relay and a pilot.
//!
//! Who owns an [`Exchange`] chooses pilots and pauses:
//!
//! ```text
//! let mut attempt = picker.first();
//! loop {
//!     let _ = timeout(attempt.pause, exchange.idle()).await;
//!     let ended = exchange.stream(&attempt.pilot).await;
//!     attempt = picker.after(ended.lived, random());
//! }
//! ```
//!
//! Dropping a future of either method loses nothing but the stream.

use std::{
    convert::Infallible,
    future, io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use boshy_mesh::NodeId;
use boshy_tls::ClientTls;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use err_report::Report;
use hyper_util::rt::TokioIo;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;
use tracing::{debug, info, warn};

use super::{Outlets, Response, connect::connect, error::ExchangeError};
use crate::{
    Verdicts,
    relay::{News, Refusal, Relay, Step},
};

/// Messages on their way to the pilot and responses that it has no answer to: beyond that nothing more is read from it.
const IN_FLIGHT: usize = 1024;

/// Refusals that are shown with their words; of all of them the number is.
const REFUSALS_SHOWN: usize = 20;

/// Envoy acknowledges thousands of resources in hundreds of messages, and each look at them goes through all that are not
/// accepted. A rest of this many times the last look lets words gather, so that looking never takes more than a fifth of
/// the time; after a single change it is microseconds.
const REST: u32 = 4;

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

/// How a stream ended.
#[derive(Debug)]
pub struct Ended {
    /// How long it was open; zero when it never was.
    pub lived: Duration,
    /// Why it ended.
    pub error: ExchangeError,
}

/// The relay of this VM with its surroundings.
#[derive(Debug)]
pub struct Exchange {
    node: NodeId,
    settings: ExchangeSettings,
    /// For pilots by `https`.
    tls: Option<ClientTls>,
    relay: Relay,
    verdicts: Verdicts,
    changes: watch::Receiver<u64>,
    /// Envoy's next word is not looked at before.
    rest: Instant,
    outlets: Outlets,
}

impl Exchange {
    /// Publishes what the relay begins with.
    pub fn new(node: NodeId, settings: ExchangeSettings, relay: Relay, verdicts: Verdicts, outlets: Outlets) -> Self {
        let changes = verdicts.changes();
        let exchange = Self { node, settings, tls: None, relay, verdicts, changes, rest: Instant::now(), outlets };
        exchange.publish_names();
        exchange.publish_resources();
        exchange.outlets.status.send_modify(|status| {
            status.pilot = None;
            status.since = unix_now();
        });
        exchange.publish_progress();
        exchange
    }

    /// This exchange, showing a certificate to pilots by `https`; without one, these are not reached.
    #[must_use]
    pub fn showing(self, tls: Option<ClientTls>) -> Self {
        Self { tls, ..self }
    }

    /// Follows the local Envoy without a pilot.
    pub async fn idle(&mut self) -> Infallible {
        loop {
            disturbance(&mut self.changes, self.rest, self.relay.deadline()).await;
            self.reconsider(None);
        }
    }

    /// Opens a stream to a pilot and stays on it until it ends.
    pub async fn stream(&mut self, pilot: &Uri) -> Ended {
        let opened = self.open(pilot).await;
        let started = Instant::now();
        let (lived, error) = match opened {
            Err(error) => (Duration::ZERO, error),
            Ok((requests, responses)) => {
                info!(%pilot, "stream to the pilot is open");
                self.connected(Some(pilot));
                let error = self.converse(pilot, &requests, responses).await;
                (started.elapsed(), error)
            }
        };
        let cause = Report::new(&error).to_string();
        let known = lived.is_zero() && self.outlets.status.borrow().last_error.as_ref() == Some(&cause);
        if known {
            debug!(error = cause, "still no stream to the pilot");
        } else {
            warn!(error = cause, remedy = error.remedy(), "no stream to the pilot; what is known stays");
        }
        self.connected(None);
        self.outlets.status.send_modify(|status| {
            status.last_error = Some(cause);
            status.last_remedy = Some(error.remedy());
        });
        Ended { lived, error }
    }

    async fn open(
        &mut self,
        pilot: &Uri,
    ) -> Result<(mpsc::Sender<DeltaDiscoveryRequest>, Streaming<DeltaDiscoveryResponse>), ExchangeError> {
        let (settings, tls) = (self.settings, self.tls.clone());
        let channel = tokio::select! {
            channel = channel(pilot, tls.as_ref(), &settings) => channel?,
            never = self.idle() => match never {},
        };
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(self.settings.largest_message);
        // The pilot may answer only once it has been asked, so the questions are queued before the stream opens.
        let (requests, outbound) = mpsc::channel(IN_FLIGHT);
        for (index, request) in self.relay.opened().into_iter().enumerate() {
            send(&requests, request.into_wire((index == 0).then_some(&self.node)));
        }
        let responses = tokio::select! {
            responses = client.delta_aggregated_resources(ReceiverStream::new(outbound)) => {
                responses.map_err(|source| ExchangeError::Open { pilot: pilot.clone(), source: Box::new(source) })?
            }
            never = self.idle() => match never {},
        };
        Ok((requests, responses.into_inner()))
    }

    async fn converse(
        &mut self,
        pilot: &Uri,
        requests: &mpsc::Sender<DeltaDiscoveryRequest>,
        mut responses: Streaming<DeltaDiscoveryResponse>,
    ) -> ExchangeError {
        loop {
            tokio::select! {
                message = next(requests, self.relay.unanswered(), &mut responses) => match message {
                    Ok(Some(message)) => self.receive(message, requests),
                    Ok(None) => return ExchangeError::Closed { pilot: pilot.clone() },
                    Err(source) => return ExchangeError::Receive { pilot: pilot.clone(), source: Box::new(source) },
                },
                () = disturbance(&mut self.changes, self.rest, self.relay.deadline()) => self.reconsider(Some(requests)),
            }
        }
    }

    fn receive(&mut self, message: DeltaDiscoveryResponse, requests: &mpsc::Sender<DeltaDiscoveryRequest>) {
        let step = match Response::from_wire(message) {
            Ok(response) => self.relay.receive(response, Instant::now().into_std(), &self.verdicts),
            Err(malformed) => Step::refusing(malformed),
        };
        self.perform(step, Some(requests));
    }

    fn reconsider(&mut self, requests: Option<&mpsc::Sender<DeltaDiscoveryRequest>>) {
        let started = Instant::now();
        let step = self.relay.reconsider(started.into_std(), &self.verdicts);
        self.perform(step, requests);
        self.rest = Instant::now() + started.elapsed() * REST;
    }

    /// Without a pilot, messages for it are lost; the next stream begins with what is held instead.
    fn perform(&self, step: Step, requests: Option<&mpsc::Sender<DeltaDiscoveryRequest>>) {
        let Step { names, served, upstream, news } = step;
        for change in &names {
            let event = if change.answered { "name is answered" } else { "name is no longer answered" };
            info!(name = %change.host, vip = %change.vip, "{event}");
        }
        if !names.is_empty() {
            self.publish_names();
        }
        if served {
            self.publish_resources();
        }
        for item in news {
            self.report(item);
        }
        for request in upstream {
            if let Some(requests) = requests {
                send(requests, request.into_wire(None));
            }
        }
        self.publish_progress();
    }

    fn report(&self, news: News) {
        match news {
            News::Malformed(malformed) => {
                warn!(type_url = malformed.type_url, error = %malformed, "refused a response of the pilot");
            }
            News::Unanswered { kind, resources } => {
                warn!(?kind, resources, "the proxy did not answer in time; acknowledged to the pilot without it");
            }
            News::Refused(Refusal { kind, name, version, reason, .. }) => {
                warn!(?kind, %name, %version, %reason, "the proxy refused a resource; the last accepted version stays, and it is tried again");
            }
            News::Mended { kind, name } => info!(?kind, %name, "the proxy accepted a resource that it had refused"),
        }
    }

    fn publish_names(&self) {
        replace(&self.outlets.names, Arc::new(self.relay.answered()));
    }

    fn publish_resources(&self) {
        replace(&self.outlets.served, Arc::clone(self.relay.served()));
    }

    fn publish_progress(&self) {
        // While the pilot waits for Envoy, what is good is about to change.
        if self.relay.unanswered() == 0 {
            replace(&self.outlets.stored, Arc::new(self.relay.stored()));
        }
        self.outlets.status.send_if_modified(|status| {
            let before = status.clone();
            status.names = self.relay.counts();
            status.known = self.relay.known().collect();
            status.versions.clone_from(self.relay.versions());
            status.refusing = self.relay.refusals().count();
            status.refused = self.relay.refusals().take(REFUSALS_SHOWN).collect();
            before != *status
        });
    }

    fn connected(&self, pilot: Option<&Uri>) {
        let pilot = pilot.map(Uri::to_string);
        self.outlets.status.send_if_modified(|status| {
            let changed = status.pilot != pilot;
            if changed {
                status.pilot = pilot;
                status.since = unix_now();
            }
            changed
        });
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

/// The next response, once there is room for the answer to it and to those that still have none.
async fn next(
    requests: &mpsc::Sender<DeltaDiscoveryRequest>,
    unanswered: usize,
    responses: &mut Streaming<DeltaDiscoveryResponse>,
) -> Result<Option<DeltaDiscoveryResponse>, Status> {
    if unanswered >= IN_FLIGHT {
        future::pending::<()>().await;
    }
    // Refused only when the stream is down, which the next read tells better.
    let _room = requests.reserve_many(unanswered + 1).await;
    responses.message().await
}

/// Waits for a word from the local Envoy or for time to be up. The rest comes first, so that a word is not lost when the
/// future is dropped.
async fn disturbance(changes: &mut watch::Receiver<u64>, rest: Instant, deadline: Option<std::time::Instant>) {
    let overdue = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => future::pending().await,
        }
    };
    let changed = async {
        tokio::time::sleep_until(rest).await;
        if changes.changed().await.is_err() {
            future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = overdue => {}
        () = changed => {}
    }
}

/// There is room, because nothing is read before there is. A stream that is down loses messages.
fn send(requests: &mpsc::Sender<DeltaDiscoveryRequest>, request: DeltaDiscoveryRequest) {
    if let Err(mpsc::error::TrySendError::Full(_)) = requests.try_send(request) {
        warn!("a message to the pilot was lost, because too many are on their way");
    }
}

fn replace<T: PartialEq>(outlet: &watch::Sender<T>, value: T) {
    outlet.send_if_modified(|current| {
        let changed = *current != value;
        if changed {
            *current = value;
        }
        changed
    });
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
