//! One resource type on a delta stream.
//!
//! It understands requests and answers. What the proxy was sent, and what is still to be sent, is in its [`Ledger`].

mod ledger;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use self::ledger::{Ledger, Told};
use super::{
    Channel, Close, Item, Items, ProxyReport, ResponseToProxy, Turn, request,
    subscription::{Subscription, WILDCARD},
};
use crate::{Content, Flavour, Resource, ResourceType, TypedResources, digest, order::Row};

/// Maximum number of unanswered responses.
const WINDOW: usize = 4;

/// An unanswered response.
#[derive(Debug)]
struct Sent {
    nonce: String,
    version: Arc<str>,
    content: Arc<Content>,
}

/// The delta flavour of a channel.
#[derive(Debug)]
pub struct Delta {
    kind: ResourceType,
    subscription: Subscription,
    ledger: Ledger,
    /// Items of a rejected response, sent one by one to find the one at fault.
    suspects: BTreeSet<Arc<str>>,
    /// Versions that were rejected when sent alone.
    refused: BTreeMap<Arc<str>, Arc<str>>,
    sent: VecDeque<Sent>,
    /// The proxy waits for a first response, even an empty one.
    awaited: bool,
    claim: Claim,
}

/// What an agent says that it has, in one value ([`crate::digest`]). Nothing is sent until it is believed or a list came.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It said none, or all is settled.
    None,
    /// It said this, and what it should have is not known yet.
    Of(String),
    /// It has something else than it should have, and is to be asked what.
    Doubted,
    /// It was asked in the response of this nonce.
    Asked(String),
}

impl Channel for Delta {
    const FLAVOUR: Flavour = Flavour::Delta;
    type Request = DeltaDiscoveryRequest;

    fn open(
        kind: ResourceType,
        target: TypedResources,
        mut first: DeltaDiscoveryRequest,
        reports: &mut Vec<ProxyReport>,
    ) -> Result<Self, Close> {
        let mut had = std::mem::take(&mut first.initial_resource_versions);
        let mut channel = Self {
            kind,
            subscription: Subscription::default(),
            ledger: Ledger::new(kind, target),
            suspects: BTreeSet::new(),
            refused: BTreeMap::new(),
            sent: VecDeque::new(),
            awaited: false,
            claim: had.remove(WILDCARD).map_or(Claim::None, Claim::Of),
        };
        let names = &first.resource_names_subscribe;
        channel.subscription.wildcard =
            names.iter().any(|name| name == WILDCARD) || (names.is_empty() && Row::of(kind).listed);
        channel.subscribe(&first)?;
        channel.awaited = channel.subscription.wildcard && had.is_empty() && channel.claim == Claim::None;
        let items = channel.take_over(had);
        if !items.is_empty() {
            reports.push(ProxyReport::Acked { version: None, items: Items::Named(items) });
        }
        channel.plan();
        Ok(channel)
    }

    fn request(&mut self, mut request: DeltaDiscoveryRequest, reports: &mut Vec<ProxyReport>) -> Result<(), Close> {
        if matches!(&self.claim, Claim::Asked(nonce) if *nonce == request.response_nonce) {
            self.learn(std::mem::take(&mut request.initial_resource_versions));
        }
        self.answer(&request, reports);
        self.unsubscribe(&request, reports);
        self.subscribe(&request)?;
        self.ledger.settle();
        Ok(())
    }

    fn retarget(&mut self, target: TypedResources) {
        if target.version() != self.ledger.target().version() {
            self.ledger.retarget(target);
            self.plan();
        }
    }

    fn tell_again(&mut self, name: &Arc<str>) {
        if self.subscription.covers(name) && !self.is_refused(name) {
            let name = self.shared_name(name);
            let exists = self.ledger.target().get(&name).is_some();
            self.ledger.note(name.clone(), if exists { Told::Nothing } else { Told::Unsure });
            self.consider(name);
        }
    }

    fn next(&mut self, may: Turn, nonce: u64, replaced: &mut Vec<Arc<Resource>>) -> Option<ResponseToProxy> {
        if self.sent.len() == WINDOW || !self.ledger.target().is_known() {
            return None;
        }
        if self.claim != Claim::None {
            return self.ask(nonce);
        }
        let Self { kind, suspects, .. } = self;
        let step = self.ledger.take(may, |name| Row::of(*kind).alone || suspects.contains(name));
        let content = match step {
            Some(step) => {
                if Row::of(self.kind).is_followed() {
                    replaced.extend(step.replacing);
                }
                step.content
            }
            None if self.awaited && self.pending() == Turn::default() => {
                Arc::new(Content::new(Self::FLAVOUR, self.kind, Vec::new(), Vec::new()))
            }
            None => return None,
        };
        self.awaited = false;
        let response = self.respond(content, nonce);
        self.ledger.settle();
        Some(response)
    }

    fn pending(&self) -> Turn {
        if self.claim == Claim::None { self.ledger.pending() } else { Turn { additions: true, withdrawals: true } }
    }

    fn unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    fn withheld(&self) -> bool {
        !self.refused.is_empty()
    }
}

impl Delta {
    /// Takes over the resources that a reconnecting proxy reports.
    fn take_over(&mut self, had: HashMap<String, String>) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, version) in had {
            if self.subscription.covers(&name) {
                let (name, version) = (self.shared_name(&name), Arc::<str>::from(version));
                self.ledger.note(name.clone(), Told::Version(version.clone()));
                items.push((name, Some(version)));
            }
        }
        items
    }

    fn respond(&mut self, content: Arc<Content>, nonce: u64) -> ResponseToProxy {
        let version = self.ledger.target().version().clone();
        let response = ResponseToProxy { version, nonce: nonce.to_string(), content };
        let ResponseToProxy { version, nonce, content } = response.clone();
        self.sent.push_back(Sent { nonce, version, content });
        response
    }

    /// Believes an agent that says it has exactly what it should have.
    fn check_claim(&mut self) {
        let Claim::Of(digest) = &self.claim else { return };
        let target = self.ledger.target();
        if target.is_known() {
            let is_true = self.subscription.wildcard && *digest == target.digest().to_string();
            self.claim = if is_true { Claim::None } else { Claim::Doubted };
            if is_true {
                self.ledger.begin_at_target();
            }
        }
    }

    /// Asks an agent for the names and versions of what it has.
    fn ask(&mut self, nonce: u64) -> Option<ResponseToProxy> {
        if self.claim != Claim::Doubted {
            return None;
        }
        let content = Content::new(Self::FLAVOUR, self.kind, Vec::new(), vec![Arc::from(digest::ASK)]);
        let response = self.respond(Arc::new(content), nonce);
        self.claim = Claim::Asked(response.nonce.clone());
        Some(response)
    }

    /// The agent was asked, and has this. What was to be told it since it came is told in any case.
    fn learn(&mut self, had: HashMap<String, String>) {
        self.claim = Claim::None;
        self.awaited = had.is_empty();
        let had = had.into_iter().filter(|(name, _)| !self.ledger.is_exception(name)).collect();
        self.take_over(had);
        self.plan();
    }

    /// Handles the answer to a response. A nonce that is not outstanding is ignored.
    fn answer(&mut self, request: &DeltaDiscoveryRequest, reports: &mut Vec<ProxyReport>) {
        let Some(index) = self.sent.iter().position(|sent| sent.nonce == request.response_nonce) else {
            return;
        };
        let Some(Sent { version, content, .. }) = self.sent.remove(index) else {
            return;
        };
        match &request.error_detail {
            None => {
                if !(self.refused.is_empty() && self.suspects.is_empty()) {
                    for (name, _) in content.items() {
                        self.refused.remove(name);
                        self.suspects.remove(name);
                    }
                }
                reports.push(ProxyReport::Acked { version: Some(version), items: Items::Sent(content) });
            }
            Some(error) if content.len() == 1 => {
                let items: Vec<Item> = Items::Sent(content).into_iter().collect();
                items.iter().for_each(|item| self.refuse(item));
                reports.push(ProxyReport::Nacked { version, items, reason: request::reason(error).into() });
            }
            Some(_) => Items::Sent(content).into_iter().for_each(|item| self.suspect(item, index)),
        }
    }

    /// Withholds an item that was rejected alone, even if it was about to be sent again.
    fn refuse(&mut self, (name, version): &Item) {
        self.suspects.remove(name);
        if let Some(version) = version {
            self.refused.insert(name.clone(), version.clone());
            if self.is_refused(name) {
                self.consider(name.clone());
            }
        }
    }

    /// Schedules an item of a rejected response to be sent alone, unless it is to be replaced anyway or is already on its
    /// way again in the response at `later` or a newer one. If such a response contains another state of the name, that
    /// state is what the proxy was last sent. Otherwise it is not known what the proxy has.
    fn suspect(&mut self, (name, version): Item, later: usize) {
        let later = self.sent.iter().skip(later).rev();
        let last_word = later.flat_map(|sent| sent.content.items()).find(|(item, _)| **item == name);
        if !self.subscription.covers(&name) || last_word.is_some_and(|(_, last)| last == version.as_ref()) {
            return;
        }
        let is_wanted = self.ledger.target().get(&name).map(|resource| &resource.version) == version.as_ref();
        // A removal that was rejected makes of an addition after it a change, which other types follow. It is sent once more.
        let is_change = version.is_none() && last_word.is_some() && Row::of(self.kind).is_followed();
        let is_last = last_word.is_none() && (is_wanted || self.ledger.told(&name) == Told::from(version));
        if is_last || is_change {
            self.ledger.note(name.clone(), Told::Unsure);
        }
        if is_wanted {
            self.suspects.insert(name.clone());
        }
        if is_wanted || is_last || is_change {
            self.consider(name);
        }
    }

    fn subscribe(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Close> {
        for name in &request.resource_names_subscribe {
            if name == WILDCARD {
                self.subscribe_to_all();
                continue;
            }
            let name = self.shared_name(name);
            self.subscription.add(name.clone())?;
            // A proxy that subscribes again to a resource it has, has lost it. One that subscribes to a resource it
            // rejected, would accept it now.
            self.refused.remove(&name);
            self.ledger.note(name.clone(), Told::Nothing);
            self.consider(name);
        }
        Ok(())
    }

    /// The proxy has no resource that it did not subscribe to by name.
    fn subscribe_to_all(&mut self) {
        if self.subscription.wildcard {
            return;
        }
        self.ledger.forget_all_but(self.subscription.names().iter());
        self.subscription.wildcard = true;
        self.plan();
    }

    fn unsubscribe(&mut self, request: &DeltaDiscoveryRequest, reports: &mut Vec<ProxyReport>) {
        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                self.ledger.forget_all_but(self.subscription.names().iter());
                self.subscription.wildcard = false;
                self.plan();
            } else if self.subscription.remove(name) {
                let name = self.shared_name(name);
                self.forget(&name);
                reports.push(ProxyReport::Acked { version: None, items: Items::Named(vec![(name.clone(), None)]) });
                if self.subscription.wildcard {
                    self.ledger.note(name.clone(), Told::Unsure);
                    self.consider(name);
                }
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        self.suspects.remove(name);
        self.refused.remove(name);
        self.ledger.forget(name);
    }

    /// Recomputes everything to be sent.
    fn plan(&mut self) {
        self.check_claim();
        if self.claim != Claim::None {
            return;
        }
        let apart = self.refused.keys().chain(&self.suspects).cloned();
        for name in self.ledger.replan(self.subscription.wildcard, apart) {
            if self.subscription.covers(&name) {
                self.consider(name);
            }
        }
        self.ledger.settle();
    }

    /// Recomputes what to send about one name.
    fn consider(&mut self, name: Arc<str>) {
        // A rejected version counts as sent, whatever was sent in between.
        if self.is_refused(&name) {
            self.ledger.note(name.clone(), Told::Version(self.refused[&name].clone()));
        }
        self.ledger.consider(name);
    }

    fn is_refused(&self, name: &str) -> bool {
        let refused = self.refused.get(name);
        refused.is_some() && refused == self.ledger.target().get(name).map(|resource| &resource.version)
    }

    /// The name as held by the set, so that its text is stored once.
    fn shared_name(&self, name: &str) -> Arc<str> {
        self.ledger.target().get(name).map_or_else(|| name.into(), |resource| resource.name.clone())
    }
}
