//! One resource type on a state-of-the-world stream. Every response holds everything that the proxy wants, and at most
//! one response is unanswered.
//!
//! A proxy drops a cluster that is missing from a response, so a removed cluster stays in the responses until no
//! listener uses it. A proxy rejects a response as a whole, so one bad resource holds up the others until something
//! changes. Delta does not have this fault.

use std::{collections::BTreeSet, sync::Arc};

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::{
    Channel, Close, Item, Items, ProxyReport, ResponseToProxy, Turn, request,
    subscription::{Subscription, WILDCARD},
};
use crate::{
    Content, Flavour, Resource, ResourceMap, ResourceType, TypedResources, order::Row, resource::version_of_map,
};

/// Content of a response.
#[derive(Clone, Debug, Default)]
struct State {
    version: Arc<str>,
    resources: ResourceMap,
}

/// What the proxy has rejected, and not accepted since.
#[derive(Debug)]
enum Refused {
    /// The state of this version, which is not sent again.
    State(Arc<str>),
    /// A state of which it has left a part. It may accept the rest.
    Part,
}

/// The state-of-the-world flavour of a channel.
#[derive(Debug)]
pub struct Sotw {
    kind: ResourceType,
    subscription: Subscription,
    /// Whether the proxy has ever named resources; from then on an empty list means none.
    named: bool,
    target: TypedResources,
    sent: State,
    nonce: String,
    unanswered: bool,
    accepted: State,
    refused: Option<Refused>,
    /// Names rejected since a response was accepted.
    culprits: BTreeSet<Arc<str>>,
    /// What the proxy has is not known until it is sent a response. A proxy that comes back says no version of a type of
    /// which it rejected a part.
    unknown: bool,
    /// The proxy waits for a response, whether or not anything changed.
    awaited: bool,
    pending: Turn,
}

impl Channel for Sotw {
    const FLAVOUR: Flavour = Flavour::Sotw;
    type Request = DiscoveryRequest;

    fn open(
        kind: ResourceType,
        target: TypedResources,
        first: DiscoveryRequest,
        reports: &mut Vec<ProxyReport>,
    ) -> Result<Self, Close> {
        let mut channel = Self {
            kind,
            subscription: Subscription::default(),
            named: false,
            target,
            sent: State::default(),
            nonce: String::new(),
            unanswered: false,
            accepted: State::default(),
            refused: None,
            culprits: BTreeSet::new(),
            unknown: true,
            awaited: true,
            pending: Turn::default(),
        };
        channel.subscribe(&first.resource_names)?;
        let state = channel.state(false);
        if channel.target.is_known() && *state.version == *first.version_info {
            reports.push(ProxyReport::Acked {
                version: Some(state.version.clone()),
                items: Items::Named(items_of(&state.resources)),
            });
            channel.awaited = false;
            channel.sent = state.clone();
            channel.accepted = state;
            channel.unknown = false;
        }
        channel.plan();
        Ok(channel)
    }

    fn request(&mut self, request: DiscoveryRequest, reports: &mut Vec<ProxyReport>) -> Result<(), Close> {
        if request.response_nonce != self.nonce {
            return Ok(());
        }
        if self.unanswered {
            self.unanswered = false;
            match &request.error_detail {
                None => self.accept(reports),
                Some(error) => self.refuse(request::reason(error), reports),
            }
        }
        self.subscribe(&request.resource_names)?;
        self.plan();
        Ok(())
    }

    fn retarget(&mut self, target: TypedResources) {
        if target.version() != self.target.version() {
            self.target = target;
            self.plan();
        }
    }

    fn tell_again(&mut self, _: &Arc<str>) {
        self.awaited = true;
        self.plan();
    }

    fn next(&mut self, may: Turn, nonce: u64, replaced: &mut Vec<Arc<Resource>>) -> Option<ResponseToProxy> {
        let due = (self.pending.additions && may.additions) || (self.pending.withdrawals && may.withdrawals);
        if self.unanswered || !due {
            return None;
        }
        let state = self.state(!may.withdrawals);
        let may_differ = |resource: &&Arc<Resource>| match self.sent.resources.get(&resource.name) {
            Some(sent) => sent.version != resource.version,
            None => self.unknown,
        };
        replaced.extend(state.resources.values().filter(may_differ).cloned());
        self.unknown = false;
        self.sent = state;
        self.nonce = nonce.to_string();
        self.unanswered = true;
        self.awaited = false;
        self.plan();
        let resources = self.sent.resources.values().cloned().collect();
        let content = Arc::new(Content::new(Self::FLAVOUR, self.kind, resources, Vec::new()));
        Some(ResponseToProxy { version: self.sent.version.clone(), nonce: self.nonce.clone(), content })
    }

    fn pending(&self) -> Turn {
        self.pending
    }

    fn unanswered(&self) -> bool {
        self.unanswered
    }

    fn withheld(&self) -> bool {
        self.refused.is_some()
    }
}

impl Sotw {
    fn accept(&mut self, reports: &mut Vec<ProxyReport>) {
        let had = self.accepted.resources.keys().chain(&self.culprits);
        let gone = had.filter(|name| !self.sent.resources.contains_key(*name));
        let mut items = items_of(&self.sent.resources);
        items.extend(gone.map(|name| (name.clone(), None)));
        self.culprits.clear();
        reports.push(ProxyReport::Acked { version: Some(self.sent.version.clone()), items: Items::Named(items) });
        self.accepted = self.sent.clone();
        self.refused = None;
    }

    /// Resources that are new to the proxy and named in its error text count as rejected; when the text names none, all
    /// new ones do. Envoy names the resources that it rejects, and accepts the others.
    fn refuse(&mut self, reason: &str, reports: &mut Vec<ProxyReport>) {
        let had = |resource: &&Arc<Resource>| {
            self.accepted.resources.get(&resource.name).is_some_and(|had| had.version == resource.version)
        };
        let new: Vec<_> = self.sent.resources.values().filter(|resource| !had(resource)).collect();
        let named: Vec<_> = new.iter().copied().filter(|resource| names(reason, &resource.name)).collect();
        let refused = if named.is_empty() { new } else { named };
        self.culprits.extend(refused.iter().map(|resource| resource.name.clone()));
        let items = refused.iter().map(|resource| (resource.name.clone(), Some(resource.version.clone()))).collect();
        reports.push(ProxyReport::Nacked { version: self.sent.version.clone(), items, reason: reason.into() });
        self.refused = Some(Refused::State(self.sent.version.clone()));
    }

    /// Sets the names that a request repeats in full. New names must be answered even if the proxy had them before.
    fn subscribe(&mut self, names: &[String]) -> Result<(), Close> {
        self.named |= !names.is_empty();
        let wildcard = names.iter().any(|name| name == WILDCARD) || (!self.named && Row::of(self.kind).listed);
        self.awaited |= wildcard && !self.subscription.wildcard;
        self.subscription.wildcard = wildcard;
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| *name != WILDCARD).collect();
        let unwanted = self.subscription.names().iter().filter(|name| !wanted.contains(&***name));
        for name in unwanted.cloned().collect::<Vec<_>>() {
            self.subscription.remove(&name);
        }
        for name in wanted {
            let name = self.target.get(name).map_or_else(|| name.into(), |resource| resource.name.clone());
            self.awaited |= self.subscription.add(name)?;
        }
        self.narrow();
        Ok(())
    }

    /// Removes what the proxy no longer wants from the sent state, so that this alone causes no response.
    fn narrow(&mut self) {
        if self.subscription.wildcard {
            return;
        }
        let before = self.sent.resources.len();
        self.sent.resources.retain(|name, _| self.subscription.covers(name));
        if self.sent.resources.len() < before {
            self.sent.version = version_of_map(&self.sent.resources);
            self.refused = self.refused.take().map(|_| Refused::Part);
        }
    }

    /// Recomputes whether to send.
    fn plan(&mut self) {
        let wanted = self.state(false);
        let nothing_to_say = wanted.resources.is_empty() && !self.subscription.wildcard;
        let is_refused = matches!(&self.refused, Some(Refused::State(version)) if *version == wanted.version);
        if !self.target.is_known() || nothing_to_say || is_refused {
            self.pending = Turn::default();
            return;
        }
        let told = |(name, resource): (&Arc<str>, &Arc<Resource>)| {
            self.sent.resources.get(name).is_some_and(|sent| sent.version == resource.version)
        };
        let additions = self.awaited || !wanted.resources.iter().all(told);
        let gone = || self.sent.resources.keys().any(|name| !wanted.resources.contains_key(name));
        self.pending = Turn { additions, withdrawals: self.subscription.wildcard && gone() };
    }

    /// The resources that the proxy should have. With `with_gone`, it includes removed ones that must not be withdrawn
    /// yet.
    fn state(&self, with_gone: bool) -> State {
        let wanted = |resource: &&Arc<Resource>| self.subscription.covers(&resource.name);
        let mut resources: ResourceMap =
            self.target.iter().filter(wanted).map(|resource| (resource.name.clone(), resource.clone())).collect();
        if with_gone && self.subscription.wildcard {
            for (name, resource) in self.accepted.resources.iter().chain(&self.sent.resources) {
                resources.entry(name.clone()).or_insert_with(|| resource.clone());
            }
        }
        State { version: version_of_map(&resources), resources }
    }
}

/// Whether a text contains this name, and not as part of a longer one.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '|');
    let whole = |(at, _): (usize, &str)| {
        !text[..at].ends_with(part) && !text[at + name.len()..].trim_start_matches('.').starts_with(part)
    };
    text.match_indices(name).any(whole)
}

fn items_of(resources: &ResourceMap) -> Vec<Item> {
    resources.iter().map(|(name, resource)| (name.clone(), Some(resource.version.clone()))).collect()
}
