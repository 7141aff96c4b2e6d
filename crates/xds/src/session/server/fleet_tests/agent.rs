//! An agent as a model: what it has, what it was told, and what it may be told.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use envoy_types::pb::{envoy::service::discovery::v3::DeltaDiscoveryRequest, google::rpc};
use proptest::sample::Index;

use super::{
    super::{test_support::responses, *},
    world::{KINDS, SERVICES, Said, is_bad_for},
};
use crate::{Digest, digest::ASK};
use ResourceType::{Cluster, Endpoints, Listener, Names};

/// A name that no resource has and that sorts after all others. Its answer says that everything was sent.
const MARK: &str = "\u{10ffff}";

/// One of the agents is of a version that waits for the pilot.
fn pacing(number: usize) -> Pacing {
    if number == 1 { Pacing::Answered } else { Pacing::Sent }
}

type Key = (ResourceType, String);

pub(super) struct Agent {
    number: usize,
    session: Session<Delta>,
    queue: VecDeque<(ResponseToProxy, Arc<ResourceSet>)>,
    has: BTreeMap<Key, Arc<Resource>>,
    /// Whatever was ever bad, so that its counterparts cannot be expected.
    spoilt: BTreeSet<Key>,
    /// Whatever was ever in a response that it rejected, or asked for. It may come again.
    late: BTreeSet<Key>,
    /// Whatever it lacked or asked for. It is answered at once, also when it is gone.
    asked: BTreeSet<Key>,
    /// Clusters that have changed since their endpoints came. These come again, whether or not they have changed.
    cold: BTreeSet<String>,
    /// Versions rejected for good, and the last response that was on its way at that time.
    refused: BTreeMap<Key, (String, u64)>,
    /// What it accepts, good or bad, because it has asked for it after it rejected it.
    forgiven: BTreeSet<Key>,
    named: BTreeSet<Key>,
}

impl Agent {
    pub(super) fn new(number: usize, set: Arc<ResourceSet>) -> Self {
        let mut agent = Self {
            number,
            session: Session::new(set, pacing(number)),
            queue: VecDeque::new(),
            has: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            late: BTreeSet::new(),
            asked: BTreeSet::new(),
            cold: BTreeSet::new(),
            refused: BTreeMap::new(),
            forgiven: BTreeSet::new(),
            named: BTreeSet::new(),
        };
        agent.connect([Said::List; KINDS.len()]);
        agent
    }

    /// Begins a stream with what it has.
    pub(super) fn connect(&mut self, said: [Said; KINDS.len()]) {
        self.session = Session::new(self.session.set.clone(), pacing(self.number));
        self.queue.clear();
        self.refused.clear();
        self.named.clear();
        // A pilot does not know for which clusters an agent waits that says to have them and their endpoints.
        self.cold.clear();
        for (kind, said) in KINDS.into_iter().zip(said) {
            let mark = self.versions(kind).is_empty() && said == Said::List;
            let digest = |digest: Digest| HashMap::from([("*".to_owned(), digest.to_string())]);
            let initial_resource_versions = match said {
                Said::List => self.versions(kind),
                Said::Digest => digest(self.digest(kind)),
                Said::WrongDigest => digest(self.digest(kind).with("another", "1")),
            };
            self.send(DeltaDiscoveryRequest {
                resource_names_subscribe: ["*".to_owned()].into_iter().chain(mark.then(|| MARK.to_owned())).collect(),
                initial_resource_versions,
                ..ask(kind)
            });
        }
        let says_all = |kind, said| match said {
            Said::List => self.held(kind).next().is_some(),
            Said::Digest => true,
            Said::WrongDigest => false,
        };
        let has_all = |kind| self.session.set.of(kind).flattened().resources().values().eq(self.held(kind));
        if KINDS.into_iter().zip(said).all(|(kind, said)| says_all(kind, said) && has_all(kind)) {
            assert!(self.queue.is_empty(), "it says that it has everything, and is told {:?}", self.queue);
        }
    }

    fn held(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.has.iter().filter(move |((of, _), _)| *of == kind).map(|(_, resource)| resource)
    }

    fn versions(&self, kind: ResourceType) -> HashMap<String, String> {
        self.held(kind).map(|resource| (resource.name.to_string(), resource.version.to_string())).collect()
    }

    fn digest(&self, kind: ResourceType) -> Digest {
        self.held(kind).fold(Digest::default(), |sum, resource| sum.with(&resource.name, &resource.version))
    }

    fn send(&mut self, request: DeltaDiscoveryRequest) {
        let actions = self.session.request(request).unwrap();
        self.take(actions);
    }

    /// Responses are on their way. Each says what is so at that time.
    fn take(&mut self, actions: Vec<Action>) {
        let set = &self.session.set;
        for response in responses(actions) {
            for resource in &response.resources {
                assert_eq!(set.of(response.kind).get(&resource.name), Some(resource), "it is told what is not so");
            }
            for name in &response.removed {
                assert_eq!(set.of(response.kind).get(name), None, "it is told that this is gone");
            }
            self.queue.push_back((response, Arc::clone(set)));
        }
    }

    /// Takes the oldest response and answers it. Returns whether there was one.
    pub(super) fn deliver(&mut self) -> bool {
        let Some((response, sent_of)) = self.queue.pop_front() else { return false };
        if response.removed.iter().any(|name| &**name == ASK) {
            let (response_nonce, initial_resource_versions) = (response.nonce.clone(), self.versions(response.kind));
            self.send(DeltaDiscoveryRequest { response_nonce, initial_resource_versions, ..ask(response.kind) });
            return true;
        }
        self.never_again(&response);
        let bad = self.is_bad(&response);
        if bad {
            self.late.extend(response.items().map(|(name, _)| (response.kind, name.to_string())));
            let rejected = response.resources.iter().filter(|resource| self.rejects(response.kind, resource));
            let bad: Vec<_> = rejected.map(|resource| (response.kind, resource.name.to_string())).collect();
            self.spoilt.extend(bad);
        } else {
            response.resources.iter().for_each(|resource| self.put(response.kind, resource));
            response.removed.iter().for_each(|name| self.remove(response.kind, name));
            if response.removed.iter().any(|name| &**name == MARK) {
                self.has_all(response.kind, &sent_of);
            }
        }
        self.send(DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            error_detail: bad.then(rpc::Status::default),
            ..ask(response.kind)
        });
        true
    }

    pub(super) fn deliver_all(&mut self) {
        let mut rounds = 0;
        while self.deliver() {
            rounds += 1;
            assert!(rounds < 1000, "responses do not end");
        }
    }

    fn is_bad(&self, response: &ResponseToProxy) -> bool {
        response.resources.iter().any(|resource| self.rejects(response.kind, resource))
    }

    fn rejects(&self, kind: ResourceType, resource: &Resource) -> bool {
        is_bad_for(self.number, resource) && !self.forgiven.contains(&(kind, resource.name.to_string()))
    }

    fn put(&mut self, kind: ResourceType, resource: &Arc<Resource>) {
        let key = |kind| (kind, resource.name.to_string());
        if kind == Listener {
            let cluster = key(Cluster);
            let expected = self.has.contains_key(&cluster) || self.is_in_doubt(&cluster);
            assert!(expected, "{}: a listener without its cluster", resource.name);
            let expected = self.has.contains_key(&key(Endpoints)) || self.late.contains(&key(Endpoints));
            assert!(expected, "{}: a listener without endpoints", resource.name);
        }
        let follows = kind == Endpoints && (self.cold.remove(&*resource.name) || self.late.contains(&key(Cluster)));
        let before = self.has.insert(key(kind), Arc::clone(resource));
        let may_come_again = follows || self.late.contains(&key(kind));
        assert!(before.as_ref() != Some(resource) || may_come_again, "{:?} comes again", key(kind));
        if kind == Cluster && before.is_some_and(|before| before != *resource) {
            self.cold.insert(resource.name.to_string());
        }
    }

    fn remove(&mut self, kind: ResourceType, name: &str) {
        let has = |kind| self.has.contains_key(&(kind, name.to_owned()));
        let spoilt = KINDS.into_iter().any(|kind| self.is_in_doubt(&(kind, name.to_owned())));
        let may_go = spoilt || self.asked.contains(&(kind, name.to_owned()));
        // That they are gone is also an answer to a changed cluster, which waits for its endpoints.
        let is_awaited = self.cold.contains(name) || self.late.contains(&(Cluster, name.to_owned()));
        assert!(
            kind != Endpoints || !has(Cluster) || may_go || is_awaited,
            "{name}: endpoints went before their cluster"
        );
        assert!(kind != Cluster || !has(Listener) || may_go, "{name}: a cluster went before its listener");
        assert!(kind != Listener || !has(Names) || may_go, "{name}: a listener went before its name");
        self.has.remove(&(kind, name.to_owned()));
        if kind == Cluster {
            self.cold.remove(name);
        }
    }

    /// Whether it may have come out of order, because it was rejected: itself, or with others while it waits for Envoy
    /// itself, and the pilot does not wait for its answer.
    fn is_in_doubt(&self, key: &Key) -> bool {
        self.spoilt.contains(key) || (self.session.pacing == Pacing::Sent && self.late.contains(key))
    }

    /// The mark is answered: it has all names of the set of which it was sent.
    fn has_all(&self, kind: ResourceType, set: &ResourceSet) {
        for resource in set.of(kind).iter() {
            let key = (kind, resource.name.to_string());
            assert!(self.has.contains_key(&key) || self.late.contains(&key), "{key:?} comes after the mark");
        }
    }

    /// A rejected version is not sent again before another one was sent.
    fn never_again(&mut self, response: &ResponseToProxy) {
        let bad = self.is_bad(response);
        for (name, version) in response.items() {
            let key = (response.kind, name.to_string());
            let version = version.map(ToString::to_string).unwrap_or_default();
            let again =
                |(refused, last): &(String, u64)| *refused == version && response.nonce.parse::<u64>().unwrap() > *last;
            assert!(!self.refused.get(&key).is_some_and(again), "{key:?} was refused and came again");
            self.refused.remove(&key);
            if bad && response.len() == 1 {
                self.refused.insert(key, (version, self.session.nonce));
            }
        }
    }

    /// Something got lost, and comes again.
    pub(super) fn lose(&mut self, kind: ResourceType, name: &str) {
        self.ask_for((kind, name.to_owned()));
        // A listener may not stay without its cluster, nor a name without its listener.
        if matches!(kind, Endpoints | Names) {
            self.has.remove(&(kind, name.to_owned()));
        }
        let actions = self.session.tell_again(&[(kind, name.into())]);
        self.take(actions);
    }

    fn ask_for(&mut self, key: Key) {
        self.late.insert(key.clone());
        self.asked.insert(key);
    }

    pub(super) fn again(&mut self, kind: ResourceType, name: &str) {
        let key = (kind, name.to_owned());
        if self.refused.remove(&key).is_some() {
            self.forgiven.insert(key.clone());
        }
        self.named.insert(key.clone());
        self.ask_for(key);
        self.send(DeltaDiscoveryRequest { resource_names_subscribe: vec![name.to_owned()], ..ask(kind) });
    }

    pub(super) fn forgive(&mut self, which: Index) {
        let refused: Vec<_> = self.refused.keys().cloned().collect();
        if !refused.is_empty() {
            let (kind, name) = which.get(&refused);
            self.again(*kind, name);
        }
    }

    pub(super) fn leave(&mut self, kind: ResourceType, name: &str) {
        if matches!(kind, Endpoints | Names) && self.named.remove(&(kind, name.to_owned())) {
            self.refused.remove(&(kind, name.to_owned()));
            // What was on its way before it left may still bring it back, so it is dropped for good only when it is gone.
            self.send(DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..ask(kind) });
        }
    }

    pub(super) fn change(&mut self, set: &Arc<ResourceSet>) {
        let actions = self.session.resources(Arc::clone(set));
        self.take(actions);
    }

    pub(super) fn finish(mut self, set: &ResourceSet) {
        self.deliver_all();
        assert!(!self.session.unanswered());
        for kind in KINDS {
            for name in SERVICES {
                let wanted = set.of(kind).get(name);
                let has = self.has.get(&(kind, name.to_owned()));
                if !wanted.is_some_and(|wanted| self.rejects(kind, wanted)) {
                    assert_eq!(has, wanted, "{kind:?} {name}");
                }
            }
        }
        let spoilt = |name: &String| self.spoilt.contains(&(Endpoints, name.clone()));
        let waits = |name: &&String| set.of(Endpoints).get(name).is_some() && !spoilt(name);
        assert_eq!(self.cold.iter().find(waits), None, "a changed cluster waits for its endpoints");
    }
}

pub(super) fn ask(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().to_owned(), ..DeltaDiscoveryRequest::default() }
}
