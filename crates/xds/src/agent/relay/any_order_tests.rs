//! Invariants that hold for any order of changes at the pilot, answers of the proxy, outages and time.

use std::collections::HashMap;

use boshy_mesh::Hostname;
use proptest::prelude::*;

use super::{gate::Target, test_support::*, *};
use crate::{AckState, Capture, names::Name};

/// What a pilot serves. A test changes it arbitrarily: names without listeners, listeners without clusters, anything.
type World = [BTreeMap<String, Resource>; ResourceType::ALL.len()];

#[derive(Clone, Debug)]
enum Event {
    Set(ResourceType, Resource),
    Remove(ResourceType, String),
    PilotLost,
    PilotBack,
    ProxyConnects,
    ProxyLeaves,
    ProxyAccepts(ResourceType),
    ProxyRejects(ResourceType, usize),
    TimePasses,
    SecretsCome(u8),
    AgentRestarts,
}

fn kind() -> impl Strategy<Value = ResourceType> {
    proptest::sample::select(JUDGED.to_vec())
}

fn thing() -> impl Strategy<Value = (ResourceType, Resource)> {
    let host = || proptest::sample::select(vec!["a.boshy", "b.boshy"]);
    let ports = || proptest::sample::subsequence(vec![80_u16, 81], 1..=2);
    prop_oneof![
        (host(), 1_u8..3).prop_map(|(host, last)| (ResourceType::Names, name(host, last))),
        (host(), 1_u8..3, ports(), ports()).prop_map(|(host, last, listeners, clusters)| {
            let listeners: Vec<_> = listeners.iter().map(|port| format!("tcp_{}_{port}", vip(last))).collect();
            let clusters: Vec<_> = clusters.iter().map(|port| format!("out.{host}|{port}")).collect();
            let [listeners, clusters] =
                [&listeners, &clusters].map(|names| names.iter().map(|n| &**n).collect::<Vec<_>>());
            (ResourceType::Names, name_needing(host, last, &listeners, &clusters))
        }),
        (0_u32..3).prop_map(|edition| (ResourceType::Listener, resource("virtual", edition))),
        (1_u8..3, 80_u16..82, 0_u32..3)
            .prop_map(|(last, port, edition)| (ResourceType::Listener, listener(last, port, edition))),
        (host(), 80_u16..82, 0_u32..3)
            .prop_map(|(host, port, edition)| (ResourceType::Cluster, cluster_of(&format!("{host}|{port}"), edition))),
        (host(), 80_u16..82, 0_u32..3)
            .prop_map(|(host, port, edition)| (ResourceType::Endpoints, resource(&format!("{host}|{port}"), edition))),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => thing().prop_map(|(kind, resource)| Event::Set(kind, resource)),
        3 => thing().prop_map(|(kind, resource)| Event::Remove(kind, resource.name.to_string())),
        1 => Just(Event::PilotLost),
        2 => Just(Event::PilotBack),
        2 => Just(Event::ProxyConnects),
        1 => Just(Event::ProxyLeaves),
        8 => kind().prop_map(Event::ProxyAccepts),
        2 => (kind(), 0_usize..4).prop_map(|(kind, index)| Event::ProxyRejects(kind, index)),
        1 => Just(Event::TimePasses),
        1 => (0_u8..3).prop_map(Event::SecretsCome),
        1 => Just(Event::AgentRestarts),
    ]
}

/// Settings of a VM, which may make its own capture listener.
fn settings() -> impl Strategy<Value = RelaySettings> {
    any::<bool>().prop_map(|own| {
        let capture = own.then(|| Capture::at(crate::CAPTURE));
        RelaySettings { capture, ..RelaySettings::default() }
    })
}

/// A VM and its pilot.
struct Play {
    settings: RelaySettings,
    vm: Vm,
    world: World,
    connected: bool,
    asked: BTreeSet<String>,
    refused: HashMap<(ResourceType, Arc<str>), Arc<str>>,
    /// What each name needed, since it was last not answered.
    said: BTreeMap<Hostname, Vec<Target>>,
}

impl Play {
    fn new(settings: RelaySettings) -> Self {
        let mut play = Self {
            settings,
            vm: Vm::with(settings, Proxy::default(), Stored::default()),
            world: World::default(),
            connected: false,
            asked: BTreeSet::new(),
            refused: HashMap::new(),
            said: BTreeMap::new(),
        };
        play.pilot_back();
        play
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::Set(kind, resource) => {
                self.world[kind.index()].insert(resource.name.to_string(), resource.clone());
                self.push(kind, &[resource], &[]);
            }
            Event::Remove(kind, name) => {
                self.world[kind.index()].remove(&name);
                self.push(kind, &[], &[&name]);
            }
            Event::PilotLost => self.connected = false,
            Event::PilotBack => self.pilot_back(),
            Event::AgentRestarts => self.restart(),
            local => {
                let before = self.vm.relay.answered();
                self.act_on_vm(&local);
                self.check_names(&before);
            }
        }
    }

    fn act_on_vm(&mut self, event: &Event) {
        match *event {
            Event::ProxyConnects => {
                self.vm.proxy = Proxy::connected();
                self.vm.proxy.asks.insert(ResourceType::Secret);
                self.vm.reconsider();
            }
            Event::ProxyLeaves => {
                self.vm.proxy = Proxy::default();
                self.vm.reconsider();
            }
            Event::ProxyAccepts(kind) if self.vm.proxy.subscribes(kind) => self.vm.accept(kind),
            Event::ProxyRejects(kind, index) if self.vm.proxy.subscribes(kind) => self.reject(kind, index),
            Event::TimePasses => self.vm.wait(PATIENCE),
            Event::SecretsCome(edition) => self.vm.hold(edition.into()),
            _ => {}
        }
    }

    /// Restarts the agent. Names must come back as stored; the pilot and the proxy have to reconnect.
    fn restart(&mut self) {
        let stored = Stored::decode(&self.vm.relay.stored().encode()).unwrap();
        let before = self.vm.relay.answered();
        self.vm = Vm::with(self.settings, Proxy::default(), stored);
        let after = self.vm.relay.answered();
        assert!(after.iter().all(|(host, vip)| before.get(host.as_str()) == Some(vip)));
        self.check_names(&after);
        self.connected = false;
        self.asked.clear();
        self.refused.clear();
    }

    fn push(&mut self, kind: ResourceType, resources: &[Resource], removed: &[&str]) {
        if self.connected {
            self.send(kind, resources, removed, false);
        }
    }

    fn send(&mut self, kind: ResourceType, resources: &[Resource], removed: &[&str], complete: bool) {
        let before = self.vm.relay.answered();
        self.vm.receive_part(kind, resources, removed, complete);
        self.asked.insert(self.vm.nonce.to_string());
        self.check_names(&before);
        for kind in JUDGED {
            let known = match kind {
                ResourceType::Secret => self.vm.relay.local.get(kind, "default").is_some(),
                _ => self.vm.relay.known().any(|known| known == kind),
            };
            assert_eq!(self.vm.relay.served().of(kind).is_known(), known, "{kind:?} are served in part, or not at all");
        }
    }

    /// Reconnects the pilot, which answers the subscriptions like a delta server with small messages.
    fn pilot_back(&mut self) {
        self.connected = true;
        self.asked.clear();
        self.vm.upstream.clear();
        for request in self.vm.relay.opened(false) {
            let RequestToPilot::Subscribe { kind, held, mark } = request else { panic!("not a subscription") };
            let held: BTreeMap<_, _> = held.into_iter().collect();
            let world = self.world[kind.index()].clone();
            let changed: Vec<_> = world
                .values()
                .filter(|resource| held.get(&resource.name) != Some(&resource.version))
                .cloned()
                .collect();
            let removed: Vec<_> =
                held.keys().filter(|name| !world.contains_key(&***name)).map(|name| &**name).collect();
            for resource in changed {
                self.send(kind, &[resource], &[], false);
            }
            if mark || !removed.is_empty() {
                self.send(kind, &[], &removed, mark);
            }
        }
    }

    fn reject(&mut self, kind: ResourceType, index: usize) {
        let resource = self.vm.relay.served().of(kind).iter().nth(index).cloned();
        let never_accepted = |resource: &Arc<Resource>| {
            let Relay { unacked, local, .. } = &self.vm.relay;
            let unacked = if local.hides(kind, &resource.name) { &local.unacked } else { unacked };
            unacked.status_of(kind, &resource.name, &resource.version).is_some()
        };
        if let Some(resource) = resource.filter(never_accepted) {
            self.refused.insert((kind, Arc::clone(&resource.name)), Arc::clone(&resource.version));
            self.vm.reject(kind, &resource);
        }
    }

    fn check(&mut self) {
        self.check_answers();
        self.check_refused();
        if self.connected {
            for kind in ResourceType::ALL {
                let received: Vec<_> = self.vm.relay.received(kind).values().map(|r| Resource::clone(r)).collect();
                let expected: Vec<_> = self.world[kind.index()].values().cloned().collect();
                assert_eq!(received, expected, "{kind:?} differ from the pilot's");
            }
        }
        let stored = self.vm.relay.stored();
        assert_eq!(stored.answered(), self.vm.relay.answered());
        assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
    }

    fn check_names(&mut self, before: &NameTable) {
        let relay = &self.vm.relay;
        let now = relay.answered();
        for (host, vip) in now.iter() {
            let target = target(&relay.received(ResourceType::Names)[host.as_str()]);
            assert_eq!(target.vip, vip, "{host} is answered otherwise than named");
            let said = self.said.entry(host.clone()).or_default();
            if before.get(host.as_str()) != Some(vip) {
                said.clear();
                let capture = relay.served().of(ResourceType::Listener).get("virtual");
                let capture = capture.map(|capture| (ResourceType::Listener, capture));
                assert!(capture.is_some() || self.settings.capture.is_none(), "{host} is answered without capture");
                for (kind, resource) in needed(relay, host, &target).chain(capture) {
                    let ack_state = self.vm.proxy.ack_state(kind, &resource.name, &resource.version);
                    assert_eq!(ack_state, AckState::Acked, "{host} is answered before {}", resource.name);
                }
            }
            said.push(target);
            let served = |kind, name: &str| relay.served().of(kind).get(name).is_some();
            let backed = said.iter().any(|target| {
                let needed: Vec<_> =
                    needed(relay, host, target).map(|(kind, one)| (kind, served(kind, &one.name))).collect();
                [ResourceType::Listener, ResourceType::Cluster].iter().all(|kind| needed.contains(&(*kind, true)))
            });
            assert!(backed, "{host} is answered without a listener and a cluster");
        }
        self.said.retain(|host, _| now.get(host.as_str()).is_some());
        let mut followed = before.clone();
        for change in self.vm.changes.drain(..) {
            followed = if change.answered {
                followed.insert(change.host, change.vip);
                followed
            } else {
                assert_eq!(followed.get(change.host.as_str()), Some(change.vip));
                followed.iter().filter(|(host, _)| **host != change.host).map(|(h, v)| (h.clone(), v)).collect()
            };
        }
        assert_eq!(followed, now, "the changes told are not those made");
    }

    fn check_answers(&mut self) {
        for (nonce, _) in self.vm.answers() {
            assert!(self.asked.remove(&nonce) || !self.connected, "{nonce} is answered unasked or twice");
        }
        assert!(!self.vm.relay.answers.is_overdue(self.vm.now), "a response is not answered in time");
        if self.connected {
            assert_eq!(self.vm.relay.unanswered(), self.asked.len(), "a question is lost");
        }
    }

    fn check_refused(&mut self) {
        let relay = &self.vm.relay;
        self.refused.retain(|(kind, name), version| {
            let current = relay.received(*kind).get(name);
            current.is_some_and(|current| current.version == *version)
        });
        for ((kind, name), version) in &self.refused {
            let served = relay.served().of(*kind).get(name).is_some_and(|served| served.version == *version);
            let stands = matches!(relay.unacked.status_of(*kind, name, version), Some(Status::Nacked(_)));
            assert!(!(stands && served), "{name} is served though refused");
            assert!(stands || served || !relay.known().any(|known| known == *kind), "{name} is not tried again");
        }
    }
}

fn target(name: &Resource) -> Target {
    let Name { vip, needs, .. } = Name::decode(&name.body).unwrap();
    Target { vip, needs }
}

/// The received resources that a name needs: as it says, or as an older pilot names them.
fn needed<'r>(
    relay: &'r Relay,
    host: &'r Hostname,
    target: &'r Target,
) -> impl Iterator<Item = (ResourceType, &'r Arc<Resource>)> {
    let prefixes =
        [(ResourceType::Listener, format!("tcp_{}_", target.vip)), (ResourceType::Cluster, format!("out.{host}|"))];
    prefixes.into_iter().flat_map(move |(kind, prefix)| {
        let needs = move |resource: &&Arc<Resource>| match (&target.needs, kind) {
            (None, _) => resource.name.starts_with(&prefix),
            (Some(needs), ResourceType::Listener) => needs.listeners.contains(&resource.name),
            (Some(needs), _) => needs.clusters.contains(&resource.name),
        };
        relay.received(kind).values().filter(needs).map(move |resource| (kind, resource))
    })
}

/// Whether names were lost although neither the pilot removed them nor their resources were lost.
fn lost_without_reason(before: &NameTable, event: &Event, now: &NameTable) -> bool {
    let harmless = matches!(
        event,
        Event::PilotLost | Event::ProxyConnects | Event::ProxyLeaves | Event::ProxyAccepts(_) | Event::TimePasses
    );
    harmless && before.iter().any(|(host, vip)| now.get(host.as_str()) != Some(vip))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rules_hold_whatever_happens_in_whatever_order(
        settings in settings(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut play = Play::new(settings);
        for event in events {
            let before = play.vm.relay.answered();
            play.act(event.clone());
            prop_assert!(!lost_without_reason(&before, &event, &play.vm.relay.answered()), "{:?} lost a name", event);
            play.check();
        }
    }

    #[test]
    fn once_all_is_accepted_every_name_with_a_listener_and_a_cluster_is_answered(
        settings in settings(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut play = Play::new(settings);
        for event in events.into_iter().filter(|event| !matches!(event, Event::ProxyRejects(..))) {
            play.act(event);
        }
        play.act(Event::PilotBack);
        play.act(Event::ProxyConnects);
        play.vm.accept_all();
        let names = play.world[ResourceType::Names.index()].values();
        for resource in names {
            let (host, target) = (Hostname::parse(&resource.name).unwrap(), target(resource));
            let of = |kind| needed(&play.vm.relay, &host, &target).filter(move |(of, _)| *of == kind).count();
            let (listeners, clusters) = (of(ResourceType::Listener), of(ResourceType::Cluster));
            let all = target.needs.as_ref().is_none_or(|needs| {
                (needs.listeners.len(), needs.clusters.len()) == (listeners, clusters)
            });
            let answered = play.vm.relay.answered().get(host.as_str());
            if listeners > 0 && clusters > 0 && all {
                prop_assert_eq!(answered, Some(target.vip));
            } else if target.needs.is_none() {
                prop_assert_eq!(answered, None);
            }
        }
    }
}
