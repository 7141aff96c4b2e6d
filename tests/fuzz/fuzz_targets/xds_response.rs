//! A pilot sends arbitrary messages to a VM's relay, with a proxy that answers arbitrarily, outages and restarts. The
//! relay's rules hold: every response is answered once, a name is answered only with a listener and a cluster for it,
//! and the stored state can be read back.
#![no_main]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_fuzz::Input;
use boshy_mesh::{Hostname, NameTable};
use boshy_xds::{
    AckState, ResourceSet, ResourceType, Secrets,
    agent::relay::{LocalEnvoy, Relay, RelaySettings, Step, Stored},
    names::{Name, Needs},
    session::client::{RequestToPilot, ResponseFromPilot, UndecodableResponse},
};
use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource},
    google::protobuf::Any,
};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use sha2::{Digest, Sha256};

const HOSTS: [&str; 2] = ["a.boshy", "b.boshy"];
const LISTENERS: [&str; 3] = ["tcp_169.254.255.1_80", "tcp_169.254.255.2_80", "virtual"];
/// The names of a VM's own secrets, and another.
const SECRETS: [&str; 3] = ["default", "ROOTCA", "another"];
const CLUSTERS: [&str; 3] = ["out.a.boshy|http", "out.b.boshy|http", "nowhere"];
const PATIENCE: Duration = Duration::from_secs(5);
/// The name that a server reports as missing after all resources.
const MARK: &str = "\u{10ffff}";

fuzz_target!(|octets: &[u8]| {
    let mut vm = Vm::new();
    let mut input = Input::new(octets);
    while !input.is_empty() {
        vm.step(&mut input);
    }
    vm.wait();
    assert_eq!(vm.relay.unanswered(), 0, "a response is never answered");
});

/// The proxy's answers, chosen at random from what it was served.
struct Words {
    served: Arc<ResourceSet>,
    subscribes: u8,
    salt: u8,
}

impl LocalEnvoy for Words {
    fn subscribes(&self, kind: ResourceType) -> bool {
        self.subscribes >> kind as u8 & 1 == 1
    }

    fn streams(&self) -> u64 {
        self.subscribes.into()
    }

    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState {
        let served = self.served.of(kind).get(name).is_some_and(|resource| *resource.version == *version);
        if !served || !self.subscribes(kind) {
            return AckState::Pending;
        }
        let sum = name.bytes().chain(version.bytes()).fold(self.salt, |sum, octet| sum.wrapping_mul(31) ^ octet);
        match sum % 4 {
            0 => AckState::Pending,
            1 => AckState::Nacked("no".to_owned()),
            _ => AckState::Acked,
        }
    }
}

struct Vm {
    relay: Relay,
    now: Instant,
    subscribes: u8,
    salt: u8,
    nonce: u64,
    /// Unanswered nonces, and how often each was used.
    asked: BTreeMap<String, usize>,
    /// What each name needed, by its resource, since it was last not answered.
    said: BTreeMap<Hostname, Vec<Name>>,
    /// The editions of its secrets that the VM has given this relay.
    held: Vec<u8>,
}

impl Vm {
    fn new() -> Self {
        let relay = Relay::new(RelaySettings { patience: PATIENCE, ..RelaySettings::default() }, Stored::default());
        Self {
            relay,
            now: Instant::now(),
            subscribes: 0,
            salt: 0,
            nonce: 0,
            asked: BTreeMap::new(),
            said: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.octet() % 9 {
            8 => self.hold(input.octet()),
            0 => self.receive(input.piece()),
            1..=3 => {
                let message = self.message(input);
                self.receive(&message.encode_to_vec());
            }
            4 => {
                (self.subscribes, self.salt) = (input.octet(), input.octet());
                self.reconsider();
            }
            5 => self.wait(),
            6 => {
                self.relay.opened(true);
                self.asked.clear();
            }
            _ => {
                let stored = if input.octet() & 1 == 0 { Some(self.relay.stored()) } else { foreign(input.piece()) };
                if let Some(stored) = stored {
                    self.restart(stored);
                }
            }
        }
    }

    /// The VM has other secrets, which no pilot can change.
    fn hold(&mut self, edition: u8) {
        let secrets = Secrets {
            certificates: format!("certificate {edition}"),
            private_key: format!("key {edition}.").into(),
            roots: "roots".to_owned(),
        };
        self.act(|relay, now, words| relay.hold(&secrets, now, words));
        assert!(self.relay.served().of(ResourceType::Secret).is_known());
        self.held.push(edition);
        self.check_secrets();
    }

    /// Envoy is served the VM's own secrets alone, and none is kept among what pilots send.
    fn check_secrets(&self) {
        let served = self.relay.served().of(ResourceType::Secret);
        assert_eq!(served.is_known(), !self.held.is_empty(), "secrets that the VM does not have");
        // In the place of one that Envoy rejects, the edition that it accepted last is served, or none.
        for resource in served.iter() {
            let has = |own: &str| resource.body.windows(own.len()).any(|part| part == own.as_bytes());
            let own = match &*resource.name {
                "default" => self.held.iter().any(|edition| has(&format!("key {edition}."))),
                "ROOTCA" => has("roots"),
                other => panic!("{other} is no secret of the VM"),
            };
            assert!(own, "{} is another one", resource.name);
        }
        assert!(!self.relay.known().any(|kind| kind == ResourceType::Secret));
        assert!(self.relay.stored().resources(ResourceType::Secret).is_empty());
    }

    fn receive(&mut self, octets: &[u8]) {
        match ResponseFromPilot::decode(octets) {
            Ok(response) => {
                *self.asked.entry(response.nonce.clone()).or_default() += 1;
                self.act(|relay, now, words| relay.receive(response, now, words));
                self.check_secrets();
            }
            Err(UndecodableResponse::Content(malformed)) => {
                let step = Step::refusing(malformed.clone());
                assert!(matches!(&*step.upstream, [RequestToPilot::Nack { nonce, .. }] if *nonce == malformed.nonce));
            }
            Err(UndecodableResponse::Protobuf(_)) => {}
        }
    }

    fn reconsider(&mut self) {
        self.act(|relay, now, words| relay.reconsider(now, words));
    }

    fn wait(&mut self) {
        self.now += PATIENCE;
        // Rejected resources are tried again one at a time, so several may be due.
        for _ in 0..16 {
            self.reconsider();
        }
        assert!(self.relay.deadline().is_none_or(|deadline| deadline > self.now), "something stays overdue");
    }

    fn act(&mut self, act: impl FnOnce(&mut Relay, Instant, &Words) -> Step) {
        let words = Words { served: Arc::clone(self.relay.served()), subscribes: self.subscribes, salt: self.salt };
        let before = self.relay.answered();
        let step = act(&mut self.relay, self.now, &words);
        self.check_answers(&step);
        self.check_names();
        assert_eq!(followed(before, &step), self.relay.answered(), "the changes told are not those made");
    }

    fn check_answers(&mut self, step: &Step) {
        for request in &step.upstream {
            let nonce = match request {
                RequestToPilot::Ack { nonce, .. }
                | RequestToPilot::Nack { nonce, .. }
                | RequestToPilot::Tell { nonce, .. } => nonce,
                // A rejection that came too late for an answer: the resource is requested again.
                RequestToPilot::Resend { .. } => continue,
                RequestToPilot::Subscribe { .. } | RequestToPilot::Claim { .. } => {
                    panic!("only a stream that opens subscribes")
                }
            };
            let open = self.asked.get_mut(nonce).expect("an answer to a response");
            *open = open.checked_sub(1).expect("one answer to one response");
        }
        let open: usize = self.asked.values().sum();
        assert_eq!(open, self.relay.unanswered(), "a response is lost");
    }

    fn check_names(&mut self) {
        let answered = self.relay.answered();
        self.said.retain(|host, _| answered.get(host.as_str()).is_some());
        for (host, vip) in answered.iter() {
            let named = &self.relay.received(ResourceType::Names)[host.as_str()];
            let name = Name::decode(&named.body).expect("a name that was received");
            assert_eq!(name.vip, vip);
            let said = self.said.entry(host.clone()).or_default();
            said.retain(|before| before.vip == vip);
            if !said.contains(&name) {
                said.push(name);
            }
            assert!(said.iter().any(|name| is_backed(name, self.relay.served())), "{host} leads nowhere");
        }
    }

    fn restart(&mut self, stored: Stored) {
        assert_eq!(Stored::decode(&stored.encode()).expect("what was stored can be read"), stored);
        let before = stored.answered();
        self.relay = Relay::new(RelaySettings { patience: PATIENCE, ..RelaySettings::default() }, stored);
        let after = self.relay.answered();
        assert!(after.iter().all(|(host, vip)| before.get(host.as_str()) == Some(vip)));
        self.asked.clear();
        self.subscribes = 0;
        self.said.clear();
        self.held.clear();
        self.check_names();
        self.check_secrets();
    }

    /// A plausible response: valid types, mostly valid bodies, and names that recur.
    fn message(&mut self, input: &mut Input<'_>) -> DeltaDiscoveryResponse {
        let kind = input.pick(&ResourceType::ALL);
        let shape = input.octet();
        self.nonce += 1;
        let mut taken = BTreeSet::new();
        let mut name = |input: &mut Input<'_>| {
            let name = match kind {
                ResourceType::Names => input.pick(&HOSTS),
                ResourceType::Listener => input.pick(&LISTENERS),
                ResourceType::Secret => input.pick(&SECRETS),
                _ => input.pick(&CLUSTERS),
            };
            Some(name).filter(|name| taken.insert(*name))
        };
        let resources = (0..shape & 3).filter_map(|_| Some(resource(kind, name(input)?, input))).collect();
        let mut removed: Vec<_> = (0..shape >> 2 & 3).filter_map(|_| name(input).map(str::to_owned)).collect();
        removed.extend((shape & 0x10 != 0).then(|| MARK.to_owned()));
        DeltaDiscoveryResponse {
            type_url: kind.url().to_owned(),
            nonce: self.nonce.to_string(),
            resources,
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        }
    }
}

fn resource(kind: ResourceType, name: &str, input: &mut Input<'_>) -> Resource {
    let edition = input.octet();
    let body = match (edition, kind) {
        (255, _) => input.piece().to_vec(),
        (_, ResourceType::Names) => {
            let host = Hostname::parse(name).expect("a name");
            let needs = (edition & 2 != 0).then(|| needs(name, edition).into());
            Name { host, vip: [169, 254, 255, 1 + edition % 2].into(), needs }.encode().to_vec()
        }
        _ => [&[10, name.len() as u8], name.as_bytes()].concat(),
    };
    Resource {
        name: name.to_owned(),
        version: (edition % 4).to_string(),
        resource: Some(Any { type_url: kind.url().to_owned(), value: body }),
        ..Resource::default()
    }
}

fn needs(name: &str, edition: u8) -> Needs {
    let listeners = LISTENERS.iter().enumerate().filter(|(place, _)| edition >> (2 + place) & 1 == 1);
    let clusters = vec![format!("out.{name}|http").into()];
    Needs { listeners: listeners.map(|(_, name)| (*name).into()).collect(), clusters }
}

/// Whether a listener and a cluster of a name are served.
fn is_backed(name: &Name, served: &ResourceSet) -> bool {
    let Name { host, vip, needs } = name;
    let some = |kind, needed: &dyn Fn(&str) -> bool| served.of(kind).iter().any(|one| needed(&one.name));
    let (listener, cluster) = (format!("tcp_{vip}_"), format!("out.{host}|"));
    match needs {
        None => {
            some(ResourceType::Listener, &|name| name.starts_with(&listener))
                && some(ResourceType::Cluster, &|name| name.starts_with(&cluster))
        }
        Some(needs) => {
            some(ResourceType::Listener, &|name| needs.listeners.iter().any(|needed| **needed == *name))
                && some(ResourceType::Cluster, &|name| needs.clusters.iter().any(|needed| **needed == *name))
        }
    }
}

fn followed(mut table: NameTable, step: &Step) -> NameTable {
    for change in &step.names {
        if change.answered {
            table.insert(change.host.clone(), change.vip);
        } else {
            assert_eq!(table.get(change.host.as_str()), Some(change.vip), "{} was not answered", change.host);
            table = table.iter().filter(|(host, _)| **host != change.host).map(|(h, v)| (h.clone(), v)).collect();
        }
    }
    table
}

/// A stored state from another writer: as it is, and with a valid header.
fn foreign(octets: &[u8]) -> Option<Stored> {
    let length = (octets.len() as u64).to_be_bytes();
    let file = [&b"BOSHYVM\n"[..], &1_u32.to_be_bytes(), &length, &Sha256::digest(octets), octets].concat();
    let bare = Stored::decode(&octets.to_vec().into());
    assert!(bare.is_err() || octets.starts_with(b"BOSHYVM\n"));
    Stored::decode(&file.into()).ok()
}
