//! Tests a model of Envoy against arbitrary sequences of changes and reconnects.
//!
//! The model applies what it can of a response, and rejects the response when any resource in it is bad, as Envoy does
//! with clusters and listeners. It subscribes to the endpoints of its clusters, and delays the answer about clusters
//! until it has their endpoints. A changed cluster needs its endpoints anew, whether or not they have changed.

mod speech;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use self::speech::Speech;
use super::{test_support::*, *};
use ResourceType::{Cluster, Endpoints, Listener, Names};

/// The content that the model rejects.
const BAD: u8 = 3;
/// From this content on, a resource is hidden by another one.
const HIDDEN: u8 = 100;
const SERVICES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Versions of a service's name, cluster, endpoints and listener.
type Versions = [u8; 4];

/// Where a service's resources are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the layer that streams share.
    Shared,
    /// In the node's own.
    Own,
    /// In both; the shared ones are of other versions and hidden.
    Hiding,
}

type Service = Option<(Versions, Place)>;

/// The services, and whether the lowest layer is shared by streams.
#[derive(Clone, Debug)]
struct World {
    is_shared: bool,
    services: Vec<Service>,
}

#[derive(Clone, Debug)]
enum Step {
    Change(World),
    ChangeOne(usize, Service),
    Deliver,
    DeliverAll,
    /// The stream ends, and the proxy comes back with what it has.
    Return,
}

fn service() -> impl Strategy<Value = Service> {
    let version = || prop_oneof![9 => 0..BAD, 1 => Just(BAD)];
    let versions = (0..2u8, version(), version(), version()).prop_map(|(name, c, e, l)| [name, c, e, l]);
    let place = prop_oneof![8 => Just(Place::Shared), 1 => Just(Place::Own), 1 => Just(Place::Hiding)];
    prop::option::of((versions, place))
}

fn world() -> impl Strategy<Value = World> {
    let services = prop::collection::vec(service(), SERVICES.len());
    (prop::bool::weighted(0.8), services).prop_map(|(is_shared, services)| World { is_shared, services })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => world().prop_map(Step::Change),
        3 => (0..SERVICES.len(), service()).prop_map(|(place, service)| Step::ChangeOne(place, service)),
        9 => Just(Step::Deliver),
        1 => Just(Step::DeliverAll),
        1 => Just(Step::Return),
    ];
    prop::collection::vec(step, 1..60)
}

fn resources(world: &World) -> ResourceSet {
    let (mut shared, mut own) = (Vec::new(), Vec::new());
    for (service, content) in SERVICES.into_iter().zip(&world.services) {
        let Some((versions, place)) = content else { continue };
        let entries = |other: u8| {
            let versions = versions.iter().map(move |version| version.wrapping_add(other));
            [Names, Cluster, Endpoints, Listener]
                .into_iter()
                .zip(versions)
                .map(move |(kind, version)| (kind, service, version))
        };
        match place {
            Place::Shared => shared.extend(entries(0)),
            Place::Own => own.extend(entries(0)),
            Place::Hiding => {
                shared.extend(entries(HIDDEN));
                own.extend(entries(0));
            }
        }
    }
    if world.is_shared { layered(&shared, &own) } else { set(&[shared, own].concat()) }
}

struct Proxy<C> {
    session: Session<C>,
    queue: VecDeque<ResponseToProxy>,
    has: BTreeMap<(ResourceType, String), u8>,
    /// Versions rejected for good, by resource for delta and by type for the state of the world, and the last response
    /// that was on its way at that time.
    refused: BTreeMap<(ResourceType, String), (String, u64)>,
    /// Clusters and listeners that were ever bad, so that their counterparts cannot be expected.
    spoilt: BTreeSet<(ResourceType, String)>,
    subscribed: BTreeSet<String>,
    /// Clusters that have changed since their endpoints arrived.
    cold: BTreeSet<String>,
    nonce: String,
    /// Of the last response of a type that it applied as a whole, answered or not.
    accepted: BTreeMap<ResourceType, String>,
    held_back: Vec<(ResponseToProxy, bool)>,
    /// By the state of the world, a server does not know what a proxy has that comes back, until it has sent the listeners.
    is_unknown: bool,
}

impl<C: Speech> Proxy<C> {
    fn new(world: &World) -> Self {
        let mut proxy = Self {
            session: Session::new(Arc::new(resources(world)), Pacing::Answered),
            queue: VecDeque::new(),
            has: BTreeMap::new(),
            refused: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            cold: BTreeSet::new(),
            nonce: String::new(),
            accepted: BTreeMap::new(),
            held_back: Vec::new(),
            is_unknown: false,
        };
        proxy.come_back();
        proxy
    }

    /// Begins a stream with what it has.
    fn come_back(&mut self) {
        let has_all = !self.session.unanswered() && self.spoilt.is_empty() && !self.accepted.is_empty();
        self.session = Session::new(self.session.set.clone(), Pacing::Answered);
        self.queue.clear();
        self.held_back.clear();
        self.refused.clear();
        // The server does not know for which clusters a proxy waits that says to have them and their endpoints.
        self.cold.clear();
        self.nonce.clear();
        self.is_unknown = C::COMPLETE;
        for kind in [Names, Cluster, Endpoints, Listener] {
            let of_kind = self.has.iter().filter(|((of, _), _)| *of == kind);
            let has = of_kind.map(|((_, name), version)| (name.clone(), resource(name, *version).version.to_string()));
            let accepted = self.accepted.get(&kind).cloned().unwrap_or_default();
            self.send(C::come_back(kind, has.collect(), &accepted, &self.subscribed));
        }
        // Delta has no version for the answer that there is nothing.
        let says_all =
            C::COMPLETE || SERVICES.iter().any(|name| self.has.contains_key(&(Listener, (*name).to_owned())));
        // The state of the world has one version, also of endpoints of which some are no longer wanted.
        let again = self.queue.iter().find(|response| !C::COMPLETE || response.kind != Endpoints);
        assert!(!has_all || !says_all || again.is_none(), "it has everything, and is told {again:?}");
    }

    fn send(&mut self, request: C::Request) {
        self.queue.extend(responses(self.session.request(request).unwrap()));
    }

    fn change(&mut self, world: &World) {
        self.queue.extend(responses(self.session.resources(Arc::new(resources(world)))));
    }

    /// Takes the oldest response and answers it.
    fn deliver(&mut self) {
        let Some(response) = self.queue.pop_front() else { return };
        self.never_again(&response);
        let bad = response.resources.iter().any(|resource| resource.body.ends_with(&[BAD]));
        for resource in &response.resources {
            self.put(response.kind, &resource.name, resource.body.last().copied().unwrap());
        }
        for name in self.left_out(&response) {
            self.take(response.kind, &name);
        }
        self.is_unknown &= response.kind != Listener;
        if !bad {
            self.accepted.insert(response.kind, response.version.to_string());
        }
        match response.kind {
            Cluster => {
                self.held_back.push((response, bad));
                self.follow_clusters();
            }
            Endpoints => {
                self.nonce.clone_from(&response.nonce);
                self.answer(&response, bad);
            }
            _ => self.answer(&response, bad),
        }
        self.release();
    }

    fn deliver_all(&mut self) {
        let mut rounds = 0;
        while !self.queue.is_empty() {
            self.deliver();
            rounds += 1;
            assert!(rounds < 1000, "responses do not end");
        }
    }

    fn answer(&mut self, response: &ResponseToProxy, bad: bool) {
        self.send(C::answer(response, bad, &self.subscribed));
    }

    fn left_out(&self, response: &ResponseToProxy) -> Vec<String> {
        if !C::COMPLETE {
            return response.removed.iter().map(ToString::to_string).collect();
        }
        let sent = |name: &str| response.resources.iter().any(|resource| &*resource.name == name);
        let had = self.has.keys().filter(|(kind, name)| *kind == response.kind && !sent(name));
        if response.kind == Endpoints { Vec::new() } else { had.map(|(_, name)| name.clone()).collect() }
    }

    fn put(&mut self, kind: ResourceType, name: &str, version: u8) {
        let key = (kind, name.to_owned());
        assert!(version < HIDDEN, "{name}: a resource that another one hides");
        if version == BAD {
            self.spoilt.insert(key);
            return;
        }
        if kind == Listener {
            let cluster = (Cluster, name.to_owned());
            assert!(
                self.has.contains_key(&cluster) || self.spoilt.contains(&cluster),
                "{name}: a listener without its cluster"
            );
        }
        if kind == Endpoints {
            self.cold.remove(name);
        }
        let before = self.has.insert(key, version);
        if kind == Cluster && before.is_some_and(|before| before != version) {
            self.cold.insert(name.to_owned());
        }
    }

    fn take(&mut self, kind: ResourceType, name: &str) {
        let has = |kind| self.has.contains_key(&(kind, name.to_owned()));
        assert!(kind != Cluster || !has(Listener) || self.is_unknown, "{name}: a cluster went before its listener");
        assert!(kind != Listener || !has(Names), "{name}: a listener went before its name");
        self.has.remove(&(kind, name.to_owned()));
    }

    /// A rejected version is not sent again before another one was sent.
    fn never_again(&mut self, response: &ResponseToProxy) {
        let versions: Vec<(String, String)> = if C::COMPLETE {
            vec![(String::new(), response.version.to_string())]
        } else {
            let sent = response.resources.iter().map(|one| (one.name.to_string(), one.version.to_string()));
            sent.chain(response.removed.iter().map(|name| (name.to_string(), String::new()))).collect()
        };
        let alone = versions.len() == 1;
        let bad = response.resources.iter().any(|resource| resource.body.ends_with(&[BAD]));
        for (name, version) in versions {
            let key = (response.kind, name);
            let again =
                |(refused, last): &(String, u64)| *refused == version && response.nonce.parse::<u64>().unwrap() > *last;
            assert!(!self.refused.get(&key).is_some_and(again), "{key:?} was refused and came again");
            self.refused.remove(&key);
            if bad && alone {
                self.refused.insert(key, (version, self.session.nonce));
            }
        }
    }

    fn follow_clusters(&mut self) {
        let clusters = self.has.keys().filter(|(kind, _)| *kind == Cluster).map(|(_, name)| name.clone());
        let wanted: BTreeSet<String> = clusters.collect();
        let new: Vec<_> = wanted.difference(&self.subscribed).cloned().collect();
        let old: Vec<_> = self.subscribed.difference(&wanted).cloned().collect();
        for name in &new {
            // One that it subscribes to again, it would accept now.
            self.refused.remove(&(Endpoints, name.clone()));
        }
        for name in &old {
            let key = (Endpoints, name.clone());
            self.has.remove(&key);
            self.cold.remove(name);
            self.spoilt.remove(&key);
            self.refused.remove(&key);
        }
        self.subscribed = wanted;
        if !new.is_empty() || !old.is_empty() {
            // The content of the state of the world has changed.
            self.refused.remove(&(Endpoints, String::new()));
            let names = speech::Names { wanted: &self.subscribed, new: &new, old: &old };
            self.send(C::ask(Endpoints, &self.nonce, &names));
        }
    }

    /// Answers about clusters once all of them are warm. Endpoints that were ever bad are not waited for. In the state
    /// of the world they hold up those of other clusters.
    fn release(&mut self) {
        let any_spoilt = self.spoilt.iter().any(|(kind, _)| *kind == Endpoints);
        let warm = |name: &String| {
            let key = (Endpoints, name.clone());
            let spoilt = self.spoilt.contains(&key) || (C::COMPLETE && any_spoilt);
            spoilt || (self.has.contains_key(&key) && !self.cold.contains(name))
        };
        let exists = |name: &String| self.session.set.of(Endpoints).get(name).is_some();
        if self.subscribed.iter().all(|name| warm(name) || !exists(name)) {
            for (response, bad) in std::mem::take(&mut self.held_back) {
                self.answer(&response, bad);
            }
        }
    }

    fn finish(mut self, world: &World) {
        self.deliver_all();
        assert!(!self.session.unanswered(), "an answer is outstanding: {:?}", self.held_back);
        for (name, content) in SERVICES.into_iter().zip(&world.services) {
            for (kind, version) in [Names, Cluster, Endpoints, Listener].into_iter().zip(0..) {
                let wanted = content.map(|(versions, _)| versions[version]);
                let has = self.has.get(&(kind, name.to_owned())).copied();
                let beside_the_point = kind == Endpoints && !self.has.contains_key(&(Cluster, name.to_owned()));
                if wanted == Some(BAD) || beside_the_point {
                    assert_ne!(has, Some(BAD));
                } else {
                    assert_eq!(has, wanted, "{kind:?} {name}");
                }
            }
        }
    }
}

fn run<C: Speech>(first: &World, steps: Vec<Step>) {
    let mut proxy = Proxy::<C>::new(first);
    let mut now = first.clone();
    for step in steps {
        match step {
            Step::Change(world) => {
                now = world;
                proxy.change(&now);
            }
            Step::ChangeOne(place, service) => {
                now.services[place] = service;
                proxy.change(&now);
            }
            Step::Deliver => proxy.deliver(),
            Step::DeliverAll => proxy.deliver_all(),
            Step::Return => proxy.come_back(),
        }
    }
    proxy.finish(&now);
}

proptest! {
    #[test]
    fn by_delta_a_proxy_ends_with_what_it_shall_have(first in world(), steps in steps()) {
        run::<Delta>(&first, steps);
    }

    #[test]
    fn by_state_of_the_world_a_proxy_ends_with_what_it_shall_have(first in world(), steps in steps()) {
        run::<Sotw>(&first, steps);
    }
}
