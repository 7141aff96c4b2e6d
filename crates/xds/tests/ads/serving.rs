//! Proxies of either flavour are served, tracked and kept up to date.

use std::{path::Path, sync::Arc};

use boshy_mesh::MeshSnapshot;
use boshy_xds::{
    AckState, AdsService, CAPTURE, Digest, Flavour, Patience, Proxies, Resource, ResourceMap, ResourceType, Scope,
    SharedResources, names::Name,
};
use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Uri},
};

use crate::{
    driver::{DEADLINE, Delta, NODE, Server, names},
    mesh::{service, snapshot},
};

#[tokio::test]
async fn a_delta_proxy_is_served_watched_and_kept_up_to_date() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    let [first, own] = proxy.shared_and_own().await;
    assert_eq!((names(&first), names(&own)), (vec!["nowhere", "out.web.g.d.boshy|http"], vec!["in.9000"]));
    let version = first.resources[1].version.clone();
    let ack_state = || server.ack_states.of(ResourceType::Cluster, "out.web.g.d.boshy|http", &version);
    assert_eq!(ack_state(), AckState::Pending);

    proxy.answer(&first, None).await;
    proxy.answer(&own, None).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Cluster].accepted.is_some()).await;
    assert_eq!((&*status.node, status.flavour), (NODE, Flavour::Delta));
    assert_eq!(status.types[&ResourceType::Cluster].sent, status.types[&ResourceType::Cluster].accepted);
    assert_eq!((ack_state(), server.ack_states.connected()), (AckState::Acked, 1));

    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("api", 9, &[None]), service("web", 2, &[None])])));
    assert_eq!(names(&proxy.next().await.unwrap()), ["out.api.g.d.boshy|http"]);
    drop(proxy);
    server.deserted().await;
    assert_eq!((server.ack_states.connected(), ack_state()), (0, AckState::Pending));
}

#[tokio::test]
async fn an_agent_that_comes_back_says_in_one_value_what_it_has_and_is_sent_what_changes_from_then_on() {
    let server = Server::with_one_service().await;
    let mut agent = server.delta().await;
    agent.ask(ResourceType::Cluster).await;
    let held: ResourceMap = agent.shared_and_own().await.iter().flat_map(resources).collect();
    drop(agent);
    server.deserted().await;
    let (requests, outgoing) = mpsc::channel(16);
    let opened = server.client().await.delta_aggregated_resources(ReceiverStream::new(outgoing)).await.unwrap();
    assert_eq!(opened.metadata().get("boshy-digest").unwrap(), "1");
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id: NODE.to_owned(), ..Node::default() }),
        type_url: ResourceType::Cluster.url().to_owned(),
        resource_names_subscribe: vec!["*".to_owned()],
        initial_resource_versions: [("*".to_owned(), Digest::of(&held).to_string())].into(),
        ..DeltaDiscoveryRequest::default()
    };
    requests.send(request).await.unwrap();
    server.proxy(|agent| agent.types.contains_key(&ResourceType::Cluster)).await;
    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("api", 9, &[None]), service("web", 2, &[None])])));
    let next = timeout(DEADLINE, opened.into_inner().message()).await.unwrap().unwrap().unwrap();
    assert_eq!(names(&next), ["out.api.g.d.boshy|http"]);
}

fn resources(response: &DeltaDiscoveryResponse) -> Vec<(Arc<str>, Arc<Resource>)> {
    let resource = |one: &envoy_types::pb::envoy::service::discovery::v3::Resource| {
        let body = one.resource.clone().unwrap().value;
        let resource = Resource { name: (*one.name).into(), version: (*one.version).into(), body: body.into() };
        (Arc::clone(&resource.name), Arc::new(resource))
    };
    response.resources.iter().map(resource).collect()
}

#[tokio::test]
async fn a_state_of_the_world_proxy_is_served() {
    let server = Server::with_one_service().await;
    let (requests, outgoing) = mpsc::channel(16);
    let mut client = server.client().await;
    let mut responses = client.stream_aggregated_resources(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    let node = Some(Node { id: NODE.to_owned(), ..Node::default() });
    let type_url = ResourceType::Names.url().to_owned();
    let request = DiscoveryRequest { node, type_url, ..DiscoveryRequest::default() };
    requests.send(request.clone()).await.unwrap();
    let first: DiscoveryResponse = responses.message().await.unwrap().unwrap();
    let Name { host, vip, .. } = Name::decode(&first.resources[0].value).unwrap();
    assert_eq!((host.as_str(), vip.to_string().as_str()), ("web.g.d.boshy", "169.254.255.2"));
    let (version_info, response_nonce) = (first.version_info.clone(), first.nonce.clone());
    requests.send(DiscoveryRequest { version_info, response_nonce, ..request }).await.unwrap();
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Names].accepted.is_some()).await;
    assert_eq!(status.flavour, Flavour::Sotw);
}

#[tokio::test]
async fn before_the_first_snapshot_a_proxy_waits() {
    let server = Server::start(MeshSnapshot::default(), Patience::default()).await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    server.proxy(|proxy| proxy.types.contains_key(&ResourceType::Cluster)).await;
    assert_eq!(server.proxies.list()[0].types[&ResourceType::Cluster].sent, None);
    server.snapshots.send_replace(Arc::new(snapshot(1, &[])));
    assert_eq!(names(&proxy.next().await.unwrap()), ["nowhere"]);
}

#[tokio::test]
async fn a_source_that_ends_takes_nothing_away() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Names).await;
    let first = proxy.next().await.unwrap();
    let Server { snapshots, ref proxies, .. } = server;
    drop(snapshots);
    proxy.answer(&first, None).await;
    proxy.ask(ResourceType::Cluster).await;
    assert_eq!(proxy.shared_and_own().await.map(|response| names(&response).len()), [2, 1]);
    assert_eq!(proxies.count(), 1);
}

#[tokio::test]
async fn at_shutdown_proxies_are_told_and_the_server_ends() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    proxy.shared_and_own().await;
    server.stop.send(()).unwrap();
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::Unavailable);
    drop(proxy);
    timeout(DEADLINE, server.task).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn a_unix_socket_serves_one_set_to_whoever_asks() {
    async fn connect(path: &Path) -> Channel {
        let path = path.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        Endpoint::from_static("http://ads").connect_with_connector(connector).await.unwrap()
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ads.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let shared = SharedResources::build(&snapshot(1, &[service("web", 2, &[None])]), None, CAPTURE);
    let (_sets, set) = watch::channel(Arc::new(shared.for_node(&NODE.parse().unwrap(), Scope::Plain)));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = AdsService::new(set, Proxies::default()).serve_unix(listener, async { drop(stopped.await) });
    let serving = tokio::spawn(serving);
    let mut proxy = Delta::open(AggregatedDiscoveryServiceClient::new(connect(&path).await)).await;
    proxy.ask(ResourceType::Names).await;
    assert_eq!(names(&proxy.next().await.unwrap()), ["web.g.d.boshy"]);
    drop((proxy, stop));
    timeout(DEADLINE, serving).await.expect("the server ends").unwrap().unwrap();
}
