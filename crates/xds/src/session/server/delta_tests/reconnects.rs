use std::collections::HashMap;

use super::*;
use crate::{Layer, ResourceMap, digest::ASK};

#[test]
fn a_proxy_that_comes_back_is_sent_only_the_difference() {
    let now = set(&[(Cluster, "changed", 2), (Cluster, "new", 1), (Cluster, "same", 1)]);
    let had = set(&[(Cluster, "changed", 1), (Cluster, "gone", 1), (Cluster, "same", 1)]);
    let versions = |set: &ResourceSet| -> HashMap<_, _> {
        set.of(Cluster).iter().map(|one| (one.name.to_string(), one.version.to_string())).collect()
    };
    let back = |set| DeltaDiscoveryRequest { initial_resource_versions: versions(set), ..ask(Cluster, &[]) };
    let mut stream = open(now.clone());
    assert_eq!(told(&request(&mut stream, back(&had))), [(Cluster, "changed".into()), (Cluster, "new".into())]);

    let mut stream = open(now.clone());
    let actions = stream.request(back(&now)).unwrap();
    let Action::Report(Cluster, ProxyReport::Acked { version: None, items }) = &actions[1] else {
        panic!("{actions:?}");
    };
    assert_eq!((actions.len(), items.len()), (2, 3));
}

#[test]
fn of_a_proxy_that_comes_back_clusters_go_after_the_listeners_it_has_not_spoken_of_yet() {
    let back = |kind: ResourceType| {
        let initial_resource_versions = HashMap::from([("old".to_owned(), "1".to_owned())]);
        DeltaDiscoveryRequest { initial_resource_versions, ..ask(kind, &[]) }
    };
    let mut stream = open(set(&[]));
    assert_eq!(request(&mut stream, back(Cluster)), []);
    let listeners = request(&mut stream, back(Listener));
    assert_eq!(told(&listeners), [(Listener, "-old".into())]);
    assert_eq!(told(&request(&mut stream, ack(&listeners[0]))), [(Cluster, "-old".into())]);
}

/// The first request of an agent that says by digest that it has all of a set.
fn claim(kind: ResourceType, set: &ResourceSet) -> DeltaDiscoveryRequest {
    let initial_resource_versions = HashMap::from([("*".to_owned(), set.of(kind).digest().to_string())]);
    DeltaDiscoveryRequest { initial_resource_versions, ..ask(kind, &["*"]) }
}

#[test]
fn an_agent_that_has_everything_says_so_in_one_value_and_is_sent_nothing() {
    let now = set(&[(Cluster, "a", 1), (Cluster, "b", 1), (Listener, "l", 1)]);
    let mut stream = open(now.clone());
    assert_eq!(request(&mut stream, claim(Cluster, &now)), []);
    assert_eq!(request(&mut stream, claim(Listener, &now)), []);
    assert!(!stream.unanswered() && stream.accepted().is_some());
    let later = set(&[(Cluster, "a", 1), (Cluster, "b", 2), (Listener, "l", 1)]);
    assert_eq!(told(&responses(stream.resources(Arc::new(later)))), [(Cluster, "b".into())]);
}

#[test]
fn an_agent_whose_digest_is_another_one_is_asked_and_told_nothing_before_it_has_answered() {
    let had = set(&[(Cluster, "a", 1), (Cluster, "b", 1), (Listener, "l", 1)]);
    let now = set(&[(Cluster, "a", 1), (Cluster, "b", 2), (Listener, "l", 2)]);
    let mut stream = open(now);
    let list = |asked: &ResponseToProxy| {
        let versions = had.of(asked.kind).iter().map(|one| (one.name.to_string(), one.version.to_string()));
        DeltaDiscoveryRequest { initial_resource_versions: versions.collect(), ..ack(asked) }
    };
    let clusters = request(&mut stream, claim(Cluster, &had));
    let listeners = request(&mut stream, claim(Listener, &had));
    let asked = [&clusters[..], &listeners].concat();
    assert_eq!(told(&asked), [(Cluster, format!("-{ASK}")), (Listener, format!("-{ASK}"))]);
    assert_eq!(request(&mut stream, list(&listeners[0])), [], "listeners wait for what clusters are told");
    let rest = request(&mut stream, list(&clusters[0]));
    assert_eq!(told(&rest), [(Cluster, "b".into())]);
    assert_eq!(told(&request(&mut stream, ack(&rest[0]))), [(Listener, "l".into())]);
}

#[test]
fn what_an_agent_claims_is_judged_once_it_is_known_what_it_should_have() {
    let now = set(&[(Cluster, "a", 1)]);
    let other = TypedResources::new([Layer::new(ResourceMap::new())]);
    for (should_have, is_asked) in [(now.clone(), false), (now.clone().with(Cluster, other), true)] {
        let mut stream = open(ResourceSet::default());
        assert_eq!(request(&mut stream, claim(Cluster, &now)), []);
        assert!(stream.accepted().is_none());
        assert_eq!(!responses(stream.resources(Arc::new(should_have))).is_empty(), is_asked);
    }
}

#[test]
fn what_was_asked_for_meanwhile_is_sent_although_the_list_has_it() {
    let now = set(&[(Cluster, "a", 1), (Cluster, "b", 1)]);
    let mut stream = open(now.clone());
    let asked = request(&mut stream, claim(Cluster, &set(&[])));
    assert_eq!(request(&mut stream, ask(Cluster, &["a"])), []);
    let list = now.of(Cluster).iter().map(|one| (one.name.to_string(), one.version.to_string())).collect();
    let answer = DeltaDiscoveryRequest { initial_resource_versions: list, ..ack(&asked[0]) };
    assert_eq!(told(&request(&mut stream, answer)), [(Cluster, "a".into())]);
}
