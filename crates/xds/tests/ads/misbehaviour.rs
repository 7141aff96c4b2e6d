//! Who misbehaves is turned away, alone.

use boshy_xds::ResourceType;
use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Endpoint};

use crate::{
    driver::{DEADLINE, Delta, SHORT, Server},
    mesh::{service, snapshot},
};

#[tokio::test]
async fn who_does_not_say_who_he_is_is_turned_away() {
    let server = Server::with_one_service().await;
    for id in [None, Some("vm-1")] {
        let mut proxy = server.delta().await;
        let node = id.map(|id| Node { id: id.to_owned(), ..Node::default() });
        proxy.requests.send(DeltaDiscoveryRequest { node, ..DeltaDiscoveryRequest::default() }).await.unwrap();
        assert_eq!(proxy.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(server.proxies.count(), 0);
}

#[tokio::test]
async fn who_says_nothing_or_does_not_answer_is_turned_away() {
    let server = Server::start(snapshot(1, &[]), SHORT).await;
    let mut silent = server.delta().await;
    assert_eq!(silent.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    let mut mute = server.delta().await;
    mute.ask(ResourceType::Cluster).await;
    mute.next().await.unwrap();
    assert_eq!(mute.next().await.unwrap_err().code(), Code::DeadlineExceeded);
    server.deserted().await;
}

#[tokio::test]
async fn a_proxy_that_answers_may_be_idle_longer_than_an_answer_may_take() {
    let server = Server::start(snapshot(1, &[]), SHORT).await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    let first = proxy.next().await.unwrap();
    proxy.answer(&first, None).await;
    assert!(timeout(SHORT.answer * 3, proxy.responses.message()).await.is_err(), "the stream stays open");
    proxy.ask(ResourceType::Listener).await;
    let second = proxy.next().await.unwrap();
    proxy.answer(&second, None).await;
    assert!(timeout(SHORT.answer * 2, proxy.responses.message()).await.is_err(), "the stream stays open");
}

#[tokio::test]
async fn the_connection_of_who_does_not_read_is_cut() {
    let services: Vec<_> = (0..2000).map(|index| service(&format!("s{index:04}"), 2, &[None])).collect();
    let server = Server::start(snapshot(1, &services), SHORT).await;
    let endpoint = Endpoint::from_shared(server.address.clone()).unwrap().initial_stream_window_size(1 << 10);
    let mut proxy = Delta::open(AggregatedDiscoveryServiceClient::new(endpoint.connect().await.unwrap())).await;
    proxy.ask(ResourceType::Cluster).await;
    server.proxy(|_| true).await;
    server.deserted().await;
    // Nothing was read, so what ends the stream can only be the end of the connection.
    timeout(DEADLINE, proxy.requests.closed()).await.expect("the connection is cut");
    let end = loop {
        match proxy.next().await {
            Ok(_) => {}
            Err(status) => break status.code(),
        }
    };
    assert_ne!(end, Code::DeadlineExceeded);
}

#[tokio::test]
async fn garbage_ends_what_it_came_on_and_nothing_else() {
    let server = Server::with_one_service().await;
    let mut good = server.delta().await;
    good.ask(ResourceType::Cluster).await;
    let first = good.next().await.unwrap();

    let mut raw = TcpStream::connect(server.address.strip_prefix("http://").unwrap()).await.unwrap();
    raw.write_all(&[0xff; 4096]).await.unwrap();
    let mut rest = Vec::new();
    // Whether the server says goodbye or resets is its transport's affair.
    let ended = timeout(DEADLINE, raw.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection ends");

    let mut grpc =
        tonic::client::Grpc::new(Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap());
    grpc.ready().await.unwrap();
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
    // A node is a discovery request's first field and a string its own: read as a request it is malformed.
    let garbage = Node { user_agent_name: "\u{1}".repeat(200), ..Node::default() };
    let codec = tonic_prost::ProstCodec::<Node, DeltaDiscoveryResponse>::default();
    let outgoing = tokio_stream::once(Node { id: "\u{ff}\u{ff}".into(), ..garbage });
    let mut responses = grpc.streaming(tonic::Request::new(outgoing), path, codec).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap_err().code(), Code::InvalidArgument);

    good.answer(&first, None).await;
    server.proxy(|proxy| proxy.types[&ResourceType::Cluster].accepted.is_some()).await;
}
