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
//! | module | decides |
//! |---|---|
//! | `unacked` | what is served instead of a rejected version, and when that is tried again |
//! | `local` | what this VM makes for its own Envoy: the capture listener and the secrets |
//! | `needs`, `gate` | which names are answered |
//! | `answers`, `statuses` | what the pilot's responses are answered |
//! | `store` | what is kept across a restart |
//!
//! Rules:
//! * A name is answered once Envoy has accepted every listener and cluster that its resource says it needs
//!   ([`Needs`](crate::names::Needs)), and the capture listener. It stays answered until the pilot removes it or an
//!   Envoy rejects a resource on the way to it. An Envoy that disconnects removes no name.
//! * An answered name always has a listener and a cluster in the served set (unless no proxy is required). If the pilot
//!   removes the last one before the name, or Envoy rejects it and has accepted no earlier version, the name is removed
//!   first and waits again.
//! * A version that Envoy rejected is replaced, in the served and the stored set, by the last version it accepted. It
//!   is tried again with growing pauses, and at once when a stream of Envoy opens or ends: another Envoy is sent
//!   everything anew.
//! * A type is served once all of it was received, or made here, so that an Envoy that reconnects with its resources is
//!   not told that the rest is gone.
//! * Only a removal by name removes a resource. The end of a stream, an error and a reconnect change nothing here.
//! * The pilot's response is answered with Envoy's answer. It is acknowledged when there is no Envoy, or when Envoy
//!   takes longer than [`RelaySettings::patience`]. A resource that Envoy rejects after that is requested again so that
//!   it can be rejected, and one that it accepts after all, so that it can be acknowledged.
//! * A received resource of the same name as one that this VM makes is stored and never served. It is answered as Envoy
//!   answers for that one.
//!
//! The relay has no I/O and no clock: time and Envoy's answers are arguments.

mod answers;
mod gate;
mod local;
mod local_envoy;
mod needs;
mod settings;
mod statuses;
mod step;
mod store;
mod unacked;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use boshy_mesh::NameTable;

use self::{
    answers::Answers,
    gate::Gate,
    local::Local,
    needs::Path,
    statuses::Statuses,
    unacked::{Changes, Status, Unacked},
};
pub use self::{
    gate::{NameChange, NameCounts},
    local_envoy::LocalEnvoy,
    settings::RelaySettings,
    step::{RelayEvent, Step},
    store::{StoreError, Stored},
    unacked::Nack,
};
use crate::{
    Resource, ResourceMap, ResourceSet, ResourceType, Secrets,
    order::JUDGED,
    session::client::{DeltaClient, RequestToPilot, ResponseFromPilot, Update},
    table,
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Relay {
    settings: RelaySettings,
    /// What was received.
    client: DeltaClient,
    /// Those of the received resources that Envoy has not accepted.
    unacked: Unacked,
    local: Local,
    gate: Gate,
    answers: Answers,
    /// The last seen value of [`LocalEnvoy::streams`].
    streams: Option<u64>,
    versions: BTreeMap<ResourceType, String>,
    /// See [`Stored::table`].
    table: Option<u64>,
    served: Arc<ResourceSet>,
}

impl Relay {
    /// Starts from the stored state. Its names are answered at once, as they were when it was stored.
    pub fn new(settings: RelaySettings, stored: Stored) -> Self {
        let (client, gate, table) = stored.into_parts();
        let local = Local::new(settings.capture);
        let mut relay = Self {
            settings,
            unacked: Unacked::presuming(visible(&client, &local)),
            client,
            local,
            gate,
            answers: Answers::default(),
            streams: None,
            versions: BTreeMap::new(),
            table,
            served: Arc::default(),
        };
        relay.serve(JUDGED);
        let mut names = Vec::new();
        relay.suspend_unbacked(&mut names);
        if !settings.require_proxy {
            relay.gate.admit(|_, _, _| true, &mut names);
        }
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
        let good = |kind| self.unacked.without_unsettled(kind, self.client.held(kind));
        let known = |kind| self.client.is_known(kind).then(|| good(kind));
        // Answered names without their name resources could not be read back.
        let gate = if self.client.is_known(ResourceType::Names) { self.gate.clone() } else { Gate::default() };
        Stored::of(DeltaClient::knowing(known), gate, self.table)
    }

    /// Numbers of answered and waiting names.
    pub fn counts(&self) -> NameCounts {
        self.gate.counts()
    }

    /// Resources that Envoy has rejected and not accepted since: first those of this VM itself.
    pub fn nacks(&self) -> impl Iterator<Item = Nack> {
        self.local.unacked.nacks().chain(self.unacked.nacks())
    }

    /// The pilot's version of each type, from its last response.
    pub fn versions(&self) -> &BTreeMap<ResourceType, String> {
        &self.versions
    }

    /// Types that were received completely.
    pub fn known(&self) -> impl Iterator<Item = ResourceType> {
        ResourceType::ALL.into_iter().filter(|kind| self.client.is_known(*kind))
    }

    /// Resources that were received and not removed since.
    pub fn received(&self, kind: ResourceType) -> &Arc<ResourceMap> {
        self.client.held(kind)
    }

    /// Number of the pilot's responses that are not answered yet.
    pub fn unanswered(&self) -> usize {
        self.answers.awaiting()
    }

    /// When [`Relay::reconsider`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let retries = [self.unacked.next_retry(), self.local.unacked.next_retry()];
        retries.into_iter().chain([self.answers.deadline()]).flatten().min()
    }

    /// A stream to a pilot opened: returns the first messages. Resources that are pending or rejected here are
    /// requested again, because an earlier stream may have ended before the pilot got the answer, and another pilot
    /// never got it.
    ///
    /// A pilot that reads `digests` is said one for each type that is settled here.
    pub fn opened(&mut self, digests: bool) -> Vec<RequestToPilot> {
        self.answers = Answers::default();
        self.say(|received, in_doubt| received.subscribe(digests, in_doubt))
    }

    /// What is said of the received resources, some of which are in doubt.
    fn say<T>(&mut self, say: impl FnOnce(&DeltaClient, &dyn Fn(ResourceType, &str) -> bool) -> T) -> T {
        let Self { client: received, unacked, local, .. } = self;
        let statuses = Statuses { received, unacked, local };
        say(received, &|kind, name| statuses.status(kind, name).is_some_and(Status::is_unsettled))
    }

    /// Handles a response.
    pub fn receive(&mut self, response: ResponseFromPilot, now: Instant, envoy: &impl LocalEnvoy) -> Step {
        if response.asks() && response.kind.is_of_pilots() {
            let told = self.say(|received, in_doubt| received.tell(response.kind, response.nonce, in_doubt));
            return Step { upstream: vec![told], ..Step::default() };
        }
        let update = match self.client.on_response(response) {
            Ok(update) => update,
            Err(malformed) => return Step::refusing(malformed),
        };
        self.versions.insert(update.kind, update.version.clone());
        self.answers.received(&update, now + self.settings.patience);
        let mut step = Step::default();
        let mut changed = BTreeSet::new();
        if update.kind == ResourceType::Names {
            self.table = self.table.max(table::of_names(&update.version));
            self.rename(&update, &mut step.names);
        } else {
            self.replace(&update);
            changed.insert(update.kind);
        }
        self.decide(changed, !update.removed.is_empty(), now, envoy, &mut step);
        step
    }

    /// The VM has these secrets from now on.
    pub fn hold(&mut self, secrets: &Secrets, now: Instant, envoy: &impl LocalEnvoy) -> Step {
        let changed = self.local.hold(secrets).then_some(ResourceType::Secret);
        let mut step = Step::default();
        self.decide(changed.into_iter().collect(), false, now, envoy, &mut step);
        step
    }

    /// Envoy answered, connected or disconnected, or time passed.
    pub fn reconsider(&mut self, now: Instant, envoy: &impl LocalEnvoy) -> Step {
        let mut step = Step::default();
        self.decide(BTreeSet::new(), false, now, envoy, &mut step);
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
        for name in &update.removed {
            self.unacked.removed(update.kind, name);
        }
        for (resource, before) in update.resources.iter().zip(&update.before) {
            if !self.local.hides(update.kind, &resource.name) {
                self.unacked.replaced(update.kind, before.as_ref(), resource);
            }
        }
    }

    /// Computes all consequences of `changed` types (some of their resources maybe `lost`), answers of Envoy, and time.
    fn decide(
        &mut self,
        mut changed: BTreeSet<ResourceType>,
        lost: bool,
        now: Instant,
        envoy: &impl LocalEnvoy,
        step: &mut Step,
    ) {
        changed.extend(self.offer_again(now, envoy));
        let Changes { nacks, recovered } = self.apply_answers(now, envoy);
        let lost = lost || !nacks.is_empty();
        changed.extend(nacks.iter().map(|nack| nack.kind));
        step.events.extend(nacks.into_iter().filter(|nack| nack.attempts == 1).map(RelayEvent::Nacked));
        step.events.extend(recovered.into_iter().map(|(kind, name)| RelayEvent::Recovered { kind, name }));
        step.served = !changed.is_empty();
        if step.served {
            self.serve(changed);
        }
        if lost {
            self.suspend_unbacked(&mut step.names);
        }
        self.answer(now, step);
        self.admit_ready(envoy, &mut step.names);
    }

    /// Serves rejected resources again that are due. Returns the types of which more is served.
    fn offer_again(&mut self, now: Instant, envoy: &impl LocalEnvoy) -> Vec<ResourceType> {
        let (streams, patience) = (envoy.streams(), self.settings.patience);
        let before = self.streams.replace(streams);
        let Self { unacked, local, client, .. } = self;
        if before.is_some_and(|before| before != streams) {
            let mut changed = unacked.restart(visible(client, local), patience, now);
            changed.extend(local.restart(patience, now));
            changed
        } else {
            let mut changed = unacked.retry_due(patience, now);
            changed.extend(local.unacked.retry_due(patience, now));
            changed
        }
    }

    fn apply_answers(&mut self, now: Instant, envoy: &impl LocalEnvoy) -> Changes {
        let served = JUDGED.map(|kind| self.is_served(kind).then_some(kind));
        let Self { unacked, local, settings, .. } = self;
        let mut changes = Changes::default();
        for unacked in [&mut local.unacked, unacked] {
            unacked.apply_answers(|kind| served.contains(&Some(kind)), envoy, settings, now, &mut changes);
        }
        changes
    }

    fn answer(&mut self, now: Instant, step: &mut Step) {
        let Self { client: received, unacked, local, answers, .. } = self;
        let mut statuses = Statuses { received, unacked, local };
        answers.answer(&mut statuses, now, step);
        step.upstream.extend(answers.correct(&statuses));
    }

    /// Whether a type is known completely.
    fn is_served(&self, kind: ResourceType) -> bool {
        self.client.is_known(kind) || self.local.is_all_of(kind)
    }

    fn serve(&mut self, changed: impl IntoIterator<Item = ResourceType>) {
        let mut served = ResourceSet::clone(&self.served);
        for kind in changed.into_iter().filter(|kind| self.is_served(*kind)) {
            let received = self.unacked.without_nacked(kind, self.client.held(kind));
            served = served.with(kind, self.local.on(kind, received));
        }
        self.served = Arc::new(served);
    }

    fn suspend_unbacked(&mut self, changes: &mut Vec<NameChange>) {
        if self.settings.require_proxy {
            let path = Path::new(&self.client, &self.unacked, &self.local, &self.served);
            self.gate.suspend(|host, target| path.is_backed(host, target), changes);
        }
    }

    fn admit_ready(&mut self, envoy: &impl LocalEnvoy, changes: &mut Vec<NameChange>) {
        let Self { gate, client, unacked, local, served, settings, .. } = self;
        let path = Path::new(client, unacked, local, served);
        gate.forget_former(|host, target| path.is_backed(host, target));
        gate.admit(
            |host, target, before| !settings.require_proxy || path.is_ready(host, target, before, envoy),
            changes,
        );
    }
}

/// The received resources that Envoy judges and that no local one hides.
fn visible<'r>(
    client: &'r DeltaClient,
    local: &'r Local,
) -> impl Iterator<Item = (ResourceType, &'r Arc<Resource>)> + use<'r> {
    let of_type = |kind| client.held(kind).values().map(move |resource| (kind, resource));
    JUDGED.into_iter().flat_map(of_type).filter(|(kind, resource)| !local.hides(*kind, &resource.name))
}

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod any_order_tests;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod nacks_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod retries_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod test_support;
