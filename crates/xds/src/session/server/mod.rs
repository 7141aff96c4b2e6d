//! One ADS stream as a state machine: no I/O, no clock.
//!
//! ```text
//!   requests ──> Session ──> responses, reports of what the proxy acknowledged or rejected
//!   a new set ─┘    └ one Channel per type, delta or state of the world
//! ```
//!
//! The resources of a proxy change in the order that `crate::order` has as a table. Whether a type waits for the answer
//! about another one, or only until that one is sent, is the stream's [`Pacing`].
//!
//! Not promised: that a proxy sees every intermediate state, because changes during an outstanding answer are sent as
//! one; that clusters are removed from a proxy that never asks for listeners; that a listener follows its cluster when
//! the proxy rejects the cluster; that a removed cluster stays until its listener is gone at a proxy that comes back by
//! the state of the world, because it does not say what it has.

mod delta;
mod request;
mod response;
mod sotw;
mod subscription;

use std::{collections::BTreeSet, sync::Arc};

pub use self::{
    delta::Delta,
    request::{Close, DiscoveryRequestMessage, identify},
    response::ResponseToProxy,
    sotw::Sotw,
};
pub use crate::order::Turn;
use crate::{
    Content, Flavour, Pacing, Resource, ResourceSet, ResourceType, TypedResources,
    order::{Progress, Row, TABLE},
};

/// One resource type on one stream, in one of the two flavours.
pub trait Channel: Sized {
    /// The flavour.
    const FLAVOUR: Flavour;
    /// The flavour's request message.
    type Request: DiscoveryRequestMessage;

    /// Handles the first request for the type.
    fn open(
        kind: ResourceType,
        target: TypedResources,
        first: Self::Request,
        reports: &mut Vec<ProxyReport>,
    ) -> Result<Self, Close>;
    /// Handles a later request.
    fn request(&mut self, request: Self::Request, reports: &mut Vec<ProxyReport>) -> Result<(), Close>;
    /// Sets the resources that the proxy should have from now on.
    fn retarget(&mut self, target: TypedResources);
    /// Sends a name again, because what was sent about it has no effect at the proxy.
    fn tell_again(&mut self, name: &Arc<str>);
    /// The next response, if one is needed and allowed. Appends the resources in it of which the proxy may have
    /// another version. They may be left out when no type follows this one.
    fn next(&mut self, may: Turn, nonce: u64, replaced: &mut Vec<Arc<Resource>>) -> Option<ResponseToProxy>;
    /// What is still to be sent.
    fn pending(&self) -> Turn;
    /// Whether a response has not been answered.
    fn unanswered(&self) -> bool;
    /// Whether a resource is withheld because the proxy rejected it.
    fn withheld(&self) -> bool;
}

/// Name and version of a resource; the version is `None` when it is removed.
pub type Item = (Arc<str>, Option<Arc<str>>);

/// The resources in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    /// Those of a response.
    Sent(Arc<Content>),
    /// These.
    Named(Vec<Item>),
}

impl Items {
    /// Number of names.
    pub fn len(&self) -> usize {
        match self {
            Self::Sent(content) => content.len(),
            Self::Named(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl IntoIterator for Items {
    type Item = Item;
    type IntoIter = std::vec::IntoIter<Item>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::Sent(content) => {
                let item = |(name, version): (&Arc<str>, Option<&Arc<str>>)| (name.clone(), version.cloned());
                content.items().map(item).collect::<Vec<_>>().into_iter()
            }
            Self::Named(items) => items.into_iter(),
        }
    }
}

/// What a proxy has reported about one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyReport {
    /// It asked for the type for the first time.
    Subscribed,
    /// It has these resources: it acknowledged a response of this version, or reported them when it connected.
    Acked {
        /// Version of the response, if there was one.
        version: Option<Arc<str>>,
        /// The resources that it has.
        items: Items,
    },
    /// It rejected these resources. They are not sent again until they change or the proxy asks for them.
    Nacked {
        /// Version of the response.
        version: Arc<str>,
        /// Resources in the response that were new to the proxy.
        items: Vec<Item>,
        /// Its error text, shortened.
        reason: Arc<str>,
    },
}

/// Consequence of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this response.
    Send(ResponseToProxy),
    /// Record this about a type.
    Report(ResourceType, ProxyReport),
    /// First request for a type that is not served. It is ignored. Closing the stream would take the other types away
    /// from a proxy that can do without this one, and the proxy would reconnect with the same request.
    Ignore(String),
}

/// State of one stream.
#[derive(Debug)]
pub struct Session<C> {
    set: Arc<ResourceSet>,
    pacing: Pacing,
    channels: [Option<C>; ResourceType::ALL.len()],
    nonce: u64,
    ignored: bool,
    /// What follows a change that was sent, until the proxy asks for its type. A proxy that reconnects asks for the
    /// types one by one.
    owed: BTreeSet<(ResourceType, Arc<str>)>,
}

impl<C: Channel> Session<C> {
    /// A stream of a proxy that should have this set.
    pub fn new(set: Arc<ResourceSet>, pacing: Pacing) -> Self {
        Self {
            set,
            pacing,
            channels: [const { None }; ResourceType::ALL.len()],
            nonce: 0,
            ignored: false,
            owed: BTreeSet::new(),
        }
    }

    /// Handles a request, including the first one.
    ///
    /// # Errors
    /// When the stream must be closed.
    pub fn request(&mut self, request: C::Request) -> Result<Vec<Action>, Close> {
        let Some(kind) = ResourceType::from_url(request.type_url()) else {
            return Ok(self.ignore(request.type_url()));
        };
        let mut reports = Vec::new();
        match &mut self.channels[kind.index()] {
            Some(channel) => channel.request(request, &mut reports)?,
            slot => {
                reports.push(ProxyReport::Subscribed);
                let mut channel = C::open(kind, self.set.of(kind).clone(), request, &mut reports)?;
                for (_, name) in self.owed.extract_if(.., |(owed, _)| *owed == kind) {
                    channel.tell_again(&name);
                }
                *slot = Some(channel);
            }
        }
        let mut actions = reports.into_iter().map(|report| Action::Report(kind, report)).collect();
        self.send(&mut actions);
        Ok(actions)
    }

    /// Sets the resources that the proxy should have from now on. A type that is not known stays unchanged.
    pub fn resources(&mut self, set: Arc<ResourceSet>) -> Vec<Action> {
        for (kind, channel) in ResourceType::ALL.into_iter().zip(&mut self.channels) {
            if let Some(channel) = channel
                && set.of(kind).is_known()
            {
                channel.retarget(set.of(kind).clone());
            }
        }
        self.owed.retain(|(kind, name)| set.of(*kind).get(name).is_some());
        self.set = set;
        let mut actions = Vec::new();
        self.send(&mut actions);
        actions
    }

    /// Sends names again that the proxy was found to lack, or to have although they are removed.
    pub fn tell_again(&mut self, names: &[(ResourceType, Arc<str>)]) -> Vec<Action> {
        for (kind, name) in names {
            if let Some(channel) = &mut self.channels[kind.index()] {
                channel.tell_again(name);
            }
        }
        let mut actions = Vec::new();
        self.send(&mut actions);
        actions
    }

    /// Whether a response is unanswered.
    pub fn unanswered(&self) -> bool {
        self.channels.iter().flatten().any(Channel::unanswered)
    }

    /// Whether resources of the type are withheld because the proxy rejected them.
    pub fn withheld(&self, kind: ResourceType) -> bool {
        self.channels[kind.index()].as_ref().is_some_and(Channel::withheld)
    }

    /// Whether resources of any type are withheld because the proxy rejected them.
    pub fn refusing(&self) -> bool {
        self.channels.iter().flatten().any(Channel::withheld)
    }

    /// The generation that the proxy has accepted completely. `None` while a response is unanswered, still to be sent,
    /// or withheld.
    pub(crate) fn accepted(&self) -> Option<u64> {
        let all = |channel: &C| progress(channel).is_done() && !channel.withheld();
        self.channels.iter().flatten().all(all).then(|| self.set.generation())
    }

    fn ignore(&mut self, url: &str) -> Vec<Action> {
        if std::mem::replace(&mut self.ignored, true) {
            return Vec::new();
        }
        vec![Action::Ignore(request::bounded(url).to_owned())]
    }

    /// Sends in the order of the types until nothing may be sent. What is sent of one type may open the turn of another
    /// that comes before it in that order, such as the removal of clusters after that of listeners.
    fn send(&mut self, actions: &mut Vec<Action>) {
        let mut sent = true;
        while std::mem::take(&mut sent) {
            for kind in ResourceType::ALL {
                while let Some(response) = self.next(kind) {
                    actions.push(Action::Send(response));
                    sent = true;
                }
            }
        }
    }

    fn next(&mut self, kind: ResourceType) -> Option<ResponseToProxy> {
        let may = Row::of(kind).turn(|kind| Some(progress(self.channels[kind.index()].as_ref()?).paced(self.pacing)));
        let mut replaced = Vec::new();
        let response = self.channels[kind.index()].as_mut()?.next(may, self.nonce + 1, &mut replaced)?;
        self.nonce += 1;
        self.follow(kind, &replaced);
        Some(response)
    }

    /// Sends what follows these changed resources again. A type that follows another has its turn after it.
    fn follow(&mut self, kind: ResourceType, changed: &[Arc<Resource>]) {
        for row in &TABLE {
            let Some(follow) = row.follows.as_ref().filter(|follow| follow.changed == kind) else { continue };
            let names = changed.iter().filter_map(|changed| (follow.name)(changed));
            let followers = names.filter_map(|name| self.set.of(row.kind).get(&name));
            for follower in followers {
                match &mut self.channels[row.kind.index()] {
                    Some(channel) => channel.tell_again(&follower.name),
                    None => drop(self.owed.insert((row.kind, follower.name.clone()))),
                }
            }
        }
    }
}

fn progress(channel: &impl Channel) -> Progress {
    Progress { pending: channel.pending(), unanswered: channel.unanswered() }
}

#[cfg(test)]
mod delta_tests;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod follow_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod sotw_tests;
#[cfg(test)]
mod test_support;
