//! Which answer the pilot gets to its responses, and when.

use std::time::Duration;

use super::{test_support::*, *};

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
fn names_and_what_nobody_judges_are_acknowledged_when_stored() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
    vm.proxy.asks.remove(&ResourceType::Endpoints);
    vm.receive(ResourceType::Endpoints, &[resource("e", 1)], &[]);
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
    assert_eq!(vm.events, [RelayEvent::Unanswered { kind: ResourceType::Listener, resources: 1 }]);
    assert_eq!(vm.relay.deadline(), None);
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
fn questions_of_a_stream_that_ended_are_not_answered_on_the_next() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2)], &[]);
    vm.relay.opened(false);
    vm.accept(ResourceType::Listener);
    assert_eq!((vm.answers(), vm.relay.unanswered()), (vec![], 0));
}
