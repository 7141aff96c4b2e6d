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
    Channel, Close, Item, ProxyReport, ResponseToProxy, Turn, request,
    subscription::{Subscription, WILDCARD},
};
use crate::{Flavour, Resource, ResourceType, TypedResources, order::Row};

/// Maximum number of unanswered responses.
const WINDOW: usize = 4;

/// An unanswered response.
#[derive(Debug)]
struct Sent {
    nonce: String,
    version: Arc<str>,
    items: Vec<Item>,
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
        let had = std::mem::take(&mut first.initial_resource_versions);
        let mut channel = Self {
            kind,
            subscription: Subscription::default(),
            ledger: Ledger::new(target),
            suspects: BTreeSet::new(),
            refused: BTreeMap::new(),
            sent: VecDeque::new(),
            awaited: false,
        };
        channel.subscription.wildcard = first.resource_names_subscribe.is_empty() && Row::of(kind).listed;
        channel.subscribe(&first)?;
        channel.awaited = channel.subscription.wildcard && had.is_empty();
        let items = channel.take_over(had);
        if !items.is_empty() {
            reports.push(ProxyReport::Acked { version: None, items });
        }
        channel.plan();
        Ok(channel)
    }

    fn request(&mut self, request: DeltaDiscoveryRequest, reports: &mut Vec<ProxyReport>) -> Result<(), Close> {
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
        let names = self.ledger.take(may, |name| Row::of(self.kind).alone || self.suspects.contains(name));
        if names.is_empty() && !(self.awaited && self.pending() == Turn::default()) {
            return None;
        }
        self.awaited = false;
        let response = self.response(&names, nonce.to_string());
        if Row::of(self.kind).is_followed() {
            replaced.extend(response.resources.iter().filter(|resource| self.replaces(resource)).cloned());
        }
        let items = names.into_iter().map(|name| (name.clone(), self.ledger.tell(name))).collect();
        self.sent.push_back(Sent { nonce: response.nonce.clone(), version: response.version.clone(), items });
        self.ledger.settle();
        Some(response)
    }

    fn pending(&self) -> Turn {
        self.ledger.pending()
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

    /// Handles the answer to a response. A nonce that is not outstanding is ignored.
    fn answer(&mut self, request: &DeltaDiscoveryRequest, reports: &mut Vec<ProxyReport>) {
        let Some(index) = self.sent.iter().position(|sent| sent.nonce == request.response_nonce) else {
            return;
        };
        let Some(Sent { version, items, .. }) = self.sent.remove(index) else {
            return;
        };
        match &request.error_detail {
            None => {
                for (name, _) in &items {
                    self.refused.remove(name);
                    self.suspects.remove(name);
                }
                reports.push(ProxyReport::Acked { version: Some(version), items });
            }
            Some(error) if items.len() == 1 => {
                items.iter().for_each(|item| self.refuse(item));
                reports.push(ProxyReport::Nacked { version, items, reason: request::reason(error).into() });
            }
            Some(_) => items.into_iter().for_each(|item| self.suspect(item, index)),
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

    /// Schedules an item of a rejected response to be sent alone, unless it will be replaced anyway or is already on
    /// its way again in the response at `later` or a newer one. If such a response contains another state of the name,
    /// that state is what the proxy was last sent.
    fn suspect(&mut self, (name, version): Item, later: usize) {
        let last_word = self.sent.iter().skip(later).flat_map(|sent| &sent.items).rfind(|item| item.0 == name);
        let under_way = last_word.is_some_and(|item| item.1 == version);
        let wanted = self.ledger.target().get(&name).map(|resource| &resource.version);
        if !self.subscription.covers(&name) || wanted != version.as_ref() || under_way {
            return;
        }
        if last_word.is_none() {
            self.ledger.note(name.clone(), Told::Unsure);
        }
        self.suspects.insert(name.clone());
        self.consider(name);
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
                self.subscription.wildcard = false;
                self.plan();
            } else if self.subscription.remove(name) {
                let name = self.shared_name(name);
                self.forget(&name);
                reports.push(ProxyReport::Acked { version: None, items: vec![(name.clone(), None)] });
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
        for name in self.ledger.replan() {
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

    fn response(&self, names: &[Arc<str>], nonce: String) -> ResponseToProxy {
        ResponseToProxy {
            flavour: Self::FLAVOUR,
            kind: self.kind,
            version: self.ledger.target().version().clone(),
            nonce,
            resources: names.iter().filter_map(|name| self.ledger.target().get(name)).cloned().collect(),
            removed: names.iter().filter(|name| self.ledger.target().get(name).is_none()).cloned().collect(),
        }
    }

    /// Whether the proxy may have another version of a resource that is about to be sent.
    fn replaces(&self, resource: &Resource) -> bool {
        self.ledger.told(&resource.name) != Told::Absent
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
