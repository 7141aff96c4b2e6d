//! What a fleet's agents must have, and what happens to them.

use proptest::{prelude::*, sample::Index};

use super::super::{test_support::resource, *};
use crate::Layer;
use ResourceType::{Cluster, Endpoints, Listener, Names};

/// The content that all agents reject.
const BAD: u8 = 3;
/// From this content on, the resource is rejected by one agent, and taken by the others.
const BAD_FOR_ONE: u8 = 4;
/// What the content of a shared resource has more that some agents' own resources hide.
const OTHER: u8 = 10;
pub(super) const SERVICES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
pub(super) const KINDS: [ResourceType; 4] = [Names, Cluster, Endpoints, Listener];
pub(super) const AGENTS: usize = 3;

/// Versions of a service's name, cluster, endpoints and listener, and the agents whose own layers have it. With any, the
/// shared layer has another version of it, or nothing.
type Service = ([u8; 4], Own);
type Own = ([bool; AGENTS], Option<u8>);
pub(super) type Services = Vec<Option<Service>>;

/// Services, and how many octets a step of a way has.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) largest: usize,
    /// The services; `None` before anything is known.
    pub(super) services: Option<Services>,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// All services change, and move between the layers.
    Change(Services),
    /// One of them does.
    ChangeOne(usize, Option<Service>),
    /// What some agents' own resources hide changes.
    ChangeHidden(usize, Option<u8>),
    /// What was some generations before is so again.
    Back(Index),
    /// The oldest response to an agent arrives.
    Deliver(usize),
    /// Everything on its way to an agent arrives.
    DeliverAll(usize),
    /// An agent's stream ends, and it comes back with what it has.
    Return(usize, [Said; KINDS.len()]),
    /// An agent comes back with nothing.
    Restart(usize),
    /// An agent is found to lack something.
    Lose(usize, usize, usize),
    /// An agent asks for something that it has.
    Again(usize, usize, usize),
    /// An agent asks for something that it rejected, and would accept it now.
    Forgive(usize, Index),
    /// An agent leaves something that it has asked for by name, and drops it.
    Leave(usize, usize, usize),
}

/// How an agent that comes back says what it has of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// As agents of the version before do.
    List,
    Digest,
    /// As an agent does that has something which it does not say.
    WrongDigest,
}

/// Whether an agent rejects a resource.
pub(super) fn is_bad_for(agent: usize, resource: &Resource) -> bool {
    let version = resource.body.last().copied().map(usize::from);
    version == Some(BAD.into()) || version == Some(usize::from(BAD_FOR_ONE) + agent)
}

/// A service; one of ten resources is bad, or for one agent.
fn service() -> impl Strategy<Value = Option<Service>> {
    let last = BAD_FOR_ONE + u8::try_from(AGENTS).unwrap();
    let version = move || prop_oneof![18 => 0..BAD, 2 => BAD..last];
    let versions = (0..2u8, version(), version(), version()).prop_map(|(n, c, e, l)| [n, c, e, l]);
    let own = (prop::array::uniform3(prop::bool::weighted(0.1)), hidden());
    prop::option::weighted(0.8, (versions, own))
}

/// In what the shared layer's resource differs from the one that hides it. `None` when there is none.
fn hidden() -> impl Strategy<Value = Option<u8>> {
    prop::option::of(1..3u8)
}

fn services() -> impl Strategy<Value = Services> {
    prop::collection::vec(service(), SERVICES.len())
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let largest = prop::sample::select(vec![150, 300, 2000]);
    (largest, prop::option::weighted(0.9, services())).prop_map(|(largest, services)| World { largest, services })
}

/// The last agent is slow: it falls several generations behind.
fn agent() -> impl Strategy<Value = usize> {
    prop_oneof![5 => 0..AGENTS - 1, 1 => Just(AGENTS - 1)]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let said = || prop_oneof![Just(Said::List), Just(Said::Digest), Just(Said::WrongDigest)];
    let all = prop_oneof![said().prop_map(|said| [said; KINDS.len()]), prop::array::uniform4(said()),];
    let one = || (0..AGENTS, 0..KINDS.len(), 0..SERVICES.len());
    let step = prop_oneof![
        2 => services().prop_map(Step::Change),
        4 => (0..SERVICES.len(), service()).prop_map(|(place, service)| Step::ChangeOne(place, service)),
        1 => (0..SERVICES.len(), hidden()).prop_map(|(place, hidden)| Step::ChangeHidden(place, hidden)),
        1 => any::<Index>().prop_map(Step::Back),
        12 => agent().prop_map(Step::Deliver),
        2 => agent().prop_map(Step::DeliverAll),
        2 => (0..AGENTS, all).prop_map(|(agent, said)| Step::Return(agent, said)),
        1 => (0..AGENTS).prop_map(Step::Restart),
        1 => one().prop_map(|(agent, kind, service)| Step::Lose(agent, kind, service)),
        1 => one().prop_map(|(agent, kind, service)| Step::Again(agent, kind, service)),
        1 => (0..AGENTS, any::<Index>()).prop_map(|(agent, which)| Step::Forgive(agent, which)),
        1 => one().prop_map(|(agent, kind, service)| Step::Leave(agent, kind, service)),
    ];
    prop::collection::vec(step, 1..80)
}

impl World {
    /// The sets of all agents. The lowest layers are the same ones.
    pub(super) fn sets(&self) -> [Arc<ResourceSet>; AGENTS] {
        let Some(services) = &self.services else { return std::array::from_fn(|_| Arc::default()) };
        let named = || SERVICES.into_iter().zip(services).filter_map(|(name, service)| Some((name, (*service)?)));
        let layer = |kind: ResourceType, wanted: &dyn Fn(&Service) -> Option<u8>| -> Layer {
            let version = |(name, service): (&str, Service)| {
                let version = service.0[KINDS.iter().position(|one| *one == kind)?];
                Some(Resource::clone(&resource(name, version + wanted(&service)?)))
            };
            named().filter_map(version).collect()
        };
        let is_owned = |(_, (own, _)): &Service| own.iter().any(|own| *own);
        let lowest = ResourceType::ALL.map(|kind| {
            let shared = layer(kind, &|service| match is_owned(service) {
                false => Some(0),
                true => service.1.1.map(|hidden| hidden * OTHER),
            });
            shared.shared_in_steps(kind, self.largest)
        });
        std::array::from_fn(|agent| {
            let own = |service: &Service| service.1.0[agent].then_some(0);
            let set = ResourceType::ALL.into_iter().zip(&lowest).fold(ResourceSet::default(), |set, (kind, lowest)| {
                set.with(kind, TypedResources::new([lowest.clone(), layer(kind, &own)]))
            });
            Arc::new(set)
        })
    }

    /// Where all resources are shared.
    pub(super) fn without_own(mut self) -> Self {
        self.services.iter_mut().flatten().flatten().for_each(|service| service.1.0 = [false; AGENTS]);
        self
    }

    /// With other services.
    pub(super) fn with(&self, services: Services) -> Self {
        Self { services: Some(services), ..*self }
    }
}
