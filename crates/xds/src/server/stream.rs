//! One stream: a task between the transport and a session.
//!
//! The task does not wait for the transport, so its deadlines also hold for a proxy that does not read.

use std::{pin::pin, sync::Arc, time::Duration};

use err_report::Report;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

use super::{AdsService, codec::Outgoing, connection::Connection, proxies::Entry};
use crate::{
    AckStates, Pacing, Peer, ResourceSet, ResourceType,
    ack_states::StreamAckStates,
    session::server::{Action, Channel, Close, ProxyReport, ResponseToProxy, Session, identify},
};

/// Responses queued between the task and the transport. A session has fewer outstanding. A proxy that acknowledges
/// responses it has not read exceeds it.
const QUEUE: usize = 64;

type Outlet = mpsc::Sender<Outgoing>;

/// Begins a stream of one flavour. Returns its responses.
pub(super) fn begin<C: Channel + Send + 'static>(
    service: &AdsService,
    requests: Streaming<C::Request>,
    connection: Option<Connection>,
    pacing: Pacing,
) -> mpsc::Receiver<Outgoing> {
    let (outlet, responses) = mpsc::channel(QUEUE);
    // Streams hold the service, so this field would keep the channel of streams open.
    let stream = run::<C>(AdsService { begun: None, ..service.clone() }, requests, pacing, outlet, connection);
    // A service that has stopped starts no stream: the outlet is dropped with the stream, and the call ends.
    let _ = service.begun.as_ref().map(|begun| begun.send(Box::pin(stream)));
    responses
}

/// Serves a stream to its end. A proxy that ignores the end is cut off.
async fn run<C: Channel>(
    service: AdsService,
    requests: Streaming<C::Request>,
    pacing: Pacing,
    outlet: Outlet,
    connection: Option<Connection>,
) {
    let farewell = service.patience.farewell;
    let Err(status) = serve::<C>(&service, requests, pacing, &outlet, connection.as_ref()).await else {
        return;
    };
    drop(service);
    let told = outlet.try_send(Err(status)).is_ok();
    let gone = timeout(farewell, outlet.closed()).await.is_ok();
    if !(told && gone)
        && let Some(connection) = connection
    {
        connection.place.cut().cancel();
    }
}

async fn serve<C: Channel>(
    service: &AdsService,
    mut requests: Streaming<C::Request>,
    pacing: Pacing,
    outlet: &Outlet,
    connection: Option<&Connection>,
) -> Result<(), Status> {
    let late = |_| Status::deadline_exceeded("no request came");
    let first = tokio::select! {
        first = timeout(service.patience.first_request, requests.message()) => first.map_err(late)??,
        () = service.stop.cancelled() => return Err(stopping()),
    };
    let Some(first) = first else { return Ok(()) };
    let node = identify(&first).map_err(|close| closed(&close))?;
    let _in_use = connection.map(|connection| connection.place.busy());
    let peer = Peer { node, identity: connection.and_then(|connection| connection.identity.clone()) };
    service.source.admit(&peer).map_err(|error| {
        let client = connection.and_then(|connection| connection.client);
        tracing::warn!(?client, %error, "refused a proxy");
        service.proxies.refuse();
        Status::permission_denied(error.to_string())
    })?;
    let mut sets = service.source.subscribe(&peer);
    let mut repairs = service.repairs.subscribe();
    let mut stream = Stream::<C>::open(service, peer, Session::new(sets.current(), pacing), outlet.clone());
    stream.request(first)?;
    let mut more = true;
    // What ends the stream is waited for once. A new wait in each round would take locks, one of which all streams share.
    let mut unread = pin!(outlet.closed());
    let mut stopped = pin!(service.stop.cancelled());
    loop {
        tokio::select! {
            request = requests.message() => match request? {
                Some(request) => stream.request(request)?,
                None => return Ok(()),
            },
            // When the source has ended, the proxy keeps its resources.
            changed = sets.changed(), if more => match changed {
                true => stream.resources(sets.current())?,
                false => more = false,
            },
            Ok(()) = repairs.changed() => {
                let names = Arc::clone(&repairs.borrow_and_update());
                stream.tell_again(&names)?;
            }
            () = sleep_until(stream.deadline), if stream.session.unanswered() => {
                return Err(Status::deadline_exceeded("a response was not answered"));
            }
            () = &mut unread => return Ok(()),
            () = &mut stopped => return Err(stopping()),
        }
    }
}

/// A session with its observers.
struct Stream<C> {
    peer: Peer,
    session: Session<C>,
    entry: Entry,
    ack_states: Option<StreamAckStates>,
    outlet: Outlet,
    patience: Duration,
    /// When the next answer is due, while one is outstanding.
    deadline: Instant,
}

impl<C: Channel> Stream<C> {
    fn open(service: &AdsService, peer: Peer, session: Session<C>, outlet: Outlet) -> Self {
        let subject = peer.identity.as_ref().map(|identity| &*identity.subject);
        tracing::info!(node = %peer.node, flavour = ?C::FLAVOUR, subject, "proxy connected");
        Self {
            session,
            entry: service.proxies.enter(&peer, C::FLAVOUR),
            ack_states: service.ack_states.as_ref().map(AckStates::open),
            outlet,
            patience: service.patience.answer,
            deadline: Instant::now(),
            peer,
        }
    }

    fn request(&mut self, request: C::Request) -> Result<(), Status> {
        let idle = !self.session.unanswered();
        let actions = self.session.request(request).map_err(|close| closed(&close))?;
        self.act(idle, actions)
    }

    fn resources(&mut self, set: Arc<ResourceSet>) -> Result<(), Status> {
        let idle = !self.session.unanswered();
        let actions = self.session.resources(set);
        self.act(idle, actions)
    }

    fn tell_again(&mut self, names: &[(ResourceType, Arc<str>)]) -> Result<(), Status> {
        let idle = !self.session.unanswered();
        let actions = self.session.tell_again(names);
        self.act(idle, actions)
    }

    /// Carries out actions. The time for an answer starts with the first response after none was outstanding, and again
    /// with every answer.
    fn act(&mut self, was_idle: bool, actions: Vec<Action>) -> Result<(), Status> {
        if was_idle {
            self.deadline = Instant::now() + self.patience;
        }
        for action in actions {
            match action {
                Action::Send(response) => self.send(response)?,
                Action::Report(kind, report) => self.report(kind, report),
                Action::Ignore(url) => {
                    tracing::warn!(node = %self.peer.node, %url, "a proxy asks for a type that is not served");
                }
            }
        }
        self.entry.stands(self.session.refusing(), self.session.accepted());
        Ok(())
    }

    fn send(&mut self, response: ResponseToProxy) -> Result<(), Status> {
        self.entry.sent(response.kind, &response.version);
        let unread = |_| Status::resource_exhausted("responses are acknowledged that were not read");
        self.outlet.try_send(Ok(response)).map_err(unread)
    }

    fn report(&mut self, kind: ResourceType, report: ProxyReport) {
        self.entry.reported(kind, &report, self.session.withheld(kind));
        self.deadline = Instant::now() + self.patience;
        if let ProxyReport::Nacked { items, reason, version } = &report {
            let names: Vec<_> = items.iter().map(|(name, _)| &**name).take(10).collect();
            tracing::warn!(node = %self.peer.node, ?kind, ?names, %version, %reason, "a proxy refused resources");
        }
        let Some(ack_states) = &self.ack_states else { return };
        match report {
            ProxyReport::Subscribed => ack_states.subscribed(kind),
            ProxyReport::Acked { items, .. } => ack_states.acked(kind, items),
            ProxyReport::Nacked { items, reason, .. } => {
                let versions = items.into_iter().filter_map(|(name, version)| Some((name, version?)));
                ack_states.nacked(kind, versions, &reason);
            }
        }
    }
}

impl<C> Drop for Stream<C> {
    fn drop(&mut self) {
        tracing::info!(node = %self.peer.node, "proxy disconnected");
    }
}

fn stopping() -> Status {
    Status::unavailable("the server is stopping")
}

fn closed(close: &Close) -> Status {
    let text = Report::new(close).to_string();
    match close {
        Close::NoNode | Close::BadNode(_) | Close::LongNode(_) => Status::invalid_argument(text),
        Close::TooManyNames(_) => Status::resource_exhausted(text),
    }
}
