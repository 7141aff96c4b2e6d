use envoy_types::pb::{envoy::service::discovery::v3::DiscoveryRequest, google::rpc};

use super::{test_support::*, *};
use ResourceType::{Cluster, Endpoints, Listener};

type Stream = Session<Sotw>;

fn open(set: ResourceSet) -> Stream {
    Session::new(Arc::new(set), Pacing::Answered)
}

fn ask(kind: ResourceType, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    }
}

fn ack(response: &ResponseToProxy, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        response_nonce: response.nonce.clone(),
        version_info: response.version.to_string(),
        ..ask(response.kind, names)
    }
}

fn nack(response: &ResponseToProxy) -> DiscoveryRequest {
    let error = rpc::Status { message: "no".to_owned(), ..rpc::Status::default() };
    DiscoveryRequest { error_detail: Some(error), ..ack(response, &[]) }
}

fn request(stream: &mut Stream, request: DiscoveryRequest) -> Vec<ResponseToProxy> {
    responses(stream.request(request).unwrap())
}

fn change(stream: &mut Stream, entries: &[(ResourceType, &str, u8)]) -> Vec<ResponseToProxy> {
    responses(stream.resources(Arc::new(set(entries))))
}

fn names(responses: &[ResponseToProxy]) -> Vec<String> {
    responses.iter().flat_map(described).map(|(_, name)| name).collect()
}

#[test]
fn a_change_sends_the_whole_type() {
    let mut stream = open(set(&[(Cluster, "a", 1), (Cluster, "b", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(request(&mut stream, ack(&first[0], &[])), []);
    assert_eq!(names(&change(&mut stream, &[(Cluster, "a", 1), (Cluster, "b", 2)])), ["a", "b"]);
}

#[test]
fn one_response_is_outstanding_and_changes_meanwhile_are_sent_as_one() {
    let mut stream = open(set(&[(Cluster, "a", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    for version in 2..5 {
        assert_eq!(change(&mut stream, &[(Cluster, "a", version)]), []);
    }
    let second = request(&mut stream, ack(&first[0], &[]));
    assert_eq!(second[0].resources, [resource("a", 4)]);
}

#[test]
fn endpoints_are_those_named_and_a_new_name_is_answered() {
    let mut stream = open(set(&[(Endpoints, "a", 1), (Endpoints, "b", 1), (Endpoints, "c", 1)]));
    assert_eq!(request(&mut stream, ask(Endpoints, &[])), []);
    let first = request(&mut stream, ask(Endpoints, &["a"]));
    assert_eq!(names(&first), ["a"]);
    assert_eq!(request(&mut stream, ack(&first[0], &["a"])), []);
    let second = request(&mut stream, ack(&first[0], &["a", "b"]));
    assert_eq!(names(&second), ["a", "b"]);
    assert_eq!(request(&mut stream, ack(&second[0], &["b"])), []);
    assert_eq!(change(&mut stream, &[(Endpoints, "a", 2), (Endpoints, "b", 1)]), []);
    assert_eq!(names(&change(&mut stream, &[(Endpoints, "a", 2), (Endpoints, "b", 2)])), ["b"]);
}

#[test]
fn a_request_with_an_old_nonce_is_of_no_consequence() {
    let mut stream = open(set(&[(Endpoints, "a", 1), (Endpoints, "b", 1)]));
    let first = request(&mut stream, ask(Endpoints, &["a"]));
    let second = request(&mut stream, ack(&first[0], &["a", "b"]));
    assert_eq!(stream.request(nack(&first[0])).unwrap(), []);
    assert!(stream.unanswered());
    request(&mut stream, ack(&second[0], &["a", "b"]));
    assert!(!stream.unanswered());
}

#[test]
fn a_refused_response_is_not_sent_again_until_something_changes() {
    let mut stream = open(set(&[(Cluster, "a", 1), (Cluster, "bad", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    let actions = stream.request(nack(&first[0])).unwrap();
    assert!(matches!(&actions[..], [Action::Report(Cluster, ProxyReport::Nacked { items, .. })] if items.len() == 2));
    assert!(stream.withheld(Cluster));
    assert_eq!(change(&mut stream, &[(Cluster, "a", 1), (Cluster, "bad", 1)]), []);
    let mended = change(&mut stream, &[(Cluster, "a", 1), (Cluster, "bad", 2)]);
    assert_eq!(names(&mended), ["a", "bad"]);
    request(&mut stream, ack(&mended[0], &[]));
    assert!(!stream.withheld(Cluster));
}

#[test]
fn of_a_refusal_only_what_was_new_is_taken_for_refused() {
    let mut stream = open(set(&[(Cluster, "a", 1)]));
    let first = request(&mut stream, ask(Cluster, &[]));
    request(&mut stream, ack(&first[0], &[]));
    let second = change(&mut stream, &[(Cluster, "a", 1), (Cluster, "bad", 1)]);
    let actions = stream.request(nack(&second[0])).unwrap();
    let [Action::Report(Cluster, ProxyReport::Nacked { items, .. })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((items.len(), &*items[0].0), (1, "bad"));
}

#[test]
fn of_a_refusal_that_names_its_culprit_only_that_is_taken_for_refused_and_forgotten_once_it_is_gone() {
    let mut stream = open(set(&[(Listener, "a", 1), (Listener, "a.b", 1), (Listener, "c", 1)]));
    let first = request(&mut stream, ask(Listener, &[]));
    let mut refusal = nack(&first[0]);
    refusal.error_detail.as_mut().unwrap().message = "Error adding/updating listener(s) a.b: no such type".into();
    let actions = stream.request(refusal).unwrap();
    let [Action::Report(_, ProxyReport::Nacked { items, .. })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(items.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a.b"]);
    let rest = change(&mut stream, &[(Listener, "a", 1), (Listener, "c", 1)]);
    let actions = stream.request(ack(&rest[0], &[])).unwrap();
    let [Action::Report(_, ProxyReport::Acked { items, .. })] = &actions[..] else { panic!("{actions:?}") };
    let items: Vec<_> = items.clone().into_iter().collect();
    let items: Vec<_> = items.iter().map(|(name, version)| (&**name, version.is_some())).collect();
    assert_eq!(items, [("a", true), ("c", true), ("a.b", false)]);
}

#[test]
fn a_proxy_that_is_found_to_lack_something_is_sent_all_again() {
    let mut stream = open(set(&[(Listener, "a", 1), (Listener, "b", 1)]));
    let first = request(&mut stream, ask(Listener, &[]));
    request(&mut stream, ack(&first[0], &[]));
    assert_eq!(names(&responses(stream.tell_again(&[(Listener, "b".into())]))), ["a", "b"]);
}

#[test]
fn a_proxy_that_has_the_version_is_sent_nothing() {
    let resources = set(&[(Cluster, "a", 1)]);
    let first = request(&mut open(resources.clone()), ask(Cluster, &[]));
    let back = DiscoveryRequest { version_info: first[0].version.to_string(), ..ask(Cluster, &[]) };
    assert_eq!(request(&mut open(resources), back.clone()), []);
    assert_eq!(names(&request(&mut open(set(&[(Cluster, "a", 2)])), back)), ["a"]);
}

#[test]
fn nothing_at_all_is_an_answer_for_clusters_and_none_for_endpoints() {
    let mut stream = open(set(&[]));
    assert_eq!(request(&mut stream, ask(Cluster, &[])).len(), 1);
    assert_eq!(request(&mut stream, ask(Endpoints, &["e"])), []);
}

#[test]
fn what_is_not_known_is_neither_served_nor_taken_away() {
    let mut stream = open(ResourceSet::default());
    assert_eq!(request(&mut stream, ask(Cluster, &[])), []);
    let first = change(&mut stream, &[(Cluster, "c", 1)]);
    assert_eq!(names(&first), ["c"]);
    request(&mut stream, ack(&first[0], &[]));
    assert_eq!(stream.resources(Arc::new(ResourceSet::default())), []);
}

#[test]
fn a_cluster_stays_in_until_the_listener_that_used_it_is_gone() {
    let mut stream = open(set(&[(Cluster, "old", 1), (Listener, "old", 1)]));
    let clusters = request(&mut stream, ask(Cluster, &[]));
    request(&mut stream, ack(&clusters[0], &[]));
    let listeners = request(&mut stream, ask(Listener, &[]));
    request(&mut stream, ack(&listeners[0], &[]));

    let both = change(&mut stream, &[(Cluster, "new", 1), (Listener, "new", 1)]);
    assert_eq!(both.iter().flat_map(described).collect::<Vec<_>>(), [(Cluster, "new".into()), (Cluster, "old".into())]);
    let listeners = request(&mut stream, ack(&both[0], &[]));
    assert_eq!(listeners.iter().flat_map(described).collect::<Vec<_>>(), [(Listener, "new".into())]);
    let clusters = request(&mut stream, ack(&listeners[0], &[]));
    assert_eq!(clusters.iter().flat_map(described).collect::<Vec<_>>(), [(Cluster, "new".into())]);
}
