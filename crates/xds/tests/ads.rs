//! The ADS server over real sockets, with a client that is none of ours.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "support/mesh.rs"]
mod mesh;

use std::{path::Path, sync::Arc, time::Duration};

use boshy_mesh::MeshSnapshot;
use boshy_xds::{
    AdsService, CAPTURE, Flavour, MeshSource, Patience, Proxies, ProxyStatus, ResourceSet, ResourceType, Source,
    Verdict, Verdicts,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
};
use mesh::{service, snapshot};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};

const NODE: &str = "sidecar~10.0.0.2~x~x";
const DEADLINE: Duration = Duration::from_secs(20);
const SHORT: Patience = Patience {
    first_request: Duration::from_millis(500),
    answer: Duration::from_millis(500),
    farewell: Duration::from_millis(500),
    ping: Duration::from_secs(30),
};

struct Server {
    address: String,
    snapshots: watch::Sender<Arc<MeshSnapshot>>,
    proxies: Proxies,
    verdicts: Verdicts,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(first: MeshSnapshot, patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        let (proxies, verdicts) = (Proxies::default(), Verdicts::default());
        let source = MeshSource::new(receiver, CAPTURE);
        let service = AdsService::new(source, proxies.clone()).recording(verdicts.clone()).patient(patience);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            service.serve_tcp(listener, shutdown).await.unwrap();
        });
        Self { address, snapshots, proxies, verdicts, stop, task }
    }

    async fn with_one_service() -> Self {
        Self::start(snapshot(1, &[service("web", 2, &[None])]), Patience::default()).await
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        AggregatedDiscoveryServiceClient::connect(self.address.clone()).await.unwrap()
    }

    async fn delta(&self) -> Delta {
        Delta::open(self.client().await).await
    }

    /// Waits until the only proxy is as wanted.
    async fn proxy(&self, wanted: impl Fn(&ProxyStatus) -> bool) -> ProxyStatus {
        let found = async {
            loop {
                if let [proxy] = &self.proxies.list()[..]
                    && wanted(proxy)
                {
                    return proxy.clone();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(DEADLINE, found).await.expect("the proxy comes to be as wanted")
    }

    async fn deserted(&self) {
        let empty = async {
            while self.proxies.count() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(DEADLINE, empty).await.expect("all proxies go");
    }
}

struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    async fn open(mut client: AggregatedDiscoveryServiceClient<Channel>) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn ask(&self, kind: ResourceType) {
        self.subscribe(kind, &[]).await;
    }

    async fn subscribe(&self, kind: ResourceType, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node { id: NODE.to_owned(), ..Node::default() }),
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        let error_detail = error.map(|text| rpc::Status { message: text.to_owned(), ..rpc::Status::default() });
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let message = timeout(DEADLINE, self.responses.message()).await.expect("a response or the end");
        message.map(|message| message.expect("a status at the end"))
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| &*resource.name).collect()
}

#[tokio::test]
async fn a_delta_proxy_is_served_watched_and_kept_up_to_date() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    let first = proxy.next().await.unwrap();
    assert_eq!(names(&first), ["in.9000", "nowhere", "out.web.g.d.boshy|http"]);
    let version = first.resources[2].version.clone();
    let verdict = || server.verdicts.of(ResourceType::Cluster, "out.web.g.d.boshy|http", &version);
    assert_eq!(verdict(), Verdict::Pending);

    proxy.answer(&first, None).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Cluster].accepted.is_some()).await;
    assert_eq!((&*status.node, status.flavour), (NODE, Flavour::Delta));
    assert_eq!(status.types[&ResourceType::Cluster].sent, status.types[&ResourceType::Cluster].accepted);
    assert_eq!((verdict(), server.verdicts.connected()), (Verdict::Accepted, 1));

    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("api", 9, &[None]), service("web", 2, &[None])])));
    assert_eq!(names(&proxy.next().await.unwrap()), ["out.api.g.d.boshy|http"]);
    drop(proxy);
    server.deserted().await;
    assert_eq!((server.verdicts.connected(), verdict()), (0, Verdict::Pending));
}

#[tokio::test]
async fn a_refusal_is_shown_until_the_resource_is_mended() {
    let server = Server::start(snapshot(1, &[]), Patience::default()).await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Listener).await;
    let first = proxy.next().await.unwrap();
    proxy.answer(&first, Some("no such filter")).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Listener].rejected.is_some()).await;
    assert_eq!(status.types[&ResourceType::Listener].rejected.as_ref().unwrap().reason, "no such filter");
    let refused = &first.resources[0];
    let verdict = server.verdicts.of(ResourceType::Listener, &refused.name, &refused.version);
    assert_eq!(verdict, Verdict::Rejected("no such filter".into()));

    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("web", 2, &[])])));
    let second = proxy.next().await.unwrap();
    assert_eq!(names(&second), ["tcp_169.254.255.2_9000"]);
    proxy.answer(&second, None).await;
    let status = server.proxy(|proxy| proxy.types[&ResourceType::Listener].accepted.is_some()).await;
    assert!(status.types[&ResourceType::Listener].rejected.is_some(), "one listener is still withheld");
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
    let (host, vip) = boshy_xds::names::decode(&first.resources[0].value).unwrap();
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
    assert_eq!(names(&proxy.next().await.unwrap()).len(), 3);
    assert_eq!(proxies.count(), 1);
}

#[tokio::test]
async fn a_generation_is_accepted_when_all_who_were_there_have_answered_also_who_has_nothing_to_change() {
    let server = Server::with_one_service().await;
    let (mut changing, mut same) = (server.delta().await, server.delta().await);
    for (proxy, kind) in [(&mut changing, ResourceType::Endpoints), (&mut same, ResourceType::Names)] {
        proxy.subscribe(kind, &["*"]).await;
        let first = proxy.next().await.unwrap();
        proxy.answer(&first, None).await;
    }
    assert_eq!(timeout(DEADLINE, server.proxies.accepted(1)).await.unwrap(), 2);
    let second = tokio::spawn({
        let proxies = server.proxies.clone();
        async move { proxies.accepted(2).await }
    });
    server.snapshots.send_replace(Arc::new(snapshot(2, &[service("web", 2, &[None, None])])));
    let response = changing.next().await.unwrap();
    let one_behind = async {
        while server.proxies.behind(2) != 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, one_behind).await.expect("who has nothing to change has accepted");
    assert!(!second.is_finished());
    changing.answer(&response, None).await;
    assert_eq!(timeout(DEADLINE, second).await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_generation_of_which_a_proxy_refuses_a_part_is_accepted_when_it_leaves() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Names).await;
    let first = proxy.next().await.unwrap();
    proxy.answer(&first, Some("no")).await;
    server.proxy(|proxy| proxy.types.values().any(|kind| kind.rejected.is_some())).await;
    assert_eq!(server.proxies.behind(1), 1);
    let accepted = tokio::spawn({
        let proxies = server.proxies.clone();
        async move { proxies.accepted(1).await }
    });
    drop(proxy);
    assert_eq!(timeout(DEADLINE, accepted).await.unwrap().unwrap(), 0);
}

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

#[tokio::test]
async fn at_shutdown_proxies_are_told_and_the_server_ends() {
    let server = Server::with_one_service().await;
    let mut proxy = server.delta().await;
    proxy.ask(ResourceType::Cluster).await;
    proxy.next().await.unwrap();
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
    let (snapshots, receiver) = watch::channel(Arc::new(snapshot(1, &[service("web", 2, &[None])])));
    let set: watch::Receiver<Arc<ResourceSet>> = MeshSource::new(receiver, CAPTURE).subscribe(&NODE.parse().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = AdsService::new(set, Proxies::default()).serve_unix(listener, async { drop(stopped.await) });
    let serving = tokio::spawn(serving);
    let mut proxy = Delta::open(AggregatedDiscoveryServiceClient::new(connect(&path).await)).await;
    proxy.ask(ResourceType::Names).await;
    assert_eq!(names(&proxy.next().await.unwrap()), ["web.g.d.boshy"]);
    drop((proxy, stop));
    timeout(DEADLINE, serving).await.expect("the server ends").unwrap().unwrap();
    drop(snapshots);
}
