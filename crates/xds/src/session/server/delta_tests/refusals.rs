use std::collections::BTreeSet;

use super::*;

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
