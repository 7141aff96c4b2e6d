//! When rejected resources are tried again, and how names are answered in the meantime.

use std::time::Duration;

use super::{test_support::*, *};

const PAUSE: Duration = Duration::from_secs(1);

fn capture() -> Resource {
    resource("virtual", 1)
}

impl Vm {
    /// A mesh of one service whose Envoy cannot bind the address of the capture listener.
    fn without_capture() -> Self {
        let mut vm = Vm::new(Proxy::connected());
        vm.receive_service();
        vm.receive(ResourceType::Listener, &[capture()], &[]);
        vm.refuse_capture();
        for kind in [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener] {
            vm.accept(kind);
        }
        vm
    }

    fn refuse_capture(&mut self) {
        self.reject(ResourceType::Listener, &capture());
        self.forgets();
    }

    /// The rejected resource is removed from Envoy, which acknowledges the removal.
    fn forgets(&mut self) {
        self.proxy.rejected.clear();
    }

    fn serves_capture(&self) -> bool {
        self.served(ResourceType::Listener, "virtual").is_some()
    }

    fn refused(&self) -> Vec<(String, u32)> {
        self.relay.nacks().map(|refusal| (refusal.name.to_string(), refusal.attempts)).collect()
    }
}

#[test]
fn what_was_refused_is_tried_again_with_growing_pauses_until_it_is_accepted() {
    let mut vm = Vm::without_capture();
    assert!(!vm.serves_capture());
    for attempt in 1..9_u32 {
        assert_eq!(vm.refused(), [("virtual".to_owned(), attempt)]);
        let pause = (PAUSE * 2_u32.pow(attempt - 1)).min(Duration::from_secs(30));
        assert_eq!(vm.relay.deadline(), Some(vm.now + pause), "attempt {attempt}");
        vm.wait(pause - Duration::from_millis(1));
        assert!(!vm.serves_capture(), "attempt {attempt} came early");
        vm.wait(Duration::from_millis(1));
        assert!(vm.serves_capture(), "attempt {attempt} did not come");
        vm.refuse_capture();
        assert!(!vm.serves_capture());
    }
    vm.wait(Duration::from_secs(30));
    vm.accept(ResourceType::Listener);
    assert!(vm.serves_capture() && vm.refused().is_empty());
    assert_eq!(vm.relay.deadline(), None);
    let told = |event: &RelayEvent| matches!(event, RelayEvent::Nacked(_));
    assert_eq!(vm.events.iter().filter(|event| told(event)).count(), 1, "each attempt is not told");
    assert!(matches!(vm.events.last(), Some(RelayEvent::Recovered { name, .. }) if &**name == "virtual"));
}

#[test]
fn no_name_is_answered_while_what_takes_captured_connections_is_refused() {
    let mut vm = Vm::without_capture();
    assert_eq!(vm.address("a.boshy"), None);
    vm.wait(PAUSE);
    assert_eq!(vm.address("a.boshy"), None, "it is only tried");
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}

#[test]
fn a_name_goes_when_another_envoy_refuses_what_the_one_before_accepted() {
    let mut vm = Vm::without_capture();
    vm.wait(PAUSE);
    vm.accept(ResourceType::Listener);
    vm.proxy = Proxy::default();
    vm.reconsider();
    assert_eq!(vm.address("a.boshy"), Some(vip(1)), "an Envoy that is away takes no name along");
    vm.proxy = Proxy::connected();
    vm.reconsider();
    assert_eq!(vm.address("a.boshy"), Some(vip(1)), "nor one that has not spoken");
    vm.reject(ResourceType::Listener, &capture());
    assert_eq!(vm.address("a.boshy"), None);
    vm.forgets();
    vm.accept_all();
    vm.wait(PAUSE);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}

#[test]
fn another_envoy_is_given_what_the_one_before_refused() {
    for leaves in [false, true] {
        let mut vm = Vm::without_capture();
        vm.proxy.rejected.insert((ResourceType::Listener, capture().name), capture().version);
        vm.wait(Duration::from_secs(600));
        vm.proxy.rejected.clear();
        if leaves {
            vm.proxy = Proxy::default();
            vm.reconsider();
            assert!(vm.serves_capture(), "whoever comes finds all of it");
        }
        vm.proxy = Proxy::connected();
        vm.reconsider();
        assert!(vm.serves_capture());
        vm.accept_all();
        assert_eq!(vm.address("a.boshy"), Some(vip(1)));
    }
}

#[test]
fn a_stand_in_that_another_envoy_refuses_as_well_is_taken_away_with_its_name() {
    let mut vm = Vm::working();
    let (old, new) = (listener(1, 80, 1), listener(1, 80, 2));
    vm.receive(ResourceType::Listener, std::slice::from_ref(&new), &[]);
    vm.reject(ResourceType::Listener, &new);
    assert_eq!(vm.served(ResourceType::Listener, &old.name), Some(old.clone()));
    vm.proxy = Proxy::connected();
    vm.reconsider();
    vm.reject(ResourceType::Listener, &new);
    assert_eq!(
        (vm.served(ResourceType::Listener, &old.name), vm.address("a.boshy")),
        (Some(old.clone()), Some(vip(1)))
    );
    vm.reject(ResourceType::Listener, &old);
    assert_eq!((vm.served(ResourceType::Listener, &old.name), vm.address("a.boshy")), (None, None));
}

#[test]
fn a_suspended_name_is_answered_again_by_what_stands_in_for_a_refused_version() {
    let mut vm = Vm::working();
    vm.receive(ResourceType::Listener, &[capture()], &[]);
    vm.accept(ResourceType::Listener);
    let new = listener(1, 80, 2);
    vm.receive(ResourceType::Listener, std::slice::from_ref(&new), &[]);
    vm.reject(ResourceType::Listener, &new);
    vm.proxy = Proxy::connected();
    vm.reconsider();
    vm.refuse_capture();
    assert_eq!(vm.address("a.boshy"), None);
    vm.reject(ResourceType::Listener, &new);
    vm.forgets();
    vm.accept_all();
    vm.wait(PAUSE);
    vm.reject(ResourceType::Listener, &new);
    vm.reconsider();
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.served(ResourceType::Listener, &new.name), Some(listener(1, 80, 1)));
    assert_eq!(vm.address("a.boshy"), Some(vip(1)), "the version before leads there still");
}

#[test]
fn of_what_is_refused_for_the_sake_of_one_the_others_are_accepted() {
    let mut vm = Vm::new(Proxy::connected());
    let all: Vec<_> = (1..=5).map(|last| listener(last, 80, 1)).collect();
    vm.receive(ResourceType::Listener, &all, &[]);
    for resource in &all {
        vm.proxy.reject(ResourceType::Listener, resource);
    }
    vm.reconsider();
    vm.forgets();
    // A proxy that rejects every response that contains the third listener.
    for _ in 0..200 {
        vm.wait(PAUSE);
        let offered: Vec<_> = vm.relay.served().of(ResourceType::Listener).iter().cloned().collect();
        if offered.iter().any(|resource| resource.name == all[2].name) {
            vm.reject(ResourceType::Listener, &all[2]);
            vm.forgets();
        } else {
            vm.accept(ResourceType::Listener);
        }
    }
    assert_eq!(vm.relay.served().of(ResourceType::Listener).len(), 4);
    assert_eq!(vm.refused().len(), 1);
}

#[test]
fn an_attempt_that_is_not_answered_holds_up_no_other() {
    let mut vm = Vm::new(Proxy::connected());
    let (one, other) = (listener(1, 80, 1), listener(2, 80, 1));
    vm.receive(ResourceType::Listener, &[one.clone(), other.clone()], &[]);
    vm.reject(ResourceType::Listener, &one);
    vm.reject(ResourceType::Listener, &other);
    vm.forgets();
    vm.wait(PAUSE);
    assert_eq!(vm.relay.served().of(ResourceType::Listener).len(), 1);
    vm.wait(PATIENCE);
    assert_eq!(vm.relay.served().of(ResourceType::Listener).len(), 2);
    assert!(vm.relay.deadline().is_some_and(|deadline| deadline > vm.now), "the relay would spin");
}

#[test]
fn what_is_accepted_after_all_is_told_to_the_pilot_once() {
    let mut vm = Vm::without_capture();
    assert!(vm.answers().iter().any(|(nonce, refused)| nonce == "5" && refused.is_some()));
    vm.wait(PAUSE);
    vm.refuse_capture();
    assert_eq!(vm.upstream, [], "the pilot knows");
    vm.wait(2 * PAUSE);
    vm.accept(ResourceType::Listener);
    let again = RequestToPilot::Resend { kind: ResourceType::Listener, names: vec!["virtual".into()] };
    assert_eq!(std::mem::take(&mut vm.upstream), [again]);
    vm.reconsider();
    assert_eq!(vm.upstream, []);
    vm.receive(ResourceType::Listener, &[capture()], &[]);
    assert_eq!(vm.answers(), [accepted("6")]);
}

#[test]
fn what_was_refused_and_has_no_predecessor_is_kept_for_the_next_envoy() {
    let vm = Vm::without_capture();
    let stored = Stored::decode(&vm.relay.stored().encode()).unwrap();
    let mut restarted = Vm::with(RelaySettings::default(), Proxy::default(), stored);
    assert!(restarted.serves_capture());
    restarted.proxy = Proxy::connected();
    restarted.accept_all();
    assert_eq!(restarted.address("a.boshy"), Some(vip(1)));
}

#[test]
fn a_name_whose_endpoints_are_refused_leads_nowhere() {
    let mut vm = Vm::new(Proxy::connected());
    vm.receive_service();
    vm.reject(ResourceType::Endpoints, &endpoints(1));
    vm.accept(ResourceType::Cluster);
    vm.accept(ResourceType::Listener);
    assert_eq!(vm.address("a.boshy"), None);
    vm.forgets();
    vm.wait(PAUSE);
    vm.accept(ResourceType::Endpoints);
    assert_eq!(vm.address("a.boshy"), Some(vip(1)));
}
