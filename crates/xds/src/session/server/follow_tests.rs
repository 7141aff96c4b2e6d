//! A changed cluster's endpoints are sent again after it, in both flavours.

use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    google::rpc,
};

use super::{test_support::*, *};
use ResourceType::{Cluster, Endpoints};

fn services(edition: u8) -> Arc<ResourceSet> {
    Arc::new(set(&[(Cluster, "out.a", edition), (Cluster, "out.b", 1), (Endpoints, "a", 1), (Endpoints, "b", 1)]))
}

fn told(actions: Vec<Action>) -> Vec<(ResourceType, String)> {
    responses(actions).iter().flat_map(described).collect()
}

fn pairs(told: &[(ResourceType, &str)]) -> Vec<(ResourceType, String)> {
    told.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect()
}

/// The first request of a delta stream for a type, of a proxy that has these resources of the first edition.
fn ask(kind: ResourceType, subscribe: &[&str], had: &[&str]) -> DeltaDiscoveryRequest {
    let version = |name: &&str| ((*name).to_owned(), resource(name, 1).version.to_string());
    DeltaDiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names_subscribe: subscribe.iter().map(ToString::to_string).collect(),
        initial_resource_versions: had.iter().map(version).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// A delta stream whose proxy has accepted everything of the first edition.
fn with_all() -> Session<Delta> {
    let mut stream = Session::<Delta>::new(services(1), Pacing::Answered);
    for (kind, names) in [(Cluster, &[][..]), (Endpoints, &["a", "b"])] {
        let first = responses(stream.request(ask(kind, names, &[])).unwrap()).remove(0);
        stream.request(DeltaDiscoveryRequest { response_nonce: first.nonce, ..ask(kind, &[], &[]) }).unwrap();
    }
    stream
}

fn ask_sotw(kind: ResourceType, names: &[&str], version: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: kind.url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        version_info: version.to_owned(),
        ..DiscoveryRequest::default()
    }
}

#[test]
fn by_delta_the_endpoints_of_a_changed_cluster_follow_it_and_no_others() {
    let mut stream = with_all();
    assert_eq!(told(stream.resources(services(2))), pairs(&[(Cluster, "out.a"), (Endpoints, "a")]));
    assert_eq!(stream.resources(services(2)), []);
}

#[test]
fn by_delta_endpoints_follow_a_cluster_that_comes_back_to_a_proxy_that_has_rejected_its_removal() {
    let mut stream = with_all();
    let without = set(&[(Cluster, "out.b", 1), (Endpoints, "a", 1), (Endpoints, "b", 1)]);
    stream.resources(Arc::new(without));
    let both = ask(Cluster, &["out.a", "out.z"], &[]);
    let removal = responses(stream.request(both).unwrap()).remove(0);
    assert_eq!(described(&removal), pairs(&[(Cluster, "-out.a"), (Cluster, "-out.z")]));
    // On its way before the proxy has answered.
    assert_eq!(told(stream.resources(services(2))), pairs(&[(Cluster, "out.a")]));
    let error_detail = Some(rpc::Status::default());
    let refusal = DeltaDiscoveryRequest { response_nonce: removal.nonce, error_detail, ..ask(Cluster, &[], &[]) };
    let again = told(stream.request(refusal).unwrap());
    assert_eq!(again, pairs(&[(Cluster, "out.a"), (Endpoints, "a")]));
}

#[test]
fn by_delta_no_endpoints_are_sent_twice_to_a_proxy_that_has_none() {
    let mut stream = Session::<Delta>::new(services(1), Pacing::Answered);
    assert_eq!(
        told(stream.request(ask(Endpoints, &["*"], &[])).unwrap()),
        pairs(&[(Endpoints, "a"), (Endpoints, "b")])
    );
    let clusters = told(stream.request(ask(Cluster, &[], &[])).unwrap());
    assert_eq!(clusters, pairs(&[(Cluster, "out.a"), (Cluster, "out.b")]));
}

#[test]
fn by_delta_the_endpoints_of_a_cluster_that_changed_meanwhile_wait_for_a_proxy_that_comes_back() {
    let mut stream = Session::<Delta>::new(services(2), Pacing::Answered);
    let clusters = told(stream.request(ask(Cluster, &[], &["out.a", "out.b"])).unwrap());
    assert_eq!(clusters, pairs(&[(Cluster, "out.a")]));
    let endpoints = told(stream.request(ask(Endpoints, &["a", "b"], &["a", "b"])).unwrap());
    assert!(endpoints.contains(&(Endpoints, "a".to_owned())));
}

#[test]
fn by_delta_endpoints_that_are_gone_are_not_owed() {
    let mut stream = Session::<Delta>::new(services(2), Pacing::Answered);
    stream.request(ask(Cluster, &[], &["out.a", "out.b"])).unwrap();
    assert_eq!(stream.owed.len(), 1);
    stream.resources(Arc::new(set(&[])));
    assert!(stream.owed.is_empty());
}

#[test]
fn by_state_of_the_world_all_endpoints_follow_a_changed_cluster() {
    let mut stream = Session::<Sotw>::new(services(1), Pacing::Answered);
    for (kind, names) in [(Cluster, &[][..]), (Endpoints, &["a", "b"])] {
        let first = responses(stream.request(ask_sotw(kind, names, "")).unwrap()).remove(0);
        let answer = DiscoveryRequest { response_nonce: first.nonce, ..ask_sotw(kind, names, &first.version) };
        assert_eq!(told(stream.request(answer).unwrap()), []);
    }
    let all = [(Cluster, "out.a"), (Cluster, "out.b"), (Endpoints, "a"), (Endpoints, "b")];
    assert_eq!(told(stream.resources(services(2))), pairs(&all));
}

#[test]
fn by_state_of_the_world_they_follow_to_a_proxy_that_comes_back_with_other_clusters() {
    let endpoints = [resource("a", 1), resource("b", 1)].map(|one| (one.name.clone(), one));
    let version = crate::resource::version_of_map(&endpoints.into());
    // A proxy has accepted no clusters as well when it rejected one of the first that it was sent, and took the others.
    for clusters in ["", "another"] {
        let mut stream = Session::<Sotw>::new(services(2), Pacing::Answered);
        stream.request(ask_sotw(Cluster, &[], clusters)).unwrap();
        let endpoints = told(stream.request(ask_sotw(Endpoints, &["a", "b"], &version)).unwrap());
        assert_eq!(endpoints, pairs(&[(Endpoints, "a"), (Endpoints, "b")]), "{clusters:?}");
    }
}

#[test]
fn by_state_of_the_world_they_do_not_follow_to_a_proxy_that_has_all_clusters() {
    let [clusters, endpoints] = [["out.a", "out.b"], ["a", "b"]]
        .map(|names| crate::resource::version_of_map(&names.map(|name| (name.into(), resource(name, 1))).into()));
    let mut stream = Session::<Sotw>::new(services(1), Pacing::Answered);
    assert_eq!(told(stream.request(ask_sotw(Cluster, &[], &clusters)).unwrap()), []);
    assert_eq!(told(stream.request(ask_sotw(Endpoints, &["a", "b"], &endpoints)).unwrap()), []);
}

#[test]
fn by_state_of_the_world_a_new_proxy_is_sent_endpoints_once() {
    let mut stream = Session::<Sotw>::new(services(1), Pacing::Answered);
    stream.request(ask_sotw(Cluster, &[], "")).unwrap();
    let first = responses(stream.request(ask_sotw(Endpoints, &["a", "b"], "")).unwrap()).remove(0);
    let answer = DiscoveryRequest { response_nonce: first.nonce, ..ask_sotw(Endpoints, &["a", "b"], &first.version) };
    assert_eq!(told(stream.request(answer).unwrap()), []);
}

#[test]
fn by_state_of_the_world_endpoints_that_were_rejected_hold_nothing_up_once_the_proxy_has_left_them() {
    let mut stream = Session::<Sotw>::new(services(1), Pacing::Answered);
    let clusters = responses(stream.request(ask_sotw(Cluster, &[], "")).unwrap()).remove(0);
    let answer = DiscoveryRequest { response_nonce: clusters.nonce, ..ask_sotw(Cluster, &[], &clusters.version) };
    stream.request(answer).unwrap();
    let first = responses(stream.request(ask_sotw(Endpoints, &["a", "b"], "")).unwrap()).remove(0);
    let answer = |names| DiscoveryRequest { response_nonce: first.nonce.clone(), ..ask_sotw(Endpoints, names, "") };
    let error = rpc::Status { message: "b: no such type".to_owned(), ..rpc::Status::default() };
    stream.request(DiscoveryRequest { error_detail: Some(error), ..answer(&["a", "b"]) }).unwrap();
    assert_eq!(told(stream.request(answer(&["a"])).unwrap()), []);
    let all = [(Cluster, "out.a"), (Cluster, "out.b"), (Endpoints, "a")];
    assert_eq!(told(stream.resources(services(2))), pairs(&all));
}
