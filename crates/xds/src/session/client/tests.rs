use super::samples::{listener, name, response, vip};
use super::*;

fn held(request: &RequestToPilot) -> (ResourceType, Vec<(&str, &str)>) {
    let RequestToPilot::Subscribe { kind, held, .. } = request else { panic!("no subscription: {request:?}") };
    (*kind, held.iter().map(|(name, version)| (&**name, &**version)).collect())
}

#[test]
fn a_fresh_client_subscribes_to_every_type_with_nothing_in_hand() {
    let requests = DeltaClient::default().subscribe(false, |_, _| false);
    let asked: Vec<_> = requests.iter().map(held).collect();
    assert_eq!(asked, ResourceType::OF_PILOTS.map(|kind| (kind, vec![])));
}

#[test]
fn a_reconnect_says_what_is_held_and_asks_again_for_what_is_in_doubt() {
    let mut client = DeltaClient::default();
    let (a, b) = (listener("a", 1), listener("b", 1));
    client.on_response(response(ResourceType::Listener, "1", &[a.clone(), b], &[])).unwrap();
    let requests = client.subscribe(false, |kind, name| kind == ResourceType::Listener && name == "b");
    let listeners = requests.iter().map(held).find(|(kind, _)| *kind == ResourceType::Listener).unwrap();
    assert_eq!(listeners.1, [("a", &*a.version), ("b", "")]);
}

#[test]
fn a_pilot_that_reads_digests_is_said_one_for_each_type_of_which_nothing_is_in_doubt() {
    let mut client = DeltaClient::default();
    client.on_response(response(ResourceType::Listener, "1", &[listener("a", 1), listener("b", 1)], &[])).unwrap();
    let of_listeners = |doubted: &str| {
        let requests = client.subscribe(true, |kind, name| kind == ResourceType::Listener && name == doubted);
        requests.into_iter().next_back().unwrap()
    };
    let digest = Digest::of(client.held(ResourceType::Listener));
    assert_eq!(of_listeners("another"), RequestToPilot::Claim { kind: ResourceType::Listener, digest });
    assert_eq!(held(&of_listeners("b")).1.len(), 2, "what is in doubt is said by name");
    let others = client.subscribe(true, |_, _| false);
    assert!(others.iter().take(4).all(|request| held(request).1.is_empty()), "of the others, nothing is known");
}

#[test]
fn a_pilot_that_asks_is_told_the_names_and_versions() {
    let mut client = DeltaClient::default();
    let (a, b) = (listener("a", 1), listener("b", 1));
    client.on_response(response(ResourceType::Listener, "1", &[a.clone(), b], &[])).unwrap();
    let asking = response(ResourceType::Listener, "2", &[], &[ASK]);
    assert!(asking.asks());
    let told = client.tell(asking.kind, asking.nonce, |_, name| name == "b").into_wire(None);
    assert_eq!((told.type_url.as_str(), told.response_nonce.as_str()), (ResourceType::Listener.url(), "2"));
    let versions = [("a".to_owned(), a.version.to_string()), ("b".to_owned(), String::new())];
    assert_eq!(told.initial_resource_versions, versions.into());
}

#[test]
fn a_type_is_known_once_all_of_it_came_and_asked_to_be_told_so_before() {
    let mut client = DeltaClient::default();
    let marked = |client: &DeltaClient| -> Vec<ResourceType> {
        let marked = client.subscribe(false, |_, _| false).into_iter().filter_map(|request| match request {
            RequestToPilot::Subscribe { kind, mark, .. } => mark.then_some(kind),
            other => panic!("{other:?}"),
        });
        marked.collect()
    };
    assert_eq!(marked(&client), ResourceType::OF_PILOTS);
    let first = response(ResourceType::Listener, "1", &[listener("a", 1)], &[]);
    client.on_response(ResponseFromPilot { complete: false, ..first }).unwrap();
    assert!(!client.is_known(ResourceType::Listener));
    client.on_response(response(ResourceType::Listener, "2", &[], &[])).unwrap();
    assert!(client.is_known(ResourceType::Listener));
    client
        .on_response(ResponseFromPilot { complete: false, ..response(ResourceType::Listener, "3", &[], &["a"]) })
        .unwrap();
    assert!(client.is_known(ResourceType::Listener));
    assert!(!marked(&client).contains(&ResourceType::Listener));
}

#[test]
fn a_response_changes_what_it_names_and_shares_the_rest() {
    let mut client = DeltaClient::default();
    client.on_response(response(ResourceType::Listener, "1", &[listener("a", 1), listener("b", 1)], &[])).unwrap();
    client.on_response(response(ResourceType::Names, "2", &[name("a.boshy", 1)], &[])).unwrap();
    let before = client.clone();
    let update =
        client.on_response(response(ResourceType::Listener, "3", &[listener("c", 1)], &["b", "never-seen"])).unwrap();
    assert_eq!((update.nonce.as_str(), update.resources.len(), update.removed.len()), ("3", 1, 2));
    let names: Vec<&str> = client.held(ResourceType::Listener).keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(Arc::ptr_eq(client.held(ResourceType::Names), before.held(ResourceType::Names)));
    assert!(Arc::ptr_eq(&client.held(ResourceType::Listener)["a"], &before.held(ResourceType::Listener)["a"]));
}

#[test]
fn names_are_read_once_with_their_addresses() {
    let mut client = DeltaClient::default();
    let update = client.on_response(response(ResourceType::Names, "1", &[name("a.boshy", 7)], &[])).unwrap();
    assert_eq!(update.names, [Name::decode(&name("a.boshy", 7).body).unwrap()]);
    assert_eq!(update.names[0].vip, vip(7));
}

#[test]
fn a_malformed_resource_refuses_the_response_and_leaves_everything_as_it_was() {
    let mut client = DeltaClient::default();
    client.on_response(response(ResourceType::Listener, "1", &[listener("a", 1)], &[])).unwrap();
    let before = client.clone();
    let mut refusal = |kind: ResourceType, resource: Resource| {
        let good = if kind == ResourceType::Names { name("b.boshy", 1) } else { listener("b", 1) };
        let malformed = client.on_response(response(kind, "n", &[good, resource], &["a"])).unwrap_err();
        assert_eq!(client, before);
        assert_eq!((malformed.type_url.as_str(), malformed.nonce.as_str()), (kind.url(), "n"));
        malformed.reason
    };
    let renamed = |resource: Resource| Resource { name: "other".into(), ..resource };
    assert_eq!(refusal(ResourceType::Listener, renamed(listener("x", 1))), r#"resource "other" carries the name "x""#);
    assert_eq!(
        refusal(ResourceType::Names, renamed(name("x.boshy", 1))),
        r#"resource "other" carries the name "x.boshy""#
    );
    assert!(
        refusal(ResourceType::Cluster, Resource::new("x", vec![0xff])).starts_with(r#"resource "x" is no message"#)
    );
    assert!(refusal(ResourceType::Names, Resource::new("x", vec![0xff])).starts_with(r#"resource "x": "#));
}
