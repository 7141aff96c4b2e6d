use super::*;

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
fn a_type_that_is_not_served_is_reported_once_and_costs_the_stream_nothing() {
    let mut stream = open(set(&[(Cluster, "c", 1)]));
    let unknown = || DeltaDiscoveryRequest { type_url: "x/y".to_owned(), ..DeltaDiscoveryRequest::default() };
    assert_eq!(stream.request(unknown()).unwrap(), [Action::Ignore("x/y".to_owned())]);
    assert_eq!(stream.request(unknown()).unwrap(), []);
    assert_eq!(told(&request(&mut stream, ask(Cluster, &[]))), [(Cluster, "c".into())]);
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
