//! One type of resource on a delta stream.
//!
//! What the proxy was told is kept as a state shared by all streams (`base`) and the differences since (`since`), which are
//! gone once it was told everything: an idle stream costs the same however many resources there are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::{
    Channel, Close, Item, News, Response, Turn, request,
    response::weight,
    subscription::{Subscription, WILDCARD, unnamed_is_wildcard},
};
use crate::{Flavour, ResourceType, TypedResources};

/// Responses without an answer, at most.
const WINDOW: usize = 4;
/// Octets in a response, unless one resource alone has more. The transport keeps a buffer as large as the largest message for
/// each stream.
const MAX_MESSAGE: usize = 32 << 10;

/// What the proxy was last told of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing since it asked.
    Nothing,
    /// Of what it may have and may have not: it refused that together with others, or dropped one of its two reasons to have it.
    Unsure,
    /// That it does not exist; also what a proxy takes for granted that asked for all.
    Absent,
    Version(Arc<str>),
}

/// A response that awaits its answer.
#[derive(Debug)]
struct Sent {
    nonce: String,
    version: Arc<str>,
    items: Vec<Item>,
}

/// The delta flavour.
#[derive(Debug)]
pub struct Delta {
    kind: ResourceType,
    subscription: Subscription,
    target: TypedResources,
    base: TypedResources,
    since: BTreeMap<Arc<str>, Told>,
    /// To be told: what exists, and what does not although it was asked for.
    additions: BTreeSet<Arc<str>>,
    /// To be told: what no longer exists.
    withdrawals: BTreeSet<Arc<str>>,
    /// Items of a refused response, sent one by one to find the culprit.
    suspects: BTreeSet<Arc<str>>,
    /// Versions refused when sent alone.
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
        news: &mut Vec<News>,
    ) -> Result<Self, Close> {
        let had = std::mem::take(&mut first.initial_resource_versions);
        let mut channel = Self {
            kind,
            subscription: Subscription::default(),
            target,
            base: TypedResources::default(),
            since: BTreeMap::new(),
            additions: BTreeSet::new(),
            withdrawals: BTreeSet::new(),
            suspects: BTreeSet::new(),
            refused: BTreeMap::new(),
            sent: VecDeque::new(),
            awaited: false,
        };
        channel.subscription.wildcard = first.resource_names_subscribe.is_empty() && unnamed_is_wildcard(kind);
        channel.subscribe(&first)?;
        channel.awaited = channel.subscription.wildcard && had.is_empty();
        let items = channel.take_over(had);
        if !items.is_empty() {
            news.push(News::Accepted { version: None, items });
        }
        channel.plan();
        Ok(channel)
    }

    fn request(&mut self, request: DeltaDiscoveryRequest, news: &mut Vec<News>) -> Result<(), Close> {
        self.answer(&request, news);
        self.unsubscribe(&request, news);
        self.subscribe(&request)?;
        self.settle();
        Ok(())
    }

    fn retarget(&mut self, target: TypedResources) {
        if target.version() != self.target.version() {
            self.target = target;
            self.plan();
        }
    }

    fn tell_again(&mut self, name: &Arc<str>) {
        if self.subscription.covers(name) && !self.is_refused(name) {
            let name = self.shared_name(name);
            let exists = self.target.get(&name).is_some();
            self.since.insert(name.clone(), if exists { Told::Nothing } else { Told::Unsure });
            self.consider(name);
        }
    }

    fn next(&mut self, may: Turn, nonce: u64) -> Option<Response> {
        if self.sent.len() == WINDOW || !self.target.is_known() {
            return None;
        }
        let names = self.take(may);
        if names.is_empty() && !(self.awaited && self.pending() == Turn::default()) {
            return None;
        }
        self.awaited = false;
        let response = self.response(&names, nonce.to_string());
        let items = names.into_iter().map(|name| (name.clone(), self.tell(name))).collect();
        self.sent.push_back(Sent { nonce: response.nonce.clone(), version: response.version.clone(), items });
        self.settle();
        Some(response)
    }

    fn pending(&self) -> Turn {
        Turn { additions: !self.additions.is_empty(), withdrawals: !self.withdrawals.is_empty() }
    }

    fn unanswered(&self) -> bool {
        !self.sent.is_empty()
    }

    fn withheld(&self) -> bool {
        !self.refused.is_empty()
    }
}

impl Delta {
    /// Takes over what a proxy that comes back says it has.
    fn take_over(&mut self, had: HashMap<String, String>) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, version) in had {
            if self.subscription.covers(&name) {
                let (name, version) = (self.shared_name(&name), Arc::<str>::from(version));
                self.since.insert(name.clone(), Told::Version(version.clone()));
                items.push((name, Some(version)));
            }
        }
        items
    }

    /// Settles the response that a request answers. A nonce that is not outstanding is of no consequence.
    fn answer(&mut self, request: &DeltaDiscoveryRequest, news: &mut Vec<News>) {
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
                news.push(News::Accepted { version: Some(version), items });
            }
            Some(error) if items.len() == 1 => {
                items.iter().for_each(|item| self.refuse(item));
                news.push(News::Refused { version, items, reason: request::reason(error).into() });
            }
            Some(_) => items.into_iter().for_each(|item| self.suspect(item, index)),
        }
    }

    /// Withholds an item that was refused alone, even if it was to be sent again.
    fn refuse(&mut self, (name, version): &Item) {
        self.suspects.remove(name);
        if let Some(version) = version {
            self.refused.insert(name.clone(), version.clone());
            if self.is_refused(name) {
                self.consider(name.clone());
            }
        }
    }

    /// Has an item of a refused response sent alone, unless it is to be replaced anyway or is under way again in a response from
    /// `later` on. Where one of those says something else of the name, that is what the proxy was last told.
    fn suspect(&mut self, (name, version): Item, later: usize) {
        let last_word = self.sent.iter().skip(later).flat_map(|sent| &sent.items).rfind(|item| item.0 == name);
        let under_way = last_word.is_some_and(|item| item.1 == version);
        let wanted = self.target.get(&name).map(|resource| &resource.version);
        if !self.subscription.covers(&name) || wanted != version.as_ref() || under_way {
            return;
        }
        if last_word.is_none() {
            self.since.insert(name.clone(), Told::Unsure);
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
            // Whoever asks again for what he has, has lost it; who asks for what he refused, would take it now.
            self.refused.remove(&name);
            self.since.insert(name.clone(), Told::Nothing);
            self.consider(name);
        }
        Ok(())
    }

    /// Of what was not subscribed to by name, the proxy has nothing.
    fn subscribe_to_all(&mut self) {
        if self.subscription.wildcard {
            return;
        }
        let named = self.subscription.names().iter();
        self.since = named.map(|name| (name.clone(), self.told(name))).collect();
        self.base = TypedResources::default();
        self.subscription.wildcard = true;
        self.plan();
    }

    fn unsubscribe(&mut self, request: &DeltaDiscoveryRequest, news: &mut Vec<News>) {
        for name in &request.resource_names_unsubscribe {
            if name == WILDCARD {
                self.subscription.wildcard = false;
                self.plan();
            } else if self.subscription.remove(name) {
                let name = self.shared_name(name);
                self.forget(&name);
                news.push(News::Accepted { version: None, items: vec![(name.clone(), None)] });
                if self.subscription.wildcard {
                    self.since.insert(name.clone(), Told::Unsure);
                    self.consider(name);
                }
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        self.additions.remove(name);
        self.withdrawals.remove(name);
        self.suspects.remove(name);
        self.refused.remove(name);
        self.since.remove(name);
    }

    /// Works out anew what is to be told.
    fn plan(&mut self) {
        self.additions.clear();
        self.withdrawals.clear();
        if !self.target.is_known() {
            return;
        }
        let changed = self.target.changed_since(&self.base);
        let names: Vec<_> = changed.into_iter().chain(self.since.keys()).cloned().collect();
        for name in names {
            if self.subscription.covers(&name) {
                self.consider(name);
            }
        }
        self.settle();
    }

    /// Works out anew what is to be told of one name.
    fn consider(&mut self, name: Arc<str>) {
        self.additions.remove(&name);
        self.withdrawals.remove(&name);
        // What was refused counts as told, whatever came between.
        if self.is_refused(&name) {
            self.since.insert(name.clone(), Told::Version(self.refused[&name].clone()));
            return;
        }
        match (self.told(&name), self.target.get(&name)) {
            (Told::Version(told), Some(resource)) if told == resource.version => {}
            (Told::Absent, None) => {}
            (Told::Unsure | Told::Version(_), None) => {
                self.withdrawals.insert(name);
            }
            _ => {
                self.additions.insert(name);
            }
        }
    }

    fn told(&self, name: &str) -> Told {
        if let Some(told) = self.since.get(name) {
            return told.clone();
        }
        self.base.get(name).map_or(Told::Absent, |resource| Told::Version(resource.version.clone()))
    }

    /// Takes the names of the next response: a suspect alone, of others as many as fit.
    fn take(&mut self, may: Turn) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        let mut octets = 0;
        for (allowed, names) in [(may.additions, &mut self.additions), (may.withdrawals, &mut self.withdrawals)] {
            while allowed && let Some(name) = names.first() {
                let size = self.target.get(name).map_or(name.len(), |resource| weight(resource));
                let alone = self.suspects.contains(name);
                if !taken.is_empty() && (alone || octets + size > MAX_MESSAGE) {
                    return taken;
                }
                octets += size;
                taken.extend(names.pop_first());
                if alone {
                    return taken;
                }
            }
        }
        taken
    }

    fn response(&self, names: &[Arc<str>], nonce: String) -> Response {
        Response {
            flavour: Self::FLAVOUR,
            kind: self.kind,
            version: self.target.version().clone(),
            nonce,
            resources: names.iter().filter_map(|name| self.target.get(name)).cloned().collect(),
            removed: names.iter().filter(|name| self.target.get(name).is_none()).cloned().collect(),
        }
    }

    /// Notes what the proxy is being told of a name.
    fn tell(&mut self, name: Arc<str>) -> Option<Arc<str>> {
        let version = self.target.get(&name).map(|resource| resource.version.clone());
        self.since.insert(name, version.clone().map_or(Told::Absent, Told::Version));
        version
    }

    /// Once everything is told, the target is what the proxy was told.
    fn settle(&mut self) {
        if self.target.is_known() && self.pending() == Turn::default() {
            self.base = self.target.clone();
            self.since.clear();
        }
    }

    fn is_refused(&self, name: &str) -> bool {
        let refused = self.refused.get(name);
        refused.is_some() && refused == self.target.get(name).map(|resource| &resource.version)
    }

    /// The name as the set has it, so that it is held once.
    fn shared_name(&self, name: &str) -> Arc<str> {
        self.target.get(name).map_or_else(|| name.into(), |resource| resource.name.clone())
    }
}
