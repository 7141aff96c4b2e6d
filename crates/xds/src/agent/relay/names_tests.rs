//! Which names are answered, and when.

use super::{test_support::*, *};

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
fn a_cluster_that_has_the_services_prefix_and_is_not_needed_holds_no_name_back() {
    let mut vm = Vm::new(Proxy::connected());
    let needing = name_needing("a.boshy", 1, &["tcp_169.254.255.1_80"], &["out.a.boshy|http"]);
    vm.receive(ResourceType::Names, &[needing], &[]);
    let canary = resource("out.a.boshy|http|canary", 1);
    vm.receive(ResourceType::Cluster, &[cluster(1), canary.clone()], &[]);
    let other_port = listener(1, 81, 1);
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1), other_port.clone()], &[]);
    vm.proxy.reject(ResourceType::Cluster, &canary);
    vm.proxy.reject(ResourceType::Listener, &other_port);
    for (kind, needed) in [(ResourceType::Cluster, cluster(1)), (ResourceType::Listener, listener(1, 80, 1))] {
        assert_eq!(vm.address("a.boshy"), None, "before {kind:?}");
        vm.proxy.accepted.insert((kind, needed.name), needed.version);
        vm.reconsider();
    }
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    vm.receive(ResourceType::Cluster, &[], &["out.a.boshy|http"]);
    assert_eq!(vm.address("a.boshy"), None, "and backs none");
}

#[test]
fn a_name_waits_for_what_it_needs_and_did_not_receive_yet() {
    let mut vm = Vm::new(Proxy::connected());
    let listeners = ["tcp_169.254.255.1_80", "tcp_169.254.255.1_81"];
    vm.receive(ResourceType::Names, &[name_needing("a.boshy", 1, &listeners, &["out.a.boshy|http"])], &[]);
    vm.receive(ResourceType::Cluster, &[cluster(1)], &[]);
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    vm.accept_all();
    assert_eq!(vm.address("a.boshy"), None);
    vm.receive(ResourceType::Listener, &[listener(1, 81, 1)], &[]);
    vm.accept_all();
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}

#[test]
fn a_name_whose_needs_change_stays_while_what_it_needed_before_is_served() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Names, &[name_needing("a.boshy", 1, &["tcp_169.254.255.1_80"], &["out.new"])], &[]);
    vm.receive(ResourceType::Names, &[], &["another.boshy"]);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)), "an unrelated removal asks whether names lead anywhere");
    vm.receive(ResourceType::Cluster, &[resource("out.new", 1)], &[]);
    vm.receive(ResourceType::Cluster, &[], &["out.a.boshy|http"]);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    assert_eq!(vm.changes, []);
    vm.receive(ResourceType::Cluster, &[cluster(1)], &["out.new"]);
    assert_eq!(vm.address("a.boshy"), None, "what it needed before does not count any more");
}

#[test]
fn an_upgrade_of_either_side_loses_no_name() {
    let older = name("a.boshy", 1);
    let newer = name_needing("a.boshy", 1, &["tcp_169.254.255.1_80"], &["out.a.boshy|http"]);
    for [before, after] in [[&older, &newer], [&newer, &older]] {
        let mut vm = Vm::working();
        vm.receive(ResourceType::Names, std::slice::from_ref(before), &[]);
        let stored = Stored::decode(&vm.relay.stored().encode()).unwrap();
        let mut vm = Vm::with(RelaySettings::default(), Proxy::connected(), stored);
        assert_eq!(vm.address("a.boshy"), Some(vip(1)));
        vm.receive(ResourceType::Names, std::slice::from_ref(after), &[]);
        vm.accept_all();
        assert_eq!((vm.address("a.boshy"), vm.changes.len()), (Some(vip(1)), 0));
    }
}
