//! The agent's relay. It decides which resources the local Envoy gets, which names DNS answers, and when the pilot's
//! responses are answered.
//!
//! ```text
//!            pilot                       Relay                        this VM
//!   response ----------> received --(less what Envoy refused)--> served ----> Envoy
//!                                                                  |            |
//!   ACK/NACK <---------- awaiting <-------------- ACK/NACK --------|------------'
//!                                                    |             v
//!   Names    ----------> waiting  --(all accepted)---'--------> answered ---> DNS
//! ```
//!
//! Rules:
//! * A name is answered once Envoy has accepted every listener and cluster that its resource says it needs
//!   ([`Needs`](crate::names::Needs)), and the capture listener. It stays answered until the pilot removes it or an Envoy
//!   rejects a resource on the way to it. An Envoy that disconnects removes no name.
//! * An answered name always has a listener and a cluster in the served set (unless no proxy is required). If the pilot
//!   removes the last one before the name, or Envoy rejects it and has accepted no earlier version, the name is removed
//!   first and waits again.
//! * A version that Envoy rejected is replaced, in the served and the stored set, by the last version it accepted. It
//!   is tried again with growing pauses, and at once when a stream of Envoy opens or ends: another Envoy is sent
//!   everything anew.
//! * A type is served once all of it was received, so that an Envoy that reconnects with its resources is not told that
//!   the rest is gone.
//! * Only a removal by name removes a resource. The end of a stream, an error and a reconnect change nothing here.
//! * The pilot's response is answered with Envoy's answer. It is acknowledged when there is no Envoy, or
//!   when Envoy takes longer than [`RelaySettings::patience`]. A resource that Envoy rejects after that is requested
//!   again so that it can be rejected, and one that it accepts after all, so that it can be acknowledged.
//!
//! The relay has no I/O and no clock: time and Envoy's answers are arguments.

mod doubts;
mod gate;
mod local_envoy;
mod needs;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_backoff::Backoff;
use boshy_mesh::NameTable;

pub use self::{
    doubts::Nack,
    gate::NameChange,
    local_envoy::LocalEnvoy,
    store::{StoreError, Stored},
};
use self::{
    doubts::{Doubts, Judgement, Standing},
    gate::Gate,
    needs::Path,
};
use crate::{
    Layer, ResourceMap, ResourceSet, ResourceType, TypedResources,
    envoy::{CAPTURE, Capture, captured_at},
    order::JUDGED,
    session::client::{DeltaClient, Malformed, RequestToPilot, ResponseFromPilot, Update},
};

/// Settings chosen by an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelaySettings {
    /// How long the pilot waits for an answer while Envoy gives none.
    pub patience: Duration,
    /// Whether a name waits for Envoy. `false` on a VM without one.
    pub require_proxy: bool,
    /// This VM's settings of the capture listener; `None` to use the pilot's.
    pub capture: Option<Capture>,
    /// Pauses before a rejected version of a resource is tried again.
    pub retry: Backoff,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            require_proxy: true,
            capture: None,
            retry: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), jitter: 0.0 },
        }
    }
}

/// Actions, to be carried out in the order of the fields: names are removed before their listeners.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Names that are answered from now on, or no longer.
    pub names: Vec<NameChange>,
    /// Whether the served set has changed.
    pub served: bool,
    /// Messages for the pilot.
    pub upstream: Vec<RequestToPilot>,
    /// Events to be logged.
    pub events: Vec<RelayEvent>,
}

/// An unusual event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEvent {
    /// A response was rejected before it reached Envoy.
    Malformed(Malformed),
    /// Envoy rejected a resource. Reported at the first attempt, and when the error text changes.
    Nacked(Nack),
    /// Envoy accepted a resource that it had rejected.
    Recovered {
        /// Type of the resource.
        kind: ResourceType,
        /// Name of the resource.
        name: Arc<str>,
    },
    /// Envoy did not answer in time; the response was acknowledged.
    Unanswered {
        /// Type of the response.
        kind: ResourceType,
        /// Resources without an answer.
        resources: usize,
    },
}

/// Numbers of names by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NameCounts {
    /// Answered by DNS.
    pub answered: usize,
    /// Not answered yet, because Envoy cannot carry their traffic.
    pub waiting: usize,
}

/// A response whose answer depends on Envoy.
#[derive(Debug)]
struct Awaiting {
    kind: ResourceType,
    nonce: String,
    /// Names and versions.
    resources: Vec<(Arc<str>, Arc<str>)>,
    deadline: Instant,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Relay {
    settings: RelaySettings,
    client: DeltaClient,
    doubts: Doubts,
    gate: Gate,
    awaiting: Vec<Awaiting>,
    /// Rejections that the pilot was told of on this stream.
    told: BTreeSet<(ResourceType, Arc<str>)>,
    /// Resources that the pilot was asked to send again on this stream.
    asked: BTreeSet<(ResourceType, Arc<str>)>,
    /// The last seen value of [`Judge::streams`].
    streams: Option<u64>,
    versions: BTreeMap<ResourceType, String>,
    /// The received resources without the rejected ones.
    offered: DeltaClient,
    served: Arc<ResourceSet>,
}

impl Relay {
    /// Starts from the stored state. Its names are answered at once, as they were when it was stored.
    pub fn new(settings: RelaySettings, stored: Stored) -> Self {
        let (mut client, gate) = stored.into_parts();
        if let Some(capture) = settings.capture {
            client.replace(ResourceType::Listener, CAPTURE, |listener| captured_at(listener, capture));
        }
        let mut doubts = Doubts::default();
        for kind in JUDGED {
            doubts.pass_all(kind, client.held(kind).values());
        }
        let mut relay = Self {
            settings,
            doubts,
            gate,
            offered: client.clone(),
            client,
            awaiting: Vec::new(),
            told: BTreeSet::new(),
            asked: BTreeSet::new(),
            streams: None,
            versions: BTreeMap::new(),
            served: Arc::default(),
        };
        let mut names = Vec::new();
        relay.suspend_unbacked(&mut names);
        if !settings.require_proxy {
            relay.gate.admit(|_, _, _| true, &mut names);
        }
        relay.serve(&JUDGED);
        relay
    }

    /// Resources that the local Envoy may ask for.
    pub fn served(&self) -> &Arc<ResourceSet> {
        &self.served
    }

    /// Names that DNS answers.
    pub fn answered(&self) -> NameTable {
        self.gate.table()
    }

    /// State to be kept across a restart.
    pub fn stored(&self) -> Stored {
        let good = |kind| self.doubts.less_unsettled(kind, self.client.held(kind));
        let known = |kind| self.client.is_known(kind).then(|| good(kind));
        // Answered names without their name resources could not be read back.
        let gate = if self.client.is_known(ResourceType::Names) { self.gate.clone() } else { Gate::default() };
        Stored::of(DeltaClient::knowing(known), gate)
    }

    /// Numbers of answered and waiting names.
    pub fn counts(&self) -> NameCounts {
        self.gate.counts()
    }

    /// Resources that Envoy has rejected and not accepted since.
    pub fn nacks(&self) -> impl Iterator<Item = Nack> {
        self.doubts.refusals()
    }

    /// The pilot's version of each type, from its last response.
    pub fn versions(&self) -> &BTreeMap<ResourceType, String> {
        &self.versions
    }

    /// Types that are known completely.
    pub fn known(&self) -> impl Iterator<Item = ResourceType> {
        ResourceType::ALL.into_iter().filter(|kind| self.client.is_known(*kind))
    }

    /// Resources that were received and not removed since.
    pub fn received(&self, kind: ResourceType) -> &Arc<ResourceMap> {
        self.client.held(kind)
    }

    /// Number of the pilot's responses that are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.awaiting.len()
    }

    /// When [`Relay::reconsider`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.awaiting.iter().map(|awaiting| awaiting.deadline).chain(self.doubts.next_attempt()).min()
    }

    /// A stream to a pilot opened: returns the first messages. Resources that are open or rejected here are requested
    /// again, because an earlier stream may have ended before the pilot got the answer, and another pilot never got it.
    pub fn opened(&mut self) -> Vec<RequestToPilot> {
        self.awaiting.clear();
        self.told.clear();
        self.asked.clear();
        self.client.subscribe(|kind, name| self.doubts.standing(kind, name).is_some_and(Standing::is_unsettled))
    }

    /// Handles a response.
    pub fn receive(&mut self, mut response: ResponseFromPilot, now: Instant, envoy: &impl LocalEnvoy) -> Step {
        let kind = response.kind;
        if let (ResourceType::Listener, Some(capture)) = (kind, self.settings.capture) {
            for listener in response.resources.iter_mut().filter(|listener| *listener.name == *CAPTURE) {
                *listener = captured_at(listener, capture);
            }
        }
        let update = match self.client.on_response(response) {
            Ok(update) => update,
            Err(malformed) => return Step::refusing(malformed),
        };
        self.versions.insert(kind, update.version.clone());
        let mut step = Step::default();
        if kind == ResourceType::Names {
            self.rename(&update, &mut step.names);
        } else {
            self.replace(&update);
        }
        self.awaiting.push(Awaiting {
            kind,
            nonce: update.nonce,
            resources: update.resources.iter().map(|r| (Arc::clone(&r.name), Arc::clone(&r.version))).collect(),
            deadline: now + self.settings.patience,
        });
        let changed = if kind == ResourceType::Names { Vec::new() } else { vec![kind] };
        self.decide(changed, !update.removed.is_empty(), now, envoy, &mut step);
        step
    }

    /// Envoy answered, connected or disconnected, or time passed.
    pub fn reconsider(&mut self, now: Instant, envoy: &impl LocalEnvoy) -> Step {
        let mut step = Step::default();
        self.decide(Vec::new(), false, now, envoy, &mut step);
        step
    }

    fn rename(&mut self, update: &Update, changes: &mut Vec<NameChange>) {
        for name in &update.removed {
            self.gate.take_back(name, changes);
        }
        for name in &update.names {
            self.gate.announce(name, changes);
        }
    }

    fn replace(&mut self, update: &Update) {
        for name in update.removed.iter().chain(update.resources.iter().map(|resource| &resource.name)) {
            let key = (update.kind, Arc::clone(name));
            self.told.remove(&key);
            self.asked.remove(&key);
        }
        for name in &update.removed {
            self.doubts.forget(update.kind, name);
        }
        for (resource, before) in update.resources.iter().zip(&update.before) {
            self.doubts.replaced(update.kind, before.as_ref(), resource);
        }
    }

    /// Computes all consequences of `changed` resources (some of them maybe `lost`), answers of Envoy, and time.
    fn decide(
        &mut self,
        mut changed: Vec<ResourceType>,
        lost: bool,
        now: Instant,
        envoy: &impl LocalEnvoy,
        step: &mut Step,
    ) {
        changed.extend(self.offer_again(now, envoy));
        let Judgement { refusals, mended } = self.doubts.judge(&self.client, envoy, &self.settings, now);
        let lost = lost || !refusals.is_empty();
        changed.extend(refusals.iter().map(|refusal| refusal.kind));
        let first = |refusal: &Nack| refusal.attempts == 1;
        step.events.extend(refusals.into_iter().filter(first).map(RelayEvent::Nacked));
        step.events.extend(mended.into_iter().map(|(kind, name)| RelayEvent::Recovered { kind, name }));
        step.served = !changed.is_empty();
        if step.served {
            self.serve(&changed);
        }
        if lost {
            self.suspend_unbacked(&mut step.names);
        }
        self.answer(now, step);
        step.upstream.extend(self.correct());
        let Self { gate, client: received, offered, doubts, settings, .. } = self;
        let path = Path { received, offered };
        let refused = |endpoints: &str| doubts.was_refused(ResourceType::Endpoints, endpoints);
        gate.forget_former(|host, target| path.is_backed(host, target));
        gate.admit(
            |host, target, before| !settings.require_proxy || path.is_ready(host, target, before, envoy, refused),
            &mut step.names,
        );
    }

    /// Serves rejected resources again that are due. Returns the types of which more is served.
    fn offer_again(&mut self, now: Instant, envoy: &impl LocalEnvoy) -> Vec<ResourceType> {
        let (streams, patience) = (envoy.streams(), self.settings.patience);
        let before = self.streams.replace(streams);
        if before.is_some_and(|before| before != streams) {
            self.doubts.begin_anew(&self.client, patience, now)
        } else {
            self.doubts.try_again(patience, now)
        }
    }

    /// Requests resources again that were acknowledged before they were rejected, or rejected before they were
    /// accepted, so that the pilot gets the right answer.
    fn correct(&mut self) -> impl Iterator<Item = RequestToPilot> + use<> {
        let refused = self.doubts.refused().map(|(kind, name)| (kind, Arc::clone(name)));
        let wrong = refused.filter(|key| !self.told.contains(key));
        let mended = self.told.iter().filter(|(kind, name)| self.doubts.standing(*kind, name).is_none()).cloned();
        let open = |(kind, name): &(ResourceType, Arc<str>)| {
            let mut awaiting = self.awaiting.iter().filter(|awaiting| awaiting.kind == *kind);
            awaiting.any(|awaiting| awaiting.resources.iter().any(|(n, _)| n == name))
        };
        let ask: Vec<_> = wrong.chain(mended).filter(|key| !self.asked.contains(key) && !open(key)).collect();
        self.asked.extend(ask.iter().cloned());
        let mut again: BTreeMap<ResourceType, Vec<Arc<str>>> = BTreeMap::new();
        for (kind, name) in ask {
            again.entry(kind).or_default().push(name);
        }
        again.into_iter().map(|(kind, names)| RequestToPilot::Resend { kind, names })
    }

    fn suspend_unbacked(&mut self, changes: &mut Vec<NameChange>) {
        if self.settings.require_proxy {
            let path = Path { received: &self.client, offered: &self.offered };
            self.gate.suspend(|host, target| path.is_backed(host, target), changes);
        }
    }

    fn answer(&mut self, now: Instant, step: &mut Step) {
        let Self { doubts, told, .. } = self;
        self.awaiting.retain_mut(|awaiting| {
            let overdue = now >= awaiting.deadline;
            let Some(request) = awaiting.answer(doubts, overdue, &mut step.events) else { return true };
            // A resource that was rejected together with others is sent again alone.
            if let (RequestToPilot::Nack { .. }, [(name, _)]) = (&request, &awaiting.resources[..]) {
                told.insert((awaiting.kind, Arc::clone(name)));
            }
            step.upstream.push(request);
            false
        });
    }

    fn serve(&mut self, changed: &[ResourceType]) {
        let mut served = ResourceSet::clone(&self.served);
        for &kind in changed.iter().filter(|kind| self.client.is_known(**kind)) {
            let map = self.doubts.less_refused(kind, self.client.held(kind));
            served = served.with(kind, TypedResources::new([Layer::new(Arc::clone(&map))]));
            self.offered.know(kind, map);
        }
        self.served = Arc::new(served);
    }
}

impl Awaiting {
    /// The answer to the pilot, once there is one.
    fn answer(&self, doubts: &mut Doubts, overdue: bool, events: &mut Vec<RelayEvent>) -> Option<RequestToPilot> {
        let (type_url, nonce) = (self.kind.url().to_owned(), self.nonce.clone());
        let mut open = Vec::new();
        for (name, version) in &self.resources {
            match doubts.standing_of(self.kind, name, version) {
                Some(Standing::Refused(reason)) => {
                    return Some(RequestToPilot::Nack { type_url, nonce, reason: format!("{name}: {reason}") });
                }
                Some(Standing::Open) => open.push(name),
                Some(Standing::Passed) | None => {}
            }
        }
        if !open.is_empty() {
            if !overdue {
                return None;
            }
            events.push(RelayEvent::Unanswered { kind: self.kind, resources: open.len() });
            for name in open {
                doubts.pass(self.kind, name);
            }
        }
        Some(RequestToPilot::Ack { type_url, nonce })
    }
}

impl Step {
    /// The answer to a response that never reached the relay, because it is malformed.
    pub fn refusing(malformed: Malformed) -> Self {
        Self {
            upstream: vec![malformed.clone().into()],
            events: vec![RelayEvent::Malformed(malformed)],
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod any_order_tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod refusals_tests;
#[cfg(test)]
mod retries_tests;
#[cfg(test)]
mod test_support;
