//! How a version that Envoy rejects is handled.

use super::{test_support::*, *};

#[test]
fn a_nack_reaches_the_pilot_in_envoys_words() {
    let mut vm = Vm::working();
    let refused = listener(1, 80, 2);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    vm.reject(ResourceType::Listener, &refused);
    let reason = "tcp_169.254.255.1_80: no such filter".to_owned();
    assert_eq!(vm.answers(), [("5".to_owned(), Some(reason))]);
    assert!(matches!(&vm.events[..], [RelayEvent::Nacked(refusal)] if refusal.version == refused.version));
}

#[test]
fn a_rejected_version_gives_way_to_the_accepted_one_until_another_comes() {
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
fn a_rejected_newcomer_is_not_served_and_its_name_waits() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_service();
    vm.accept(ResourceType::Cluster);
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn a_version_gone_back_to_and_rejected_by_another_proxy_is_not_fallen_back_on() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 2)], &[]);
    vm.proxy = Proxy::connected();
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    assert_eq!(vm.address("a.boshy"), None);
}

#[test]
fn a_nack_after_the_acknowledgement_is_heeded_and_told_when_the_pilot_sends_again() {
    let mut vm = Vm::new(Proxy::default());
    vm.receive_service();
    assert_eq!(vm.answers().len(), 4);
    vm.proxy = Proxy::connected();
    vm.reject(ResourceType::Listener, &listener(1, 80, 1));
    assert_eq!(vm.served(ResourceType::Listener, "tcp_169.254.255.1_80"), None);
    let again = RequestToPilot::Resend { kind: ResourceType::Listener, names: vec!["tcp_169.254.255.1_80".into()] };
    assert_eq!(vm.upstream, [again]);
    vm.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    let reason = "tcp_169.254.255.1_80: no such filter".to_owned();
    assert_eq!(vm.answers(), [("5".to_owned(), Some(reason))]);
    vm.reconsider();
    assert_eq!(vm.upstream, []);
}

#[test]
fn a_reconnect_asks_again_for_what_was_rejected_and_is_answered_again_without_the_proxy() {
    let mut vm = Vm::working();
    let refused = listener(1, 80, 2);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    vm.reject(ResourceType::Listener, &refused);
    vm.answers();
    let held = |requests: Vec<RequestToPilot>| -> Vec<Arc<str>> {
        let versions = requests.into_iter().map(|request| match request {
            RequestToPilot::Subscribe { held, .. } => held.into_iter().map(|(_, version)| version),
            other => panic!("{other:?}"),
        });
        versions.flatten().collect()
    };
    let versions = held(vm.relay.opened(false));
    assert_eq!(versions, [name("a.boshy", 1).version, cluster(1).version, endpoints(1).version, "".into()]);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&refused), &[]);
    assert!(matches!(&vm.answers()[..], [(nonce, Some(_))] if nonce == "6"));
}
