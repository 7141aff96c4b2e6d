//! A misbehaving client is disconnected, and no other client is affected.

use std::sync::Arc;

use boshy_identity::PrivateKey;
use boshy_mesh::{Timestamp, Workload};
use boshy_xds::{Identity, NotItsOwn, Peer, ResourceSet, ResourceType, Sets, Source, WorkloadIdentity};
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
    sync::watch,
    time::timeout,
};
use tonic::{
    Code,
    transport::{Endpoint, Uri},
};

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

/// A source whose proxies all show another VM's certificate.
struct Strangers(watch::Receiver<Arc<ResourceSet>>);

impl Source for Strangers {
    fn subscribe(&self, peer: &Peer) -> Sets {
        self.0.subscribe(peer)
    }

    fn admit(&self, peer: &Peer) -> Result<(), NotItsOwn> {
        let workload = WorkloadIdentity {
            spiffe_id: "spiffe://boshy/ns/shop/sa/web".parse().unwrap(),
            dns_name: "one.boshy".into(),
            key: PrivateKey::generate().unwrap().hash(),
            valid: (Timestamp(0), Timestamp(1)),
        };
        let identity = Some(Identity { subject: "".into(), workload: Some(workload) });
        Peer { identity, ..peer.clone() }.owns(&Workload { id: "two".into(), ..Workload::default() })
    }
}

#[tokio::test]
async fn who_asks_for_what_is_another_vms_is_turned_away_and_counted() {
    let (_sets, receiver) = watch::channel(Arc::default());
    let server = Server::serving(Strangers(receiver), SHORT).await;
    let mut stranger = server.delta().await;
    stranger.ask(ResourceType::Cluster).await;
    assert_eq!(stranger.next().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!((server.proxies.refused(), server.proxies.count()), (1, 0));
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

/// What a client sends before it falls silent: nothing, half a preface, or a whole one (RFC 9113, 3.4) with its
/// SETTINGS frame.
const PREFACES: [&[u8]; 3] = [b"", b"PRI * HTTP/2.0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"];

async fn silent(server: &Server, said: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(server.address.strip_prefix("http://").unwrap()).await.unwrap();
    socket.write_all(said).await.unwrap();
    socket
}

/// Reads until the server ends the connection in any way.
async fn is_cut(mut socket: TcpStream) {
    let mut said = Vec::new();
    let ended = timeout(DEADLINE, socket.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection is still open after {DEADLINE:?}");
}

#[tokio::test]
async fn connections_over_which_nothing_is_asked_are_cut_and_one_over_which_something_was_is_kept() {
    let server = Server::start(snapshot(1, &[]), SHORT).await;
    let mut good = server.delta().await;
    good.ask(ResourceType::Cluster).await;
    let first = good.next().await.unwrap();
    good.answer(&first, None).await;
    let mut sockets = Vec::new();
    for said in PREFACES {
        sockets.push(silent(&server, said).await);
    }
    for socket in sockets {
        is_cut(socket).await;
    }
    good.ask(ResourceType::Listener).await;
    good.next().await.unwrap();
    assert_eq!(server.proxies.count(), 1);
}

#[tokio::test]
async fn a_connection_whose_last_stream_ended_is_cut() {
    let server = Server::start(snapshot(1, &[]), SHORT).await;
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let address = server.address.strip_prefix("http://").unwrap().to_owned();
    // A proxy between the two shows which side ends the connection.
    let between = tokio::spawn(async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        tokio::io::copy_bidirectional(&mut far, &mut socket).await
    });
    let mut near = Some(hyper_util::rt::TokioIo::new(near));
    let connector = tower::service_fn(move |_: Uri| {
        let near = near.take().ok_or(std::io::Error::other("one connection only"));
        async move { near }
    });
    let channel = Endpoint::from_static("http://ads").connect_with_connector(connector).await.unwrap();
    let mut proxy = Delta::open(AggregatedDiscoveryServiceClient::new(channel.clone())).await;
    proxy.ask(ResourceType::Cluster).await;
    proxy.next().await.unwrap();
    drop(proxy.requests);
    server.deserted().await;
    // The client keeps its end open and makes no further request.
    let ended = timeout(DEADLINE, between).await;
    assert!(ended.is_ok(), "the connection is still open after {DEADLINE:?}");
    drop(channel);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_not_even_of_their_address() {
    let server = Server::with_one_service().await;
    let mut sockets = Vec::new();
    for _ in 0..400 {
        sockets.push(silent(&server, PREFACES[2]).await);
    }
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Names).await;
    proxy.next().await.unwrap();
    // Further silent connections displace each other, and not the one in use.
    for _ in 0..400 {
        sockets.push(silent(&server, b"").await);
    }
    proxy.ask(ResourceType::Cluster).await;
    proxy.next().await.unwrap();
    is_cut(sockets.swap_remove(0)).await;
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
    // Nothing was read, so only the end of the connection can have ended the stream.
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
    // The transport may either send GOAWAY or reset the connection.
    let ended = timeout(DEADLINE, raw.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection ends");

    let mut grpc =
        tonic::client::Grpc::new(Endpoint::from_shared(server.address.clone()).unwrap().connect().await.unwrap());
    grpc.ready().await.unwrap();
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources".parse().unwrap();
    // A discovery request's first field is a node, and a node's first field is a string. So a node sent in place of a
    // request is malformed.
    let garbage = Node { user_agent_name: "\u{1}".repeat(200), ..Node::default() };
    let codec = tonic_prost::ProstCodec::<Node, DeltaDiscoveryResponse>::default();
    let outgoing = tokio_stream::once(Node { id: "\u{ff}\u{ff}".into(), ..garbage });
    let mut responses = grpc.streaming(tonic::Request::new(outgoing), path, codec).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap_err().code(), Code::InvalidArgument);

    good.answer(&first, None).await;
    server.proxy(|proxy| proxy.types[&ResourceType::Cluster].accepted.is_some()).await;
}
