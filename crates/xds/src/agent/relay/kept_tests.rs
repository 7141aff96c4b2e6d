//! What is served and stored: all or nothing of a type, before and after a restart.

use std::time::Duration;

use super::{test_support::*, *};
use crate::{Capture, PeerTimeout};

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
    let served = vm.relay.served().of(ResourceType::Listener);
    assert!(Arc::ptr_eq(received, served.layers()[0].resources()));
    assert!(Arc::ptr_eq(received, vm.relay.stored().resources(ResourceType::Listener)));
}

/// The capture listener as the relay serves it: its port and its version.
fn captures_at(relay: &Relay) -> (u16, String) {
    use envoy_types::pb::envoy::config::{
        core::v3::{address, socket_address::PortSpecifier},
        listener::v3::Listener,
    };
    let resource = relay.served().of(ResourceType::Listener).get("virtual").expect("it is served");
    let listener: Listener = prost::Message::decode(resource.body.clone()).unwrap();
    let Some(address::Address::SocketAddress(address)) = listener.address.and_then(|address| address.address) else {
        panic!("no socket address")
    };
    let Some(PortSpecifier::PortValue(port)) = address.port_specifier else { panic!("no port") };
    (u16::try_from(port).unwrap(), resource.version.to_string())
}

#[test]
fn what_is_redirected_is_taken_where_and_kept_as_the_settings_say_also_after_a_restart_with_others() {
    let timed = |port, peer_timeout| {
        let capture = Capture { address: ([127, 0, 0, 1], port).into(), peer_timeout };
        RelaySettings { capture: Some(capture), ..RelaySettings::default() }
    };
    let settings = |port| timed(port, Some(PeerTimeout::DEFAULT));
    let served = crate::envoy::capture_listener(Capture::at(crate::CAPTURE));
    let mut vm = Vm::with(settings(15001), Proxy::connected(), Stored::default());
    vm.receive(ResourceType::Listener, std::slice::from_ref(&served), &[]);
    assert_eq!(captures_at(&vm.relay), (15001, served.version.to_string()), "what is right already stays as it is");
    let mut vm = Vm::with(settings(15002), Proxy::connected(), Stored::default());
    vm.receive(ResourceType::Listener, std::slice::from_ref(&served), &[]);
    vm.accept(ResourceType::Listener);
    let (port, version) = captures_at(&vm.relay);
    assert_eq!(port, 15002);
    assert_ne!(version, *served.version, "an Envoy that comes back has to see that it changed");
    assert_eq!(vm.answers(), [accepted("1")]);
    let held = |relay: &mut Relay| -> Vec<_> {
        let of_listeners = |request| match request {
            RequestToPilot::Subscribe { kind: ResourceType::Listener, held, .. } => held,
            _ => Vec::new(),
        };
        relay.opened(false).into_iter().flat_map(of_listeners).map(|(_, version)| version).collect()
    };
    assert_eq!(held(&mut vm.relay), [Arc::clone(&served.version)], "the pilot hears of the version that it sent");
    let stored = Stored::decode(&vm.relay.stored().encode()).unwrap();
    assert_eq!(*stored.resources(ResourceType::Listener)["virtual"], served, "what this VM makes is not stored");
    let mut restarted = Relay::new(settings(15003), stored);
    assert_eq!(captures_at(&restarted).0, 15003);
    assert_eq!(held(&mut restarted), [served.version]);

    let mut versions = BTreeSet::new();
    for peer_timeout in [Some(PeerTimeout::DEFAULT), PeerTimeout::new(Duration::from_secs(7)), None] {
        let vm = Relay::new(timed(15001, peer_timeout), restarted.stored());
        versions.insert(captures_at(&vm).1);
    }
    assert_eq!(versions.len(), 3, "{versions:?}");
}
