//! Tests a fleet of agents, whose streams share frames, against arbitrary sequences of changes, refusals and reconnects.
//!
//! An agent subscribes to everything, applies a response as a whole, and rejects it as a whole when any resource in it
//! is bad for it. It knows nothing of generations, ways or shared frames. Whatever it was told, in the end it must have
//! what the layers of its node say. On the way there, it is told nothing that was not so when it was sent, nothing that
//! it has, and nothing that breaks the order of `crate::order`.
//!
//! Why each kind of case is here: mutations of the code that it found, nearly all of them within 256 cases. A kind that is
//! taken away leaves its mutations unseen, or seen late. `model_tests` is Envoy itself.
//!
//! | kind of case | mutations |
//! |---|---|
//! | several agents, each on a way of its own | a way from another beginning is used; layers of the same length count as equal |
//! | one agent rejects what others take | what was rejected with others counts as had, or is sent with others again; a refusal is not remembered |
//! | an agent asks for what it rejected | a refusal outlives a new subscription |
//! | a list (the version before) | it counts as all there is; what it names that is gone is forgotten |
//! | a right digest | it is not believed; who is believed begins at nothing; it counts what is hidden |
//! | a wrong digest | it is believed; nobody asks; a list undoes what is to be told again; resources are sent before the list |
//! | a change during the first sync | the rest of a divided step is passed over; what changed behind the place is no exception; the place is kept on another way |
//! | an agent some generations behind | removals that were not sent yet are forgotten; the beginning of a way stays; the way is not left |
//! | a resource moves between layers | a step says that what another layer has is gone |
//! | what is hidden changes | what is hidden is sent |
//! | one service changes | removals go with additions, before their turn |
//! | the order of types | a listener comes before endpoints; a type's `Wait` is left out (with `order_tests`) |
//! | agents that wait for their Envoy themselves | a type's turn comes before what it waits for is sent (with `delta_tests::order`) |
//! | Envoy, by delta | a step does not say what it replaces; endpoints do not follow a changed cluster; a refusal ends with a generation |
//! | Envoy, by the state of the world | what is in use is left out; a refused state comes again; layers show what is hidden |
//! | Envoy comes back | any state of the world is believed; the state that it has is sent again |

mod agent;
mod world;

use proptest::prelude::*;

use self::{
    agent::Agent,
    world::{AGENTS, KINDS, SERVICES, Step, World, steps, world},
};
use super::{test_support::responses, *};

struct Fleet {
    past: Vec<World>,
    now: [Arc<ResourceSet>; AGENTS],
    agents: [Agent; AGENTS],
}

impl Fleet {
    fn new(first: World) -> Self {
        let now = first.sets();
        let agents = std::array::from_fn(|number| Agent::new(number, now[number].clone()));
        Self { past: vec![first], now, agents }
    }

    fn act(&mut self, step: Step) {
        let world = &self.past[self.past.len() - 1];
        match step {
            Step::Change(services) => self.change(world.with(services)),
            Step::ChangeOne(place, service) => {
                if let Some(mut services) = world.services.clone() {
                    services[place] = service;
                    self.change(world.with(services));
                }
            }
            Step::ChangeHidden(place, hidden) => {
                if let Some(mut services) = world.services.clone() {
                    services[place].iter_mut().for_each(|service| service.1.1 = hidden);
                    self.change(world.with(services));
                }
            }
            Step::Back(when) => {
                let world = when.get(&self.past).clone();
                if world.services.is_some() {
                    self.change(world);
                }
            }
            Step::Deliver(agent) => drop(self.agents[agent].deliver()),
            Step::DeliverAll(agent) => self.agents[agent].deliver_all(),
            Step::Return(agent, said) => self.agents[agent].connect(said),
            Step::Restart(agent) => self.agents[agent] = Agent::new(agent, self.now[agent].clone()),
            Step::Lose(agent, kind, service) => self.agents[agent].lose(KINDS[kind], SERVICES[service]),
            Step::Again(agent, kind, service) => self.agents[agent].again(KINDS[kind], SERVICES[service]),
            Step::Forgive(agent, which) => self.agents[agent].forgive(which),
            Step::Leave(agent, kind, service) => self.agents[agent].leave(KINDS[kind], SERVICES[service]),
        }
    }

    fn change(&mut self, world: World) {
        self.now = world.sets();
        self.agents.iter_mut().zip(&self.now).for_each(|(agent, set)| agent.change(set));
        self.past.push(world);
    }

    fn finish(self) {
        for (agent, set) in self.agents.into_iter().zip(&self.now) {
            if set.of(ResourceType::Cluster).is_known() {
                agent.finish(set);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_agent_ends_with_what_its_node_shall_have(first in world(), steps in steps()) {
        let mut fleet = Fleet::new(first);
        steps.into_iter().for_each(|step| fleet.act(step));
        fleet.finish();
    }

    #[test]
    fn what_agents_have_in_common_is_encoded_once(first in world(), second in world()) {
        let [first, second] = [first, second].map(|world| world.without_own().sets());
        let mut sent = first.into_iter().zip(second).map(|(first, second)| {
            let mut session = Session::<Delta>::new(first, Pacing::Sent);
            let mut actions = session.request(agent::ask(ResourceType::Names)).unwrap();
            actions.extend(session.resources(second));
            responses(actions)
        });
        let one = sent.next().unwrap();
        for other in sent {
            prop_assert_eq!(one.len(), other.len());
            prop_assert!(one.iter().zip(&other).all(|(one, other)| Arc::ptr_eq(&one.content, &other.content)));
        }
    }
}
