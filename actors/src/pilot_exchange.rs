//! Keeps one stream to a pilot open. What it delivers goes to the local Envoy and to the disk, and is then
//! acknowledged.
//!
//! ```text
//!   streams ── PilotHeard ───> PilotExchange ──> Outlets (boshy_xds::agent::Exchange decides)
//!   Envoy ──── AckStatesChanged >│
//!   disk ───── StateKept ───────>│
//!   identity ─ IdentityChanged ─>│
//!   clock ──── TimePassed ──────>'
//! ```
//!
//! The relay decides what is served, answered and acknowledged (`boshy_xds::agent::relay`). A fresh life starts from
//! what the previous one published.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use boshy_config::NodeSettings;
use boshy_supervision::{Heart, Link};
use boshy_tls::ClientTls;
use boshy_xds::{
    AckStates,
    agent::{
        Avoided, Exchange, ExchangeSettings, Outlets, PickerSettings, PilotConnection, PilotStream, StreamEvent,
        StreamListener, Uri,
        relay::{Relay, RelaySettings, Stored},
    },
};
use tokio::{sync::watch, time::sleep};
use tracing::info;

use crate::{clock, held_identity::Held};

/// Configuration and channels of the exchange; they outlive the actor.
#[derive(Clone)]
pub(crate) struct PilotExchangeParts {
    /// How to reach pilots; `None` in tests, which send the pilot's messages themselves.
    pub(crate) streams: Option<Streams>,
    /// Settings of the relay.
    pub(crate) relay: RelaySettings,
    /// Which resources the local Envoy has acknowledged or rejected.
    pub(crate) ack_states: AckStates,
    /// The channels to publish on.
    pub(crate) outlets: Outlets,
    /// The VM's key and certificate.
    pub(crate) held: watch::Receiver<Arc<Held>>,
}

/// How to reach pilots.
#[derive(Clone)]
pub(crate) struct Streams {
    /// The agent's identity, except for the address.
    pub(crate) node: NodeSettings,
    /// The VM's address. Without it a pilot cannot serve this VM.
    pub(crate) address: watch::Receiver<Option<Ipv4Addr>>,
    /// Pilots in order of preference; never empty.
    pub(crate) pilots: Vec<Uri>,
    /// Limits of a connection.
    pub(crate) settings: ExchangeSettings,
    /// TLS for `https` pilots.
    pub(crate) tls: Option<ClientTls>,
    /// Where the connection of the stream is shown.
    pub(crate) connection: watch::Sender<Option<PilotConnection>>,
}

/// An event of a stream to a pilot.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct PilotHeard(pub(crate) StreamEvent);

/// Envoy acknowledged or rejected a resource, connected or disconnected. The answer is how long to let more of its
/// answers gather before the next message.
#[derive(Message)]
#[rtype(result = "Duration")]
pub(crate) struct AckStatesChanged;

/// The state on disk has changed, or cannot be written.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StateKept;

/// The VM has another certificate.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct IdentityChanged;

/// A deadline may have passed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct TimePassed;

/// See the module's documentation.
pub(crate) struct PilotExchange {
    exchange: Exchange,
    parts: PilotExchangeParts,
    link: Link,
    /// When the next [`TimePassed`] is due.
    alarm: Option<(Instant, SpawnHandle)>,
}

impl PilotExchange {
    /// An exchange for one life.
    pub(crate) fn new(parts: PilotExchangeParts, link: &Link) -> Self {
        let PilotExchangeParts { relay, ack_states, outlets, .. } = parts.clone();
        let stored = outlets.stored.borrow().as_ref().clone();
        let exchange = Exchange::new(Relay::new(relay, stored), ack_states, outlets);
        let mut new = Self { exchange, parts, link: link.clone(), alarm: None };
        new.hold();
        new
    }

    /// Serves the secrets of the VM to Envoy.
    fn hold(&mut self) {
        let held = Arc::clone(&self.parts.held.borrow());
        if let Some(issued) = held.issued() {
            self.exchange.hold(&issued.secrets());
        }
    }

    /// Sets the timer to the next deadline, when it has changed.
    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.exchange.deadline();
        if self.alarm.as_ref().map(|(at, _)| *at) == deadline {
            return;
        }
        if let Some((_, alarm)) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        self.alarm = deadline.map(|at| {
            let rest = at.saturating_duration_since(Instant::now());
            (at, ctx.notify_later(TimePassed, rest))
        });
    }
}

impl Actor for PilotExchange {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let PilotExchangeParts { streams, ack_states, outlets, held, .. } = self.parts.clone();
        let (own, link) = (ctx.address(), self.link.clone());
        if let Some(streams) = streams {
            let (unanswered, stored) = (outlets.unanswered.subscribe(), outlets.stored.subscribe());
            link.keep(ctx, "streams to pilots", |heart| {
                converse(streams, (unanswered, stored, held.clone()), own.clone(), heart)
            });
        }
        link.keep(ctx, "answers of Envoy", |heart| follow_ack_states(ack_states.changes(), own.clone(), heart));
        link.keep(ctx, "the identity", |heart| follow_identity(held, own.clone(), heart));
        link.keep(ctx, "the disk", |heart| follow_disk(outlets, own, heart));
        self.set_alarm(ctx);
    }
}

impl Handler<PilotHeard> for PilotExchange {
    type Result = ();

    fn handle(&mut self, PilotHeard(event): PilotHeard, ctx: &mut Context<Self>) {
        self.exchange.heard(event);
        self.set_alarm(ctx);
    }
}

impl Handler<AckStatesChanged> for PilotExchange {
    type Result = actix::MessageResult<AckStatesChanged>;

    fn handle(&mut self, _: AckStatesChanged, ctx: &mut Context<Self>) -> Self::Result {
        let rest = self.exchange.ack_states_changed();
        self.set_alarm(ctx);
        actix::MessageResult(rest)
    }
}

impl Handler<StateKept> for PilotExchange {
    type Result = ();

    fn handle(&mut self, _: StateKept, _: &mut Context<Self>) {
        self.exchange.kept();
    }
}

impl Handler<IdentityChanged> for PilotExchange {
    type Result = ();

    fn handle(&mut self, _: IdentityChanged, ctx: &mut Context<Self>) {
        self.hold();
        self.set_alarm(ctx);
    }
}

impl Handler<TimePassed> for PilotExchange {
    type Result = ();

    fn handle(&mut self, _: TimePassed, ctx: &mut Context<Self>) {
        self.alarm = None;
        self.exchange.time();
        self.set_alarm(ctx);
    }
}

/// Passes the events of a stream to the actor of the same life.
struct Ear(Addr<PilotExchange>);

impl StreamListener for Ear {
    async fn hear(&self, event: StreamEvent) -> bool {
        self.0.send(PilotHeard(event)).await.is_ok()
    }
}

/// Connects as the node that this VM is. With another address it is another node, with another stream. A VM that gets a
/// certificate connects anew, because a pilot knows by the connection what the VM can do. With a later one it stays
/// connected, unless that one is of another authority: the pilot may not have accepted the one before.
async fn converse(
    mut streams: Streams,
    (unanswered, stored, mut held): (watch::Receiver<usize>, watch::Receiver<Arc<Stored>>, watch::Receiver<Arc<Held>>),
    exchange: Addr<PilotExchange>,
    heart: Heart,
) {
    let (ear, avoided) = (Ear(exchange), Avoided::default());
    loop {
        let Ok(ip) = heart.rest(streams.address.wait_for(Option::is_some)).await.map(|ip| *ip) else { return };
        let Streams { node, settings, tls, pilots, connection, .. } = streams.clone();
        let (unanswered, stored, avoided) = (unanswered.clone(), stored.clone(), avoided.clone());
        let stream = PilotStream { node: node.id_at(ip), settings, tls, unanswered, stored, avoided, connection };
        let conversing = heart.rest(stream.run_forever(&pilots, PickerSettings::default(), &ear));
        let before = held.borrow().authority_at(clock::now()).map(str::to_owned);
        let is_by_another = |held: &Arc<Held>| {
            let authority = held.authority_at(clock::now());
            authority.is_some() && authority != before.as_deref()
        };
        tokio::select! {
            never = conversing => match never {},
            Ok(_) = held.wait_for(is_by_another) => info!("connecting to the pilot anew, by the VM's own certificate"),
            _ = streams.address.wait_for(|now| *now != ip) => {}
        }
    }
}

async fn follow_ack_states(mut changes: watch::Receiver<u64>, exchange: Addr<PilotExchange>, heart: Heart) {
    while heart.rest(changes.changed()).await.is_ok() {
        let Ok(rest) = exchange.send(AckStatesChanged).await else { return };
        heart.rest(sleep(rest)).await;
    }
}

async fn follow_identity(mut held: watch::Receiver<Arc<Held>>, exchange: Addr<PilotExchange>, heart: Heart) {
    // Changes before the subscription count as a change, too.
    held.mark_changed();
    while heart.rest(held.changed()).await.is_ok() {
        if exchange.send(IdentityChanged).await.is_err() {
            return;
        }
    }
}

async fn follow_disk(outlets: Outlets, exchange: Addr<PilotExchange>, heart: Heart) {
    let mut kept = outlets.kept.subscribe();
    // Changes before the subscription count as a change, too.
    kept.mark_changed();
    while heart.rest(kept.changed()).await.is_ok() {
        if exchange.send(StateKept).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "pilot_exchange_tests.rs"]
mod tests;
