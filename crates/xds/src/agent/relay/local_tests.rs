//! What this VM makes: the capture listener, beside that of a pilot, and secrets.

use std::time::Duration;

use super::{test_support::*, *};
use crate::{Capture, envoy::capture_listener};

const LISTENERS: ResourceType = ResourceType::Listener;

fn at(port: u16) -> Capture {
    Capture::at(([127, 0, 0, 1], port).into())
}

fn settings() -> RelaySettings {
    RelaySettings { capture: Some(at(15002)), ..RelaySettings::default() }
}

fn own() -> Resource {
    capture_listener(at(15002))
}

fn of_pilot() -> Resource {
    capture_listener(at(15001))
}

/// A mesh of one service, whose pilot serves these listeners beside that of the service.
fn vm(others: &[Resource]) -> Vm {
    let mut vm = Vm::with(settings(), Proxy::connected(), Stored::default());
    vm.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
    vm.receive(ResourceType::Cluster, &[cluster(1)], &[]);
    vm.receive(ResourceType::Endpoints, &[endpoints(1)], &[]);
    vm.receive(LISTENERS, &[&[listener(1, 80, 1)], others].concat(), &[]);
    vm
}

#[test]
fn this_vms_capture_listener_is_served_whatever_a_pilot_serves() {
    for others in [vec![], vec![of_pilot()], vec![own()]] {
        let mut vm = vm(&others);
        assert_eq!(vm.served(LISTENERS, "virtual"), Some(own()));
        vm.receive(LISTENERS, &[], &["virtual"]);
        vm.accept_all();
        assert_eq!((vm.served(LISTENERS, "virtual"), vm.address("a.boshy")), (Some(own()), Some(vip(1))));
    }
}

#[test]
fn before_a_pilot_speaks_nothing_is_served_of_which_an_envoy_has_more() {
    let vm = Vm::with(settings(), Proxy::connected(), Stored::default());
    assert!(!vm.relay.served().of(LISTENERS).is_known());
}

#[test]
fn the_pilots_is_acknowledged_at_once_and_stored_as_it_is() {
    let mut vm = vm(&[]);
    vm.accept_all();
    vm.upstream.clear();
    vm.receive(LISTENERS, &[of_pilot()], &[]);
    assert_eq!(vm.answers(), [accepted("5")]);
    assert_eq!(*vm.relay.stored().resources(LISTENERS)["virtual"], of_pilot());
    assert_eq!(vm.relay.received(LISTENERS).len(), vm.relay.served().of(LISTENERS).len());
}

#[test]
fn while_envoy_rejects_it_no_name_is_answered_no_other_takes_its_place_and_a_pilot_that_serves_one_is_told() {
    for others in [vec![], vec![of_pilot()], vec![own()]] {
        let told = !others.is_empty();
        let mut vm = vm(&others);
        vm.accept(ResourceType::Cluster);
        vm.accept(ResourceType::Endpoints);
        vm.proxy.accepted.insert((LISTENERS, listener(1, 80, 1).name), listener(1, 80, 1).version);
        vm.reject(LISTENERS, &own());
        assert_eq!((vm.served(LISTENERS, "virtual"), vm.address("a.boshy")), (None, None));
        assert_eq!(vm.relay.nacks().map(|nack| nack.name).collect::<Vec<_>>(), ["virtual".into()]);
        let last = told.then(|| "virtual: no such filter".to_owned());
        assert_eq!(vm.answers(), [accepted("1"), accepted("2"), accepted("3"), ("4".to_owned(), last)]);

        vm.proxy.rejected.clear();
        vm.wait(Duration::from_secs(1));
        assert_eq!(vm.served(LISTENERS, "virtual"), Some(own()), "it is tried again");
        vm.accept(LISTENERS);
        assert_eq!(vm.address("a.boshy"), Some(vip(1)));
        assert!(matches!(vm.events.last(), Some(RelayEvent::Recovered { name, .. }) if &**name == "virtual"));
        assert_eq!(vm.answers(), []);
        let stored = vm.relay.stored();
        assert_eq!(stored.resources(LISTENERS).contains_key("virtual"), told, "what is hidden is stored");
    }
}

#[test]
fn a_pilot_that_was_told_gets_the_right_answer_later() {
    let again = || RequestToPilot::Resend { kind: LISTENERS, names: vec!["virtual".into()] };
    let mut vm = vm(&[of_pilot()]);
    vm.accept_all();
    vm.upstream.clear();
    vm.proxy = Proxy::connected();
    vm.reject(LISTENERS, &own());
    assert_eq!(vm.upstream.drain(..).collect::<Vec<_>>(), [again()], "it was acknowledged before");
    vm.receive(LISTENERS, &[of_pilot()], &[]);
    assert_eq!(vm.answers(), [("5".to_owned(), Some("virtual: no such filter".to_owned()))]);
    vm.proxy.rejected.clear();
    vm.wait(Duration::from_secs(1));
    vm.accept(LISTENERS);
    assert_eq!(vm.upstream.drain(..).collect::<Vec<_>>(), [again()]);
    vm.receive(LISTENERS, &[of_pilot()], &[]);
    assert_eq!(vm.answers(), [accepted("6")]);
}

#[test]
fn an_envoy_that_comes_and_cannot_bind_it_takes_the_names_along() {
    let mut vm = vm(&[of_pilot()]);
    vm.accept_all();
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    vm.proxy = Proxy::connected();
    vm.reconsider();
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    vm.reject(LISTENERS, &own());
    assert_eq!(vm.address("a.boshy"), None);
}

/// Earlier agents put their settings into the pilot's capture listener, stored that, and marked its version with `@`.
#[test]
fn a_state_of_an_earlier_agent_loses_nothing() {
    let mut before = Vm::working();
    let marked = Resource { version: format!("{}@127.0.0.1:15002,60s", of_pilot().version).into(), ..own() };
    before.receive(LISTENERS, std::slice::from_ref(&marked), &[]);
    before.accept_all();
    let stored = Stored::decode(&before.relay.stored().encode()).unwrap();
    let mut vm = Vm::with(settings(), Proxy::default(), stored);
    assert_eq!((vm.address("a.boshy"), vm.served(LISTENERS, "virtual")), (Some(vip(1)), Some(own())));
    vm.proxy = Proxy::connected();
    vm.receive(LISTENERS, &[of_pilot()], &[]);
    vm.accept_all();
    assert_eq!((vm.address("a.boshy"), vm.changes.len()), (Some(vip(1)), 0));
}

fn certificate(edition: u32) -> Resource {
    let [certificate, _] = secrets(edition).resources();
    certificate
}

impl Vm {
    /// Whether any message of the VM contains the text.
    fn shows(&self, text: &str) -> bool {
        format!("{:?} {:?} {:?} {:?}", self.relay, self.relay.stored(), self.upstream, self.events).contains(text)
    }
}

const SECRET: ResourceType = ResourceType::Secret;

#[test]
fn until_this_vm_has_secrets_nobody_says_that_there_are_none() {
    let mut vm = Vm::working();
    assert!(!vm.relay.served().of(SECRET).is_known());
    vm.hold(1);
    assert_eq!(vm.served(SECRET, "default"), Some(certificate(1)));
    assert!(vm.served(SECRET, "ROOTCA").is_some());
}

#[test]
fn secrets_are_served_without_a_pilot_and_neither_asked_for_nor_stored_nor_shown() {
    let mut vm = Vm::with(settings(), Proxy::default(), Stored::default());
    vm.hold(1);
    assert_eq!(vm.served(SECRET, "default"), Some(certificate(1)));
    let asked = |request: &RequestToPilot| matches!(request, RequestToPilot::Subscribe { kind: SECRET, .. });
    assert!(!vm.relay.opened(false).iter().any(asked));
    vm.proxy = Proxy::connected();
    vm.receive_service();
    vm.receive(ResourceType::Route, &[], &[]);
    assert_eq!(vm.relay.known().collect::<Vec<_>>(), ResourceType::OF_PILOTS);
    let file = vm.relay.stored().encode();
    assert!(!file.windows(3).any(|octets| octets == b"key") && !vm.shows("key 1"));
}

#[test]
fn a_pilot_that_sends_secrets_is_refused() {
    let mut vm = Vm::working();
    vm.hold(1);
    vm.receive(SECRET, &[certificate(2)], &[]);
    assert_eq!(vm.served(SECRET, "default"), Some(certificate(1)));
    assert_eq!(vm.answers(), [("5".to_owned(), Some("a secret is made on the VM alone".to_owned()))]);
}

#[test]
fn a_pair_that_envoy_rejects_leaves_the_last_one_in_use_and_concerns_no_pilot() {
    let mut vm = Vm::working();
    vm.proxy.asks.insert(SECRET);
    vm.hold(1);
    vm.accept(SECRET);
    vm.hold(2);
    assert_eq!(vm.served(SECRET, "default"), Some(certificate(2)));
    vm.reject(SECRET, &certificate(2));
    assert_eq!(vm.served(SECRET, "default"), Some(certificate(1)));
    assert_eq!(vm.relay.nacks().map(|nack| nack.name).collect::<Vec<_>>(), ["default".into()]);
    vm.hold(3);
    vm.accept(SECRET);
    assert_eq!((vm.served(SECRET, "default"), vm.relay.nacks().count()), (Some(certificate(3)), 0));
    assert_eq!((vm.upstream.len(), vm.address("a.boshy")), (0, Some(vip(1))));
}

#[test]
fn the_same_secrets_again_change_nothing() {
    let mut vm = Vm::working();
    vm.hold(1);
    let step = vm.relay.hold(&secrets(1), vm.now, &vm.proxy);
    assert!(!step.served && step.events.is_empty());
}
