use std::collections::{BTreeSet, HashMap};

use envoy_types::pb::{envoy::service::discovery::v3::DeltaDiscoveryRequest, google::rpc};

use super::{test_support::*, *};
use ResourceType::{Cluster, Endpoints, Listener, Names};

type Stream = Session<Delta>;

fn open(set: ResourceSet) -> Stream {
    Session::new(Arc::new(set))
}

fn ask(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn leave(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        resource_names_unsubscribe: names.iter().map(ToString::to_string).collect(),
        ..ask(kind, &[])
    }
}

fn ack(response: &ResponseToProxy) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: response.nonce.clone(), ..ask(response.kind, &[]) }
}

fn nack(response: &ResponseToProxy) -> DeltaDiscoveryRequest {
    let error = rpc::Status { message: "no".to_owned(), ..rpc::Status::default() };
    DeltaDiscoveryRequest { error_detail: Some(error), ..ack(response) }
}

/// Sends a request and returns the responses to it.
fn request(stream: &mut Stream, request: DeltaDiscoveryRequest) -> Vec<ResponseToProxy> {
    responses(stream.request(request).unwrap())
}

/// Names and removed names in responses.
fn told(responses: &[ResponseToProxy]) -> Vec<(ResourceType, String)> {
    responses.iter().flat_map(described).collect()
}

/// Acknowledges every response until no more arrive.
fn settle(stream: &mut Stream, mut open: Vec<ResponseToProxy>) -> Vec<ResponseToProxy> {
    let mut all = Vec::new();
    while let Some(response) = open.pop() {
        open.extend(request(stream, ack(&response)));
        all.push(response);
    }
    all
}

#[test]
fn clusters_and_listeners_without_names_are_all_of_them_endpoints_without_names_are_none() {
    let mut stream = open(set(&[(Cluster, "c", 1), (Endpoints, "e", 1), (Names, "n", 1)]));
    assert_eq!(told(&request(&mut stream, ask(Cluster, &[]))), [(Cluster, "c".into())]);
    assert_eq!(told(&request(&mut stream, ask(Names, &[]))), [(Names, "n".into())]);
    assert_eq!(request(&mut stream, ask(Endpoints, &[])), []);
    let mut stream = open(set(&[(Endpoints, "e", 1)]));
    assert_eq!(told(&request(&mut stream, ask(Endpoints, &["*"]))), [(Endpoints, "e".into())]);
}

#[test]
fn only_what_changed_is_sent() {
    let mut stream = open(set(&[(Cluster, "a", 1), (Cluster, "b", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    settle(&mut stream, first);
    let responses = responses(stream.resources(Arc::new(set(&[(Cluster, "a", 1), (Cluster, "b", 2)]))));
    assert_eq!(told(&responses), [(Cluster, "b".into())]);
    assert_eq!(stream.resources(Arc::new(set(&[(Cluster, "a", 1), (Cluster, "b", 2)]))), []);
}

#[test]
fn a_name_that_does_not_exist_is_answered_as_removed_and_served_when_it_comes_to_exist() {
    let mut stream = open(set(&[(Endpoints, "a", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["x"]));
    assert_eq!(told(&first), [(Endpoints, "-x".into())]);
    settle(&mut stream, first);
    let later = responses(stream.resources(Arc::new(set(&[(Endpoints, "a", 2), (Endpoints, "x", 1)]))));
    assert_eq!(told(&later), [(Endpoints, "x".into())]);
}

#[test]
fn subscribing_again_sends_again_and_unsubscribing_ends_it() {
    let mut stream = open(set(&[(Endpoints, "e", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["e"]));
    settle(&mut stream, first);
    let again = request(&mut stream, ask(Endpoints, &["e"]));
    assert_eq!(told(&again), [(Endpoints, "e".into())]);
    settle(&mut stream, again);
    assert_eq!(request(&mut stream, leave(Endpoints, &["e"])), []);
    assert_eq!(stream.resources(Arc::new(set(&[(Endpoints, "e", 2)]))), []);
    assert_eq!(told(&request(&mut stream, ask(Endpoints, &["e"]))), [(Endpoints, "e".into())]);
}

#[test]
fn a_name_left_under_a_wildcard_is_told_again_because_the_proxy_may_have_dropped_it() {
    let mut stream = open(set(&[(Endpoints, "a", 1), (Endpoints, "b", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["*", "a"]));
    settle(&mut stream, first);
    assert_eq!(told(&request(&mut stream, leave(Endpoints, &["a"]))), [(Endpoints, "a".into())]);
}

#[test]
fn a_wildcard_after_names_sends_the_rest_and_leaving_it_keeps_the_names() {
    let mut stream = open(set(&[(Endpoints, "a", 1), (Endpoints, "b", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["a"]));
    settle(&mut stream, first);
    let rest = request(&mut stream, ask(Endpoints, &["*"]));
    assert_eq!(told(&rest), [(Endpoints, "b".into())]);
    settle(&mut stream, rest);
    assert_eq!(request(&mut stream, leave(Endpoints, &["*"])), []);
    let changed = responses(stream.resources(Arc::new(set(&[(Endpoints, "a", 2), (Endpoints, "b", 2)]))));
    assert_eq!(told(&changed), [(Endpoints, "a".into())]);
}

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

#[test]
fn a_first_request_for_all_is_answered_even_when_there_is_nothing() {
    let mut stream = open(set(&[]));
    let first = request(&mut stream, ask(Listener, &[]));
    assert_eq!((first.len(), told(&first).len()), (1, 0));
    assert_eq!(request(&mut stream, ack(&first[0])), []);
}

#[test]
fn what_is_not_known_is_neither_served_nor_taken_away() {
    let mut stream = open(ResourceSet::default());
    assert_eq!(request(&mut stream, ask(Cluster, &[])), []);
    let first = responses(stream.resources(Arc::new(set(&[(Cluster, "c", 1)]))));
    assert_eq!(told(&first), [(Cluster, "c".into())]);
    settle(&mut stream, first);
    assert_eq!(stream.resources(Arc::new(ResourceSet::default())), []);
}

#[test]
fn listeners_wait_for_clusters_and_endpoints_and_endpoints_do_not_wait_for_clusters() {
    let mut stream = open(set(&[(Cluster, "c", 1), (Endpoints, "e", 1), (Listener, "l", 1)]));
    let clusters = request(&mut stream, ask(Cluster, &[]));
    assert_eq!(request(&mut stream, ask(Listener, &[])), []);
    let endpoints = request(&mut stream, ask(Endpoints, &["e"]));
    assert_eq!(told(&endpoints), [(Endpoints, "e".into())]);
    assert_eq!(request(&mut stream, ack(&clusters[0])), []);
    assert_eq!(told(&request(&mut stream, nack(&endpoints[0]))), [(Listener, "l".into())]);
}

#[test]
fn a_cluster_goes_after_the_listener_that_used_it() {
    let mut stream = open(set(&[(Cluster, "c", 1), (Endpoints, "e", 1), (Listener, "l", 1)]));
    for first in [ask(Cluster, &[]), ask(Listener, &[]), ask(Endpoints, &["*"])] {
        let responses = request(&mut stream, first);
        settle(&mut stream, responses);
    }
    let listeners = responses(stream.resources(Arc::new(set(&[]))));
    assert_eq!(told(&listeners), [(Listener, "-l".into())]);
    let clusters = request(&mut stream, ack(&listeners[0]));
    assert_eq!(told(&clusters), [(Cluster, "-c".into())]);
    assert_eq!(told(&request(&mut stream, ack(&clusters[0]))), [(Endpoints, "-e".into())]);
}

#[test]
fn a_name_goes_before_its_listener() {
    let mut stream = open(set(&[(Names, "n", 1), (Listener, "l", 1)]));
    for first in [ask(Names, &[]), ask(Listener, &[])] {
        let responses = request(&mut stream, first);
        settle(&mut stream, responses);
    }
    let names = responses(stream.resources(Arc::new(set(&[]))));
    assert_eq!(told(&names), [(Names, "-n".into())]);
    assert_eq!(told(&request(&mut stream, ack(&names[0]))), [(Listener, "-l".into())]);
}

#[test]
fn an_answer_that_was_not_asked_for_is_of_no_consequence() {
    let mut stream = open(set(&[(Cluster, "c", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    let stray = DeltaDiscoveryRequest { response_nonce: "99".to_owned(), ..nack(&first[0]) };
    assert_eq!(stream.request(stray).unwrap(), []);
    assert!(stream.unanswered() && !stream.withheld(Cluster));
    request(&mut stream, ack(&first[0]));
    assert_eq!(stream.request(nack(&first[0])).unwrap(), []);
    assert!(!stream.unanswered() && !stream.withheld(Cluster));
}

#[test]
fn of_a_refused_response_only_the_culprit_is_withheld_until_it_changes() {
    let mut stream = open(set(&[(Cluster, "a", 1), (Cluster, "bad", 1), (Cluster, "c", 1)]));
    let mut open = request(&mut stream, ask(Cluster, &[]));
    assert_eq!(open.len(), 1);
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    while let Some(response) = open.pop() {
        let bad = response.resources.iter().any(|resource| &*resource.name == "bad");
        let answer = if bad { nack(&response) } else { ack(&response) };
        for action in stream.request(answer).unwrap() {
            match action {
                Action::Send(response) => open.push(response),
                Action::Report(Cluster, ProxyReport::Acked { items, .. }) => accepted.extend(items),
                Action::Report(Cluster, ProxyReport::Nacked { items, reason, .. }) => {
                    refused.extend(items.into_iter().map(|item| (item, reason.clone())));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let names: BTreeSet<_> = accepted.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, BTreeSet::from(["a", "c"]));
    assert_eq!((&*refused[0].0.0, &*refused[0].1, refused.len()), ("bad", "no", 1));
    assert!(stream.withheld(Cluster));

    let other =
        responses(stream.resources(Arc::new(set(&[(Cluster, "a", 2), (Cluster, "bad", 1), (Cluster, "c", 1)]))));
    assert_eq!(told(&other), [(Cluster, "a".into())]);
    settle(&mut stream, other);
    let mended =
        responses(stream.resources(Arc::new(set(&[(Cluster, "a", 2), (Cluster, "bad", 2), (Cluster, "c", 1)]))));
    assert_eq!(told(&mended), [(Cluster, "bad".into())]);
    settle(&mut stream, mended);
    assert!(!stream.withheld(Cluster));
}

#[test]
fn a_refusal_of_what_is_gone_meanwhile_does_not_take_it_away_before_its_listener() {
    let mut stream = open(set(&[(Cluster, "a", 1), (Cluster, "b", 1), (Listener, "a", 1)]));
    let clusters = request(&mut stream, ask(Cluster, &[]));
    request(&mut stream, ack(&clusters[0]));
    let listeners = request(&mut stream, ask(Listener, &[]));
    let again = responses(stream.resources(Arc::new(set(&[(Cluster, "a", 2), (Cluster, "b", 2), (Listener, "a", 1)]))));
    assert_eq!(stream.resources(Arc::new(set(&[]))), []);
    let gone = request(&mut stream, nack(&again[0]));
    assert_eq!(told(&gone), [(Listener, "-a".into())]);
    assert_eq!(request(&mut stream, ack(&listeners[0])), []);
    assert_eq!(told(&request(&mut stream, ack(&gone[0]))), [(Cluster, "-a".into()), (Cluster, "-b".into())]);
}

#[test]
fn a_suspect_that_is_gone_goes_after_its_listener_also_when_another_response_with_it_was_accepted() {
    let world = |c, more: &[&'static str]| {
        let more = more.iter().map(|name| (Cluster, *name, 1));
        let clusters = [("a", 1), ("b", 1), ("c", c)].map(|(name, version)| (Cluster, name, version));
        Arc::new(set(&clusters.into_iter().chain(more).chain([(Listener, "c", 1)]).collect::<Vec<_>>()))
    };
    let mut stream = open(set(&[(Cluster, "c", 0), (Listener, "c", 1)]));
    let clusters = request(&mut stream, ask(Cluster, &[]));
    settle(&mut stream, clusters);
    let listeners = request(&mut stream, ask(Listener, &[]));
    settle(&mut stream, listeners);
    let mut sent = Vec::new();
    for world in [world(1, &[]), world(2, &[]), world(2, &["y"]), world(2, &["y", "z"]), world(1, &["y", "z"])] {
        sent.extend(responses(stream.resources(world)));
    }
    assert_eq!(sent.len(), 4);
    assert_eq!(told(&request(&mut stream, nack(&sent[0]))), [(Cluster, "a".into())]);
    assert_eq!(told(&request(&mut stream, ack(&sent[1]))), [(Cluster, "b".into())]);
    let rest = [(Cluster, "a", 1), (Cluster, "b", 1), (Cluster, "y", 1), (Cluster, "z", 1)];
    assert_eq!(stream.resources(Arc::new(set(&rest))), []);
    assert_eq!(told(&request(&mut stream, ack(&sent[2]))), []);
}

#[test]
fn what_is_under_way_is_not_sent_again_because_an_older_version_was_refused_with_others() {
    let mut stream = open(set(&[]));
    let nothing = request(&mut stream, ask(Cluster, &[]));
    request(&mut stream, ack(&nothing[0]));
    let world = |e, more: &[&'static str]| {
        let more = more.iter().map(|name| (Cluster, *name, 1));
        Arc::new(set(&[(Cluster, "c", 1), (Cluster, "e", e)].into_iter().chain(more).collect::<Vec<_>>()))
    };
    let mut sent = Vec::new();
    for world in [world(2, &[]), world(3, &[]), world(3, &["y"]), world(3, &["y", "z"]), world(2, &["y", "z"])] {
        sent.extend(responses(stream.resources(world)));
    }
    assert_eq!(sent.len(), 4);
    assert_eq!(told(&request(&mut stream, nack(&sent[0]))), [(Cluster, "c".into())]);
    assert_eq!(stream.resources(world(3, &["y", "z"])), []);
    assert_eq!(told(&request(&mut stream, ack(&sent[1]))), []);
}

#[test]
fn what_a_proxy_is_found_to_lack_is_sent_again_and_what_it_has_left_over_withdrawn() {
    let mut stream = open(set(&[(Cluster, "c", 1), (Listener, "a", 1), (Listener, "b", 1)]));
    for kind in [Cluster, Listener] {
        let first = request(&mut stream, ask(kind, &[]));
        settle(&mut stream, first);
    }
    let lacking = [(Listener, "b".into()), (Listener, "left-over".into()), (Endpoints, "nobody-asked".into())];
    let again = responses(stream.tell_again(&lacking));
    assert_eq!(told(&again), [(Listener, "b".into()), (Listener, "-left-over".into())]);
    settle(&mut stream, again);
    assert!(!stream.unanswered());
}

#[test]
fn what_was_refused_is_sent_again_for_the_asking_and_is_then_no_longer_withheld() {
    let mut stream = open(set(&[(Endpoints, "e", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["e"]));
    request(&mut stream, nack(&first[0]));
    assert!(stream.withheld(Endpoints) && stream.accepted().is_none());
    let again = request(&mut stream, ask(Endpoints, &["e"]));
    assert_eq!(told(&again), [(Endpoints, "e".into())]);
    request(&mut stream, ack(&again[0]));
    assert!(!stream.withheld(Endpoints) && stream.accepted().is_some());
}

#[test]
fn a_large_answer_is_split_and_the_window_bounds_what_is_unanswered() {
    let names: Vec<String> = (0..3000).map(|index| format!("{index:04}-{}", "x".repeat(60))).collect();
    let entries: Vec<_> = names.iter().map(|name| (Cluster, name.as_str(), 1)).collect();
    let mut stream = open(set(&entries));
    let mut open = request(&mut stream, ask(Cluster, &[]));
    assert_eq!(open.len(), 4);
    let mut sent = 0;
    while let Some(response) = open.pop() {
        assert!(response.encoded_len() <= 32 << 10, "{}", response.encoded_len());
        sent += response.resources.len();
        let more = request(&mut stream, ack(&response));
        assert!(more.len() <= 1);
        open.extend(more);
    }
    assert_eq!(sent, names.len());
}

#[test]
fn changes_while_the_window_is_full_are_sent_as_one() {
    let set_of = |version| set(&[(Cluster, "c", version)]);
    let mut stream = open(set_of(0));
    let mut open = request(&mut stream, ask(Cluster, &[]));
    for version in 1..10 {
        open.extend(responses(stream.resources(Arc::new(set_of(version)))));
    }
    assert_eq!(open.len(), 4);
    let last = request(&mut stream, ack(&open[0]));
    assert_eq!(last[0].resources, [set_of(9).of(Cluster).get("c").unwrap().clone()]);
}

#[test]
fn a_type_that_is_not_served_is_reported_once_and_costs_the_stream_nothing() {
    let mut stream = open(set(&[(Cluster, "c", 1)]));
    let unknown = || DeltaDiscoveryRequest { type_url: "x/y".to_owned(), ..DeltaDiscoveryRequest::default() };
    assert_eq!(stream.request(unknown()).unwrap(), [Action::Ignore("x/y".to_owned())]);
    assert_eq!(stream.request(unknown()).unwrap(), []);
    assert_eq!(told(&request(&mut stream, ask(Cluster, &[]))), [(Cluster, "c".into())]);
}

#[test]
fn a_stream_that_subscribes_without_bound_is_closed() {
    let mut stream = open(set(&[]));
    let many = || -> Vec<String> { (0..40_000).map(|index| format!("{index:0>200}")).collect() };
    let request = DeltaDiscoveryRequest { resource_names_subscribe: many(), ..ask(Endpoints, &[]) };
    assert!(matches!(stream.request(request), Err(Close::TooManyNames(_))));
}

#[test]
fn secrets_are_sent_one_by_one_and_asked_for_by_name() {
    let secret = ResourceType::Secret;
    let mut stream = open(set(&[(secret, "ROOTCA", 1), (secret, "default", 1), (secret, "other", 1)]));
    assert_eq!(request(&mut stream, ask(secret, &[])), []);
    let sent = request(&mut stream, ask(secret, &["ROOTCA", "default"]));
    let names =
        |response: &ResponseToProxy| response.resources.iter().map(|one| one.name.to_string()).collect::<Vec<_>>();
    assert_eq!(sent.iter().map(names).collect::<Vec<_>>(), [["ROOTCA"], ["default"]]);
}

#[test]
fn a_proxy_has_a_resource_once_it_has_accepted_everything_of_its_type() {
    let mut stream = open(set(&[(Cluster, "c", 1), (Listener, "mesh_10.0.0.2", 1)]));
    let has = |stream: &Stream| stream.has(Listener, "mesh_10.0.0.2");
    let sent = request(&mut stream, ask(Listener, &["*"]));
    assert!(!has(&stream), "it is not answered");
    settle(&mut stream, sent);
    assert!(has(&stream) && !stream.has(Listener, "mesh_10.0.0.3") && !stream.has(Cluster, "c"));

    let responses = responses(stream.resources(Arc::new(set(&[(Listener, "mesh_10.0.0.2", 2)]))));
    request(&mut stream, nack(&responses[0]));
    assert!(!has(&stream), "it is refused");
}

#[test]
fn a_proxy_that_comes_back_with_a_resource_has_it() {
    let mut stream = open(set(&[(Listener, "mesh_10.0.0.2", 1)]));
    let version = resource("mesh_10.0.0.2", 1).version.to_string();
    let had = HashMap::from([("mesh_10.0.0.2".to_owned(), version)]);
    let first = DeltaDiscoveryRequest { initial_resource_versions: had, ..ask(Listener, &["*"]) };
    assert_eq!(told(&request(&mut stream, first)), []);
    assert!(stream.has(Listener, "mesh_10.0.0.2"));
}
