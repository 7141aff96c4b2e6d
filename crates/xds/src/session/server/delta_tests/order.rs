use super::*;

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
fn an_agent_that_waits_itself_is_sent_all_of_a_change_at_once_in_the_order_of_the_types() {
    let service = set(&[(Names, "n", 1), (Cluster, "c", 1), (Endpoints, "e", 1), (Listener, "l", 1)]);
    let mut stream = Stream::new(Arc::new(set(&[])), Pacing::Sent);
    for kind in [Names, Cluster, Endpoints, Listener] {
        let responses = request(&mut stream, ask(kind, &["*"]));
        settle(&mut stream, responses);
    }
    let added = responses(stream.resources(Arc::new(service)));
    let wanted = [(Names, "n"), (Cluster, "c"), (Endpoints, "e"), (Listener, "l")];
    assert_eq!(told(&added), wanted.map(|(kind, name)| (kind, name.to_owned())));
    assert_eq!(stream.accepted(), None);

    let removed = responses(stream.resources(Arc::new(set(&[]))));
    let wanted = [(Names, "-n"), (Listener, "-l"), (Cluster, "-c"), (Endpoints, "-e")];
    assert_eq!(told(&removed), wanted.map(|(kind, name)| (kind, name.to_owned())), "although nothing is answered");
    settle(&mut stream, [added, removed].concat());
    assert!(stream.accepted().is_some());
}
