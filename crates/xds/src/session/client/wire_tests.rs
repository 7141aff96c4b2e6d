use std::collections::BTreeSet;

use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::*;

use super::*;

const CLUSTERS: &str = ResourceType::Cluster.url();

fn wire(name: &str, type_url: &str) -> WireResource {
    let body = Any { type_url: type_url.to_owned(), value: vec![1, 2, 3] };
    WireResource { name: name.to_owned(), version: "v".to_owned(), resource: Some(body), ..Default::default() }
}

fn message(resources: Vec<WireResource>, removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: CLUSTERS.to_owned(),
        nonce: "n".to_owned(),
        resources,
        removed_resources: removed.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

fn refusal(message: DeltaDiscoveryResponse) -> String {
    let malformed = ResponseFromPilot::from_wire(message).unwrap_err();
    assert_eq!(malformed.nonce, "n");
    malformed.reason
}

#[test]
fn a_response_keeps_versions_as_the_server_gave_them() {
    let response = ResponseFromPilot::from_wire(message(vec![wire("a", CLUSTERS)], &["b"])).unwrap();
    assert_eq!((response.kind, response.nonce.as_str()), (ResourceType::Cluster, "n"));
    assert_eq!((&*response.resources[0].name, &*response.resources[0].version), ("a", "v"));
    assert_eq!(response.resources[0].body, vec![1, 2, 3]);
    assert_eq!(response.removed, ["b".into()]);
}

#[test]
fn a_malformed_response_is_refused_naming_the_resource() {
    let mut unknown = message(vec![], &[]);
    unknown.type_url = "type.googleapis.com/x.Y".to_owned();
    assert_eq!(refusal(unknown), r#"unknown type "type.googleapis.com/x.Y""#);
    assert_eq!(refusal(message(vec![wire("", CLUSTERS)], &[])), "a resource without a name");
    let listener = ResourceType::Listener.url();
    assert_eq!(refusal(message(vec![wire("a", listener)], &[])), format!("resource \"a\" is of type {listener:?}"));
    let empty = WireResource { resource: None, ..wire("a", CLUSTERS) };
    assert_eq!(refusal(message(vec![empty], &[])), r#"resource "a" has no body"#);
    let twice = message(vec![wire("a", CLUSTERS), wire("a", CLUSTERS)], &[]);
    assert_eq!(refusal(twice), r#"resource "a" occurs twice"#);
    assert_eq!(refusal(message(vec![wire("a", CLUSTERS)], &["a"])), r#"resource "a" occurs twice"#);
}

#[test]
fn a_subscription_says_what_is_held_and_only_the_first_message_says_who() {
    let held = vec![("a".into(), "1".into()), ("b".into(), "".into())];
    let request = RequestToPilot::Subscribe { kind: ResourceType::Cluster, held, mark: false };
    let node: NodeId = "sidecar~10.0.0.1~x~y".parse().unwrap();
    let first = request.clone().into_wire(Some(&node));
    assert_eq!(first.node.unwrap().id, "sidecar~10.0.0.1~x~y");
    assert_eq!((first.type_url.as_str(), first.resource_names_subscribe), (CLUSTERS, vec!["*".to_owned()]));
    assert_eq!(first.initial_resource_versions["a"], "1");
    assert_eq!(first.initial_resource_versions["b"], "");
    assert_eq!(first.response_nonce, "");
    assert_eq!(request.into_wire(None).node, None);
}

#[test]
fn the_mark_is_asked_for_last_and_read_as_the_end() {
    let subscribe = RequestToPilot::Subscribe { kind: ResourceType::Cluster, held: vec![], mark: true }.into_wire(None);
    let [all, mark] = &subscribe.resource_names_subscribe[..] else { panic!("{subscribe:?}") };
    assert_eq!(all, "*");
    assert!(!ResponseFromPilot::from_wire(message(vec![wire("a", CLUSTERS)], &["b"])).unwrap().complete);
    let last = ResponseFromPilot::from_wire(message(vec![wire("z", CLUSTERS)], &["b", mark])).unwrap();
    assert!(last.complete);
    assert_eq!(last.removed, ["b".into()]);
    assert!("out.zz|z" < mark.as_str() && "~" < mark.as_str());
}

#[test]
fn a_refusal_carries_its_reason_and_at_most_a_kilobyte_of_it() {
    let refuse = |reason: String| {
        RequestToPilot::Nack { type_url: CLUSTERS.into(), nonce: "n".into(), reason }
            .into_wire(None)
            .error_detail
            .unwrap()
    };
    let short = refuse("no".into());
    assert_eq!((short.code, short.message.as_str()), (3, "no"));
    assert!(refuse("ü".repeat(5000)).message.len() < 1100);
    let accept = RequestToPilot::Ack { type_url: CLUSTERS.into(), nonce: "n".into() }.into_wire(None);
    assert_eq!((accept.error_detail, accept.response_nonce.as_str()), (None, "n"));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(octets: Vec<u8>) {
        let _ = ResponseFromPilot::decode(&octets);
    }

    #[test]
    fn of_a_spoilt_response_no_name_is_read_twice_or_empty(
        spoilt in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut octets = message(vec![wire("a", CLUSTERS), wire("b", CLUSTERS)], &["c", "d"]).encode_to_vec();
        for (at, octet) in spoilt {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        if let Ok(response) = ResponseFromPilot::decode(&octets) {
            let names = || response.resources.iter().map(|resource| &resource.name).chain(&response.removed);
            prop_assert_eq!(names().collect::<BTreeSet<_>>().len(), names().count());
            prop_assert!(response.resources.iter().all(|resource| !resource.name.is_empty()));
        }
    }
}
