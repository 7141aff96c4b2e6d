use super::*;

#[test]
fn a_large_answer_is_split_and_the_window_bounds_what_is_unanswered() {
    let names: Vec<String> = (0..3000).map(|index| format!("{index:04}-{}", "x".repeat(60))).collect();
    let entries: Vec<_> = names.iter().map(|name| (Cluster, name.as_str(), 1)).collect();
    let mut stream = open(set(&entries));
    let mut open = request(&mut stream, ask(Cluster, &[]));
    assert_eq!(open.len(), 4);
    let mut sent = 0;
    while let Some(response) = open.pop() {
        let octets = response.encoded().concat().len();
        assert!(octets <= 32 << 10, "{octets}");
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
fn a_stream_that_subscribes_without_bound_is_closed() {
    let mut stream = open(set(&[]));
    let many = || -> Vec<String> { (0..40_000).map(|index| format!("{index:0>200}")).collect() };
    let request = DeltaDiscoveryRequest { resource_names_subscribe: many(), ..ask(Endpoints, &[]) };
    assert!(matches!(stream.request(request), Err(Close::TooManyNames(_))));
}
