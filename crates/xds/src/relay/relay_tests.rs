use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use super::*;
use crate::{
    Resource, Verdict,
    client::samples::{listener as resource, name, response, vip},
};

#[path = "any_order_tests.rs"]
mod any_order;

const PATIENCE: Duration = Duration::from_secs(5);

/// A proxy that says what the test has it say.
#[derive(Clone, Debug, Default)]
struct Proxy {
    asks: BTreeSet<ResourceType>,
    accepted: HashMap<(ResourceType, Arc<str>), Arc<str>>,
    rejected: HashMap<(ResourceType, Arc<str>), Arc<str>>,
}

impl Judge for Proxy {
    fn judges(&self, kind: ResourceType) -> bool {
        self.asks.contains(&kind)
    }

    fn verdict(&self, kind: ResourceType, name: &str, version: &str) -> Verdict {
        let key = (kind, Arc::from(name));
        if self.rejected.get(&key).is_some_and(|rejected| **rejected == *version) {
            Verdict::Rejected("no such filter".to_owned())
        } else if self.accepted.get(&key).is_some_and(|accepted| **accepted == *version) {
            Verdict::Accepted
        } else {
            Verdict::Pending
        }
    }
}

impl Proxy {
    fn connected() -> Self {
        let asks = [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener].into();
        Self { asks, ..Self::default() }
    }

    fn accept(&mut self, kind: ResourceType, served: &ResourceSet) {
        self.accepted.retain(|(of, name), _| *of != kind || served.of(kind).get(name).is_some());
        for resource in served.of(kind).iter() {
            self.accepted.insert((kind, Arc::clone(&resource.name)), Arc::clone(&resource.version));
            self.rejected.remove(&(kind, Arc::clone(&resource.name)));
        }
    }

    fn reject(&mut self, kind: ResourceType, resource: &Resource) {
        self.rejected.insert((kind, Arc::clone(&resource.name)), Arc::clone(&resource.version));
    }
}

/// A relay with its surroundings: one pilot, one proxy, a clock, and what was said.
struct Vm {
    relay: Relay,
    proxy: Proxy,
    now: Instant,
    nonce: usize,
    upstream: Vec<Request>,
    changes: Vec<NameChange>,
    news: Vec<News>,
}

impl Vm {
    fn new(proxy: Proxy) -> Self {
        Self::with(RelaySettings::default(), proxy, Stored::default())
    }

    fn with(settings: RelaySettings, proxy: Proxy, stored: Stored) -> Self {
        let relay = Relay::new(settings, stored);
        let (upstream, changes, news) = Default::default();
        Self { relay, proxy, now: Instant::now(), nonce: 0, upstream, changes, news }
    }

    fn receive(&mut self, kind: ResourceType, resources: &[Resource], removed: &[&str]) {
        self.receive_part(kind, resources, removed, true);
    }

    fn receive_part(&mut self, kind: ResourceType, resources: &[Resource], removed: &[&str], complete: bool) {
        self.nonce += 1;
        let response = Response { complete, ..response(kind, &self.nonce.to_string(), resources, removed) };
        let step = self.relay.receive(response, self.now, &self.proxy);
        self.note(step);
    }

    fn reconsider(&mut self) {
        let step = self.relay.reconsider(self.now, &self.proxy);
        self.note(step);
    }

    fn note(&mut self, step: Step) {
        self.upstream.extend(step.upstream);
        self.changes.extend(step.names);
        self.news.extend(step.news);
    }

    fn accept(&mut self, kind: ResourceType) {
        let served = Arc::clone(self.relay.served());
        self.proxy.accept(kind, &served);
        self.reconsider();
    }

    fn reject(&mut self, kind: ResourceType, resource: &Resource) {
        self.proxy.reject(kind, resource);
        self.reconsider();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.reconsider();
    }

    /// Answers sent to the pilot: nonces, and the reason of a refusal.
    fn answers(&mut self) -> Vec<(String, Option<String>)> {
        let answer = |request| match request {
            Request::Accept { nonce, .. } => Some((nonce, None)),
            Request::Refuse { nonce, reason, .. } => Some((nonce, Some(reason))),
            Request::Again { .. } => None,
            Request::Subscribe { .. } => panic!("a subscription amid a stream"),
        };
        self.upstream.drain(..).filter_map(answer).collect()
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.relay.answered().get(host)
    }

    fn served(&self, kind: ResourceType, name: &str) -> Option<Resource> {
        self.relay.served().of(kind).get(name).map(|resource| Resource::clone(resource))
    }

    /// A mesh of one service, `a.boshy` at 169.254.255.1:80, in the order a pilot sends it.
    fn receive_service(&mut self) {
        self.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
        self.receive(ResourceType::Cluster, &[cluster(1)], &[]);
        self.receive(ResourceType::Endpoints, &[endpoints(1)], &[]);
        self.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    }

    fn accept_all(&mut self) {
        for kind in JUDGED {
            self.accept(kind);
        }
    }

    /// A VM on which `a.boshy` is answered.
    fn working() -> Self {
        let mut vm = Self::new(Proxy::connected());
        vm.receive_service();
        vm.accept_all();
        assert_eq!(vm.address("a.boshy"), Some(vip(1)));
        vm.changes.clear();
        vm.upstream.clear();
        vm
    }
}

fn cluster(edition: u32) -> Resource {
    resource("out.a.boshy|http", edition)
}

fn endpoints(edition: u32) -> Resource {
    resource("a.boshy|http", edition)
}

fn listener(last: u8, port: u16, edition: u32) -> Resource {
    resource(&format!("tcp_{}_{port}", vip(last)), edition)
}

fn accepted(nonce: &str) -> (String, Option<String>) {
    (nonce.to_owned(), None)
}

#[test]
fn a_name_is_answered_once_its_listener_and_cluster_are_accepted() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_service();
    assert_eq!(vm.address("a.boshy"), None);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), None);
    vm.accept(ResourceType::Cluster);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    assert_eq!(vm.relay.counts(), NameCounts { answered: 1, waiting: 0 });
}

#[test]
fn a_name_of_several_ports_waits_for_all_of_them() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_service();
    vm.accept(ResourceType::Listener);
    vm.receive(ResourceType::Listener, &[listener(1, 81, 1)], &[]);
    vm.accept(ResourceType::Cluster);
    assert_eq!(vm.address("a.boshy"), None);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}

#[test]
fn a_listener_of_a_longer_address_is_another_ones() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
    vm.receive(ResourceType::Cluster, &[cluster(1)], &[]);
    vm.receive(ResourceType::Listener, &[listener(10, 80, 1)], &[]);
    vm.accept_all();
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn without_a_required_proxy_a_name_is_answered_when_it_comes() {
    let settings = RelaySettings { require_proxy: false, ..RelaySettings::default() };
    let mut vm = Vm::with(settings, Proxy::default(), Stored::default());
    vm.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    vm.receive(ResourceType::Names, &[], &["a.boshy"]);
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn what_is_stored_before_all_names_came_can_be_read() {
    let settings = RelaySettings { require_proxy: false, ..RelaySettings::default() };
    let mut vm = Vm::with(settings, Proxy::default(), Stored::default());
    vm.receive_part(ResourceType::Names, &[name("a.boshy", 1)], &[], false);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    let stored = vm.relay.stored();
    assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
    assert!(stored.answered().is_empty(), "half of the names");
    vm.receive_part(ResourceType::Names, &[], &[], true);
    assert_eq!(vm.relay.stored().answered(), vm.relay.answered());
}

#[test]
fn an_envoy_that_goes_away_takes_no_name_along_and_lets_no_new_one_in() {
    let mut vm = Vm::working();
    vm.proxy = Proxy::default();
    vm.reconsider();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2)], &[]);
    vm.receive(ResourceType::Names, &[name("b.boshy", 2)], &[]);
    vm.receive(ResourceType::Cluster, &[resource("out.b.boshy|http", 1)], &[]);
    vm.receive(ResourceType::Listener, &[listener(2, 80, 1)], &[]);
    assert_eq!((vm.address("a.boshy"), vm.address("b.boshy")), (Some(vip(1)), None));
    vm.proxy = Proxy::connected();
    vm.accept_all();
    assert_eq!(vm.address("b.boshy"), Some(vip(2)));
}

#[test]
fn a_removed_name_goes_before_its_listener() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Names, &[], &["a.boshy"]);
    assert_eq!(vm.address("a.boshy"), None);
    assert!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80").is_some());
    vm.receive(ResourceType::Listener, &[], &["tcp_169.254.255.1_80"]);
    assert!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80").is_none());
    assert_eq!(vm.answers(), [accepted("5"), accepted("6")]);
}

#[test]
fn a_name_whose_last_listener_is_removed_waits_for_another() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[], &["tcp_169.254.255.1_80"]);
    assert_eq!(vm.address("a.boshy"), None);
    assert_eq!(vm.relay.counts(), NameCounts { answered: 0, waiting: 1 });
    vm.receive(ResourceType::Listener, &[listener(1, 81, 1)], &[]);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}

#[test]
fn a_name_whose_address_changes_is_out_until_the_new_listener_is_accepted() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Names, &[name("a.boshy", 2)], &[]);
    assert_eq!(vm.address("a.boshy"), None);
    vm.receive(ResourceType::Listener, &[listener(2, 80, 1)], &["tcp_169.254.255.1_80"]);
    assert_eq!(vm.address("a.boshy"), None);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), Some(vip(2)));
    let changes: Vec<_> = vm.changes.iter().map(|change| (change.vip, change.answered)).collect();
    assert_eq!(changes, [(vip(1), false), (vip(2), true)]);
}

#[test]
fn the_pilot_is_answered_when_the_proxy_has_accepted_every_resource() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Cluster, &[cluster(1), resource("out.b.boshy|http", 1)], &[]);
    assert_eq!(vm.answers(), []);
    let first = cluster(1);
    vm.proxy.accepted.insert((ResourceType::Cluster, first.name), first.version);
    vm.reconsider();
    assert_eq!(vm.answers(), []);
    vm.accept(ResourceType::Cluster);
    assert_eq!(vm.answers(), [accepted("1")]);
}

#[test]
fn a_type_is_not_served_in_part_nor_stored_and_the_pilot_does_not_wait_for_envoy_meanwhile() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_part(ResourceType::Cluster, &[cluster(1)], &[], false);
    assert_eq!(vm.answers(), [accepted("1")]);
    assert!(!vm.relay.served().of(ResourceType::Cluster).is_known());
    assert!(vm.relay.stored().resources(ResourceType::Cluster).is_empty());
    vm.receive(ResourceType::Cluster, &[resource("out.b.boshy|http", 1)], &[]);
    assert_eq!(vm.relay.served().of(ResourceType::Cluster).len(), 2);
    vm.reject(ResourceType::Cluster, &cluster(1));
    assert_eq!(vm.relay.served().of(ResourceType::Cluster).len(), 1);
}

#[test]
fn nothing_is_known_before_the_pilot_speaks_and_empty_is_known_after() {
    let mut vm = Vm::new(Proxy::connected());
    assert_eq!(vm.relay.known().count(), 0);
    vm.receive(ResourceType::Listener, &[], &[]);
    assert!(vm.relay.served().of(ResourceType::Listener).is_known());
    assert!(!vm.relay.served().of(ResourceType::Cluster).is_known());
    let restarted = Relay::new(RelaySettings::default(), Stored::decode(&vm.relay.stored().encode()).unwrap());
    assert_eq!(restarted.known().collect::<Vec<_>>(), [ResourceType::Listener]);
}

#[test]
fn names_and_what_nobody_judges_are_acknowledged_when_stored() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
    vm.receive(ResourceType::Route, &[resource("r", 1)], &[]);
    assert_eq!(vm.answers(), [accepted("1"), accepted("2")]);
    vm.proxy = Proxy::default();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    assert_eq!(vm.answers(), [accepted("3")]);
}

#[test]
fn a_proxy_that_goes_away_amid_a_question_leaves_an_acknowledgement() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    vm.proxy = Proxy::default();
    vm.reconsider();
    assert_eq!(vm.answers(), [accepted("1")]);
}

#[test]
fn a_proxy_that_does_not_answer_is_waited_for_so_long_and_no_longer() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    assert_eq!(vm.relay.deadline(), Some(vm.now + PATIENCE));
    vm.wait(PATIENCE - Duration::from_millis(1));
    assert_eq!(vm.answers(), []);
    vm.wait(Duration::from_millis(1));
    assert_eq!(vm.answers(), [accepted("1")]);
    assert_eq!(vm.news, [News::Unanswered { kind: ResourceType::Listener, resources: 1 }]);
    assert_eq!(vm.relay.deadline(), None);
}

#[test]
fn a_refusal_reaches_the_pilot_in_envoys_words() {
    let mut vm = Vm::working();
    let refused = listener(1, 80, 2);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    vm.reject(ResourceType::Listener, &refused);
    let reason = "tcp_169.254.255.1_80: no such filter".to_owned();
    assert_eq!(vm.answers(), [("5".to_owned(), Some(reason))]);
    assert!(matches!(&vm.news[..], [News::Refused(refusal)] if refusal.version == refused.version));
}

#[test]
fn a_refused_version_gives_way_to_the_accepted_one_until_another_comes() {
    let mut vm = Vm::working();
    let (good, refused, mended) = (listener(1, 80, 1), listener(1, 80, 2), listener(1, 80, 3));
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    assert_eq!(vm.served(ResourceType::Listener, &good.name), Some(refused.clone()));
    vm.reject(ResourceType::Listener, &refused);
    assert_eq!(vm.served(ResourceType::Listener, &good.name), Some(good.clone()));
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.served(ResourceType::Listener, &good.name), Some(good.clone()));
    vm.receive(ResourceType::Listener, std::slice::from_ref(&mended), &[]);
    assert_eq!(vm.served(ResourceType::Listener, &good.name), Some(mended));
}

#[test]
fn a_refused_newcomer_is_not_served_and_its_name_waits() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_service();
    vm.accept(ResourceType::Cluster);
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn a_version_gone_back_to_and_refused_by_another_proxy_is_not_fallen_back_on() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2)], &[]);
    vm.proxy = Proxy::connected();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn a_refusal_after_the_acknowledgement_is_heeded_and_told_when_the_pilot_sends_again() {
    let mut vm = Vm::new(Proxy::default());
    vm.receive_service();
    assert_eq!(vm.answers().len(), 4);
    vm.proxy = Proxy::connected();
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    let again = Request::Again { kind: ResourceType::Listener, names: vec!["tcp_169.254.255.1_80".into()] };
    assert_eq!(vm.upstream, [again]);
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    let reason = "tcp_169.254.255.1_80: no such filter".to_owned();
    assert_eq!(vm.answers(), [("5".to_owned(), Some(reason))]);
    vm.reconsider();
    assert_eq!(vm.upstream, []);
}

#[test]
fn a_malformed_response_is_refused_and_changes_nothing() {
    let mut vm = Vm::working();
    let served = Arc::clone(vm.relay.served());
    vm.receive(ResourceType::Listener, &[Resource::new("bad", vec![0xff])], &["tcp_169.254.255.1_80"]);
    assert!(matches!(&vm.answers()[..], [(nonce, Some(reason))] if nonce == "5" && reason.contains("\"bad\"")));
    assert_eq!((vm.relay.served(), vm.address("a.boshy")), (&served, Some(vip(1))));
}

#[test]
fn a_reconnect_asks_again_for_what_was_refused_and_is_refused_again_without_the_proxy() {
    let mut vm = Vm::working();
    let refused = listener(1, 80, 2);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    vm.reject(ResourceType::Listener, &refused);
    vm.answers();
    let held = |requests: Vec<Request>| -> Vec<Arc<str>> {
        let versions = requests.into_iter().map(|request| match request {
            Request::Subscribe { held, .. } => held.into_iter().map(|(_, version)| version),
            other => panic!("{other:?}"),
        });
        versions.flatten().collect()
    };
    let versions = held(vm.relay.opened());
    assert_eq!(versions, [name("a.boshy", 1).version, cluster(1).version, endpoints(1).version, "".into()]);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    assert!(matches!(&vm.answers()[..], [(nonce, Some(_))] if nonce == "6"));
}

#[test]
fn questions_of_a_stream_that_ended_are_not_answered_on_the_next() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2)], &[]);
    vm.relay.opened();
    vm.accept(ResourceType::Listener);
    assert_eq!((vm.answers(), vm.relay.unanswered()), (vec![], 0));
}

#[test]
fn what_was_accepted_is_stored_and_answered_at_once_after_a_restart() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Names, &[name("b.boshy", 2)], &[]);
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2), listener(2, 80, 1)], &[]);
    vm.reject(ResourceType::Listener, &listener(1, 80, 2));
    let stored = Stored::decode(&vm.relay.stored().encode()).unwrap();
    let mut restarted = Vm::with(RelaySettings::default(), Proxy::default(), stored);
    assert_eq!((restarted.address("a.boshy"), restarted.address("b.boshy")), (Some(vip(1)), None));
    let served: Vec<_> = restarted.relay.served().of(ResourceType::Listener).iter().cloned().collect();
    assert_eq!(served, [Arc::new(listener(1, 80, 1))]);
    restarted.proxy = Proxy::connected();
    restarted.receive(ResourceType::Cluster, &[resource("out.b.boshy|http", 1)], &[]);
    restarted.receive(ResourceType::Listener, &[listener(2, 80, 1)], &[]);
    restarted.accept_all();
    assert_eq!(restarted.address("b.boshy"), Some(vip(2)));
}

#[test]
fn an_unchanged_type_is_shared_between_what_is_received_served_and_stored() {
    let vm = Vm::working();
    let received = vm.relay.received(ResourceType::Listener);
    assert!(Arc::ptr_eq(received, vm.relay.offered.held(ResourceType::Listener)));
    assert!(Arc::ptr_eq(received, vm.relay.stored().resources(ResourceType::Listener)));
}
