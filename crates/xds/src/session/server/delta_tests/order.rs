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
