//! Tests a fleet of agents, whose streams share frames, against arbitrary sequences of changes, refusals and reconnects.
//!
//! An agent subscribes to everything, applies a response as a whole, and rejects it as a whole when any resource in it
//! is bad. It knows nothing of generations, ways or shared frames. Whatever it was told, in the end it must have what the
//! layers of its node say, and never anything that breaks the order of `crate::order` or that was hidden from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use envoy_types::pb::{envoy::service::discovery::v3::DeltaDiscoveryRequest, google::rpc};
use proptest::prelude::*;

use super::{test_support::*, *};
use crate::{Digest, Layer};
use ResourceType::{Cluster, Endpoints, Listener, Names};

/// The content that agents reject.
const BAD: u8 = 3;
/// From this content on, a resource is hidden by another one.
const HIDDEN: u8 = 100;
const SERVICES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
const KINDS: [ResourceType; 4] = [Names, Cluster, Endpoints, Listener];
const AGENTS: usize = 3;
/// A name that no resource has and that sorts after all others. Its answer says that everything was sent.
const MARK: &str = "\u{10ffff}";

/// Versions of a service's name, cluster, endpoints and listener, and the agents whose own layers have it as well.
type Service = ([u8; 4], [bool; AGENTS]);
/// The services; `None` before anything is known.
type World = Option<Vec<Option<Service>>>;

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<Option<Service>>),
    /// The oldest response to an agent arrives.
    Deliver(usize),
    /// An agent's stream ends, and it comes back with what it has.
    Return(usize, Said),
    /// An agent comes back with nothing.
    Restart(usize),
    /// An agent is found to lack something.
    Lose(usize, usize, usize),
    /// An agent asks for something that it has.
    Again(usize, usize, usize),
    /// An agent leaves something that it has asked for by name, and drops it.
    Leave(usize, usize, usize),
}

/// How an agent that comes back says what it has.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// As agents of the version before do.
    List,
    Digest,
    /// As an agent does that has something which it does not say.
    WrongDigest,
}

fn services() -> impl Strategy<Value = Vec<Option<Service>>> {
    let bad_sometimes = || prop_oneof![9 => 0..BAD, 1 => Just(BAD)];
    let versions = (0..2u8, bad_sometimes(), bad_sometimes(), bad_sometimes()).prop_map(|(n, c, e, l)| [n, c, e, l]);
    let own = prop::array::uniform3(prop::bool::weighted(0.1));
    prop::collection::vec(prop::option::weighted(0.8, (versions, own)), SERVICES.len())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let said = prop_oneof![Just(Said::List), Just(Said::Digest), Just(Said::WrongDigest)];
    let one = || (0..AGENTS, 0..KINDS.len(), 0..SERVICES.len());
    let step = prop_oneof![
        3 => services().prop_map(Step::Change),
        12 => (0..AGENTS).prop_map(Step::Deliver),
        2 => (0..AGENTS, said).prop_map(|(agent, said)| Step::Return(agent, said)),
        1 => (0..AGENTS).prop_map(Step::Restart),
        1 => one().prop_map(|(agent, kind, service)| Step::Lose(agent, kind, service)),
        1 => one().prop_map(|(agent, kind, service)| Step::Again(agent, kind, service)),
        1 => one().prop_map(|(agent, kind, service)| Step::Leave(agent, kind, service)),
    ];
    prop::collection::vec(step, 1..80)
}

/// The sets of all agents at one time. The lowest layers are the same ones.
fn sets(world: &World) -> [Arc<ResourceSet>; AGENTS] {
    let Some(services) = world else { return std::array::from_fn(|_| Arc::default()) };
    let named = || SERVICES.into_iter().zip(services).filter_map(|(name, service)| Some((name, (*service)?)));
    let layer = |kind: ResourceType, wanted: &dyn Fn(&Service) -> Option<u8>| -> Layer {
        let version = |(name, service): (&str, Service)| {
            let version = service.0[KINDS.iter().position(|one| *one == kind)?];
            Some(Resource::clone(&resource(name, version + wanted(&service)?)))
        };
        named().filter_map(version).collect()
    };
    // Half of the services that an agent has of its own are in the shared layer as well.
    let hidden = |service: &Service| service.1.iter().any(|own| *own);
    let lowest = ResourceType::ALL.map(|kind| {
        let shared = layer(kind, &|service| match hidden(service) {
            false => Some(0),
            true => (service.0[0] == 0).then_some(HIDDEN),
        });
        shared.shared_in_steps(kind, 300)
    });
    std::array::from_fn(|agent| {
        let own = |service: &Service| (hidden(service)).then_some(if service.1[agent] { 0 } else { 10 });
        let set = ResourceType::ALL.into_iter().zip(&lowest).fold(ResourceSet::default(), |set, (kind, lowest)| {
            set.with(kind, TypedResources::new([lowest.clone(), layer(kind, &own)]))
        });
        Arc::new(set)
    })
}

struct Agent {
    session: Session<Delta>,
    queue: VecDeque<(ResponseToProxy, Arc<ResourceSet>)>,
    has: BTreeMap<(ResourceType, String), Arc<Resource>>,
    /// Whatever was ever bad, so that its counterparts cannot be expected.
    spoilt: BTreeSet<(ResourceType, String)>,
    /// Whatever was ever in a response that it rejected, or got lost. It comes again later.
    late: BTreeSet<(ResourceType, String)>,
    /// Versions rejected for good, and the last response that was on its way at that time.
    refused: BTreeMap<(ResourceType, String), (String, u64)>,
    named: BTreeSet<(ResourceType, String)>,
}

impl Agent {
    fn new(set: Arc<ResourceSet>) -> Self {
        let mut agent = Self {
            session: Session::new(set),
            queue: VecDeque::new(),
            has: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            late: BTreeSet::new(),
            refused: BTreeMap::new(),
            named: BTreeSet::new(),
        };
        agent.connect(Said::List);
        agent
    }

    /// Begins a stream with what it has.
    fn connect(&mut self, said: Said) {
        self.session = Session::new(self.session.set.clone());
        self.queue.clear();
        self.refused.clear();
        self.named.clear();
        for kind in KINDS {
            let mark = self.versions(kind).is_empty() && matches!(said, Said::List);
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

    fn take(&mut self, actions: Vec<Action>) {
        let set = &self.session.set;
        self.queue.extend(responses(actions).into_iter().map(|response| (response, Arc::clone(set))));
    }

    /// Takes the oldest response and answers it.
    fn deliver(&mut self) {
        let Some((response, sent_of)) = self.queue.pop_front() else { return };
        if response.removed.iter().any(|name| &**name == crate::digest::ASK) {
            let (response_nonce, initial_resource_versions) = (response.nonce.clone(), self.versions(response.kind));
            self.send(DeltaDiscoveryRequest { response_nonce, initial_resource_versions, ..ask(response.kind) });
            return;
        }
        self.never_again(&response);
        let bad = response.resources.iter().any(|resource| resource.body.ends_with(&[BAD]));
        if bad {
            self.late.extend(response.resources.iter().map(|resource| (response.kind, resource.name.to_string())));
            let bad = response.resources.iter().filter(|resource| resource.body.ends_with(&[BAD]));
            self.spoilt.extend(bad.map(|resource| (response.kind, resource.name.to_string())));
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
    }

    fn put(&mut self, kind: ResourceType, resource: &Arc<Resource>) {
        let version = resource.body.last().copied().unwrap();
        assert!(version < HIDDEN, "{kind:?} {}: a resource that another one hides", resource.name);
        let key = |kind| (kind, resource.name.to_string());
        if kind == Listener {
            let cluster = key(Cluster);
            let expected = self.has.contains_key(&cluster) || self.spoilt.contains(&cluster);
            assert!(expected, "{}: a listener without its cluster", resource.name);
        }
        self.has.insert(key(kind), Arc::clone(resource));
    }

    fn remove(&mut self, kind: ResourceType, name: &str) {
        let has = |kind| self.has.contains_key(&(kind, name.to_owned()));
        let spoilt = KINDS.into_iter().any(|kind| self.spoilt.contains(&(kind, name.to_owned())));
        assert!(kind != Cluster || !has(Listener) || spoilt, "{name}: a cluster went before its listener");
        assert!(kind != Listener || !has(Names) || spoilt, "{name}: a listener went before its name");
        self.has.remove(&(kind, name.to_owned()));
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
        let bad = response.resources.iter().any(|resource| resource.body.ends_with(&[BAD]));
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
    fn lose(&mut self, kind: ResourceType, name: &str) {
        // A listener may not stay without its cluster, nor a name without its listener.
        if matches!(kind, Endpoints | Names) {
            self.has.remove(&(kind, name.to_owned()));
            self.late.insert((kind, name.to_owned()));
        }
        let actions = self.session.tell_again(&[(kind, name.into())]);
        self.take(actions);
    }

    fn again(&mut self, kind: ResourceType, name: &str) {
        self.named.insert((kind, name.to_owned()));
        self.refused.remove(&(kind, name.to_owned()));
        self.send(DeltaDiscoveryRequest { resource_names_subscribe: vec![name.to_owned()], ..ask(kind) });
    }

    fn leave(&mut self, kind: ResourceType, name: &str) {
        if matches!(kind, Endpoints | Names) && self.named.remove(&(kind, name.to_owned())) {
            self.refused.remove(&(kind, name.to_owned()));
            // What was on its way before it left may still bring it back, so it is dropped for good only when it is gone.
            self.send(DeltaDiscoveryRequest { resource_names_unsubscribe: vec![name.to_owned()], ..ask(kind) });
        }
    }

    fn change(&mut self, set: &Arc<ResourceSet>) {
        let actions = self.session.resources(Arc::clone(set));
        self.take(actions);
    }

    fn finish(mut self, set: &ResourceSet) {
        let mut rounds = 0;
        while !self.queue.is_empty() {
            self.deliver();
            rounds += 1;
            assert!(rounds < 1000, "responses do not end");
        }
        assert!(!self.session.unanswered());
        for kind in KINDS {
            for name in SERVICES {
                let wanted = set.of(kind).get(name);
                let has = self.has.get(&(kind, name.to_owned()));
                if !wanted.is_some_and(|wanted| wanted.body.ends_with(&[BAD])) {
                    assert_eq!(has, wanted, "{kind:?} {name}");
                }
            }
        }
    }
}

fn ask(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().to_owned(), ..DeltaDiscoveryRequest::default() }
}

fn run(first: &World, steps: Vec<Step>) {
    let mut now = sets(first);
    let mut agents = now.clone().map(Agent::new);
    for step in steps {
        match step {
            Step::Change(services) => {
                now = sets(&Some(services));
                agents.iter_mut().zip(&now).for_each(|(agent, set)| agent.change(set));
            }
            Step::Deliver(agent) => agents[agent].deliver(),
            Step::Return(agent, said) => agents[agent].connect(said),
            Step::Restart(agent) => agents[agent] = Agent::new(now[agent].clone()),
            Step::Lose(agent, kind, service) => agents[agent].lose(KINDS[kind], SERVICES[service]),
            Step::Again(agent, kind, service) => agents[agent].again(KINDS[kind], SERVICES[service]),
            Step::Leave(agent, kind, service) => agents[agent].leave(KINDS[kind], SERVICES[service]),
        }
    }
    for (agent, set) in agents.into_iter().zip(&now) {
        if set.of(Cluster).is_known() {
            agent.finish(set);
        }
    }
}

proptest! {
    #[test]
    fn every_agent_ends_with_what_its_node_shall_have(first in prop::option::weighted(0.9, services()), steps in steps()) {
        run(&first, steps);
    }
}
