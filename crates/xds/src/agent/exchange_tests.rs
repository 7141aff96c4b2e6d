//! Tests the exchange over loopback with pilots whose messages the test decides.

use std::{
    future::{self, Future},
    net::SocketAddr,
    pin::Pin,
};

use boshy_backoff::Backoff;
use envoy_types::pb::{
    envoy::service::discovery::v3::{
        DiscoveryRequest, DiscoveryResponse, Resource as WireResource,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
    google::protobuf::Any,
};
use futures::Stream;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{AbortHandle, JoinSet},
};
use tokio_stream::wrappers::TcpListenerStream;

use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::*;
use crate::{
    Resource, ResourceType,
    ack_states::StreamAckStates,
    agent,
    agent::{
        ExchangeSettings, ExchangeStatus, PickerSettings,
        relay::{RelaySettings, Stored},
    },
    session::client::samples::{listener, name, vip},
};

#[path = "../../tests/support/exchange.rs"]
mod driver;

const DEADLINE: Duration = Duration::from_secs(20);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream as the pilot sees it.
struct Talk {
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl Talk {
    async fn request(&mut self) -> DeltaDiscoveryRequest {
        within(self.requests.message()).await.unwrap().expect("the agent ended the stream")
    }

    async fn send(&self, kind: ResourceType, nonce: &str, resources: &[Resource], removed: &[&str]) {
        let resource = |resource: &Resource| WireResource {
            name: resource.name.to_string(),
            version: resource.version.to_string(),
            resource: Some(Any { type_url: kind.url().to_owned(), value: resource.body.to_vec() }),
            ..Default::default()
        };
        let response = DeltaDiscoveryResponse {
            type_url: kind.url().to_owned(),
            nonce: nonce.to_owned(),
            system_version_info: format!("version of {nonce}"),
            resources: resources.iter().map(resource).collect(),
            removed_resources: removed.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
    }

    /// Receives the subscriptions with which a stream begins.
    async fn subscriptions(&mut self) -> Vec<DeltaDiscoveryRequest> {
        let mut subscriptions = Vec::new();
        for _ in ResourceType::OF_PILOTS {
            subscriptions.push(self.request().await);
        }
        subscriptions
    }

    /// Reports that each type is complete, and receives the acknowledgements.
    async fn complete(&mut self) {
        for kind in ResourceType::OF_PILOTS {
            self.send(kind, "end", &[], &["\u{10ffff}"]).await;
            assert_eq!(self.answer().await, ("end".to_owned(), None));
        }
    }

    async fn answer(&mut self) -> (String, Option<String>) {
        let request = self.request().await;
        (request.response_nonce, request.error_detail.map(|error| error.message))
    }
}

#[derive(Clone)]
struct Script(mpsc::Sender<Talk>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: tonic::Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Answers<DiscoveryResponse>>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        call: tonic::Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Answers<DeltaDiscoveryResponse>>, Status> {
        let (responses, answers) = mpsc::channel(16);
        let talk = Talk { requests: call.into_inner(), responses };
        self.0.send(talk).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

/// A pilot on its own port. Dropping it stops it.
struct Pilot {
    address: SocketAddr,
    talks: mpsc::Receiver<Talk>,
    _tasks: JoinSet<()>,
}

impl Pilot {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (script, talks) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let service = AggregatedDiscoveryServiceServer::new(Script(script));
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, talks, _tasks: tasks }
    }

    async fn talk(&mut self) -> Talk {
        within(self.talks.recv()).await.expect("the pilot runs")
    }
}

/// The agent's side, with a proxy whose answers the test decides.
struct Agent {
    outlets: Outlets,
    ack_states: AckStates,
    task: AbortHandle,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agent {
    fn start(pilots: &[SocketAddr]) -> Self {
        Self::restart(pilots, Stored::default())
    }

    fn restart(pilots: &[SocketAddr], stored: Stored) -> Self {
        Self::with(ExchangeSettings::default(), pilots, stored)
    }

    fn with(settings: ExchangeSettings, pilots: &[SocketAddr], stored: Stored) -> Self {
        let (outlets, ack_states) = (Outlets::default(), AckStates::default());
        let relay = Relay::new(RelaySettings::default(), stored);
        outlets.names.send_replace(Arc::new(relay.answered()));
        let exchange = Exchange::new(relay, ack_states.clone(), outlets.clone());
        let node = "sidecar~10.0.0.1~x~y".parse().unwrap();
        let pilots = pilots.iter().map(|address| format!("http://{address}").parse().unwrap()).collect();
        let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_secs(30), jitter: 0.5 };
        let picker = PickerSettings { backoff, ..PickerSettings::default() };
        let task = tokio::spawn(driver::converse(
            node,
            exchange,
            settings,
            pilots,
            picker,
            ack_states.clone(),
            outlets.clone(),
        ));
        Self { outlets, ack_states, task: task.abort_handle() }
    }

    fn proxy(&self) -> StreamAckStates {
        let proxy = self.ack_states.open();
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            proxy.subscribed(kind);
        }
        proxy
    }

    async fn answers(&self, host: &str, vip: Option<std::net::Ipv4Addr>) {
        until(&self.outlets.names, |names| names.get(host) == vip).await;
    }

    async fn serves(&self, kind: ResourceType, resource: &Resource) {
        until(&self.outlets.served, |served| served.of(kind).get(&resource.name).is_some_and(|r| **r == *resource))
            .await;
    }

    async fn status(&self, condition: impl Fn(&ExchangeStatus) -> bool) -> ExchangeStatus {
        until(&self.outlets.status, condition).await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("the deadline has passed")
}

async fn until<T: Clone>(outlet: &watch::Sender<T>, condition: impl Fn(&T) -> bool) -> T {
    let mut values = outlet.subscribe();
    within(values.wait_for(condition)).await.unwrap().clone()
}

fn item(resource: &Resource) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&resource.name), Arc::clone(&resource.version))
}

fn accept(proxy: &StreamAckStates, kind: ResourceType, resource: &Resource) {
    let (name, version) = item(resource);
    proxy.acked(kind, [(name, Some(version))]);
}

fn cluster() -> Resource {
    listener("out.a.boshy|http", 1)
}

fn tcp(edition: u32) -> Resource {
    listener("tcp_169.254.255.1_80", edition)
}

/// Brings pilot and agent to the state in which `a.boshy` is answered.
async fn synchronise(pilot: &mut Pilot, agent: &Agent) -> (Talk, StreamAckStates) {
    let mut talk = pilot.talk().await;
    talk.subscriptions().await;
    talk.complete().await;
    let proxy = agent.proxy();
    talk.send(ResourceType::Names, "1", &[name("a.boshy", 1)], &[]).await;
    assert_eq!(talk.answer().await, ("1".to_owned(), None));
    for (kind, nonce, resource) in [(ResourceType::Cluster, "2", cluster()), (ResourceType::Listener, "3", tcp(1))] {
        talk.send(kind, nonce, std::slice::from_ref(&resource), &[]).await;
        agent.serves(kind, &resource).await;
        assert_eq!(agent.outlets.names.borrow().get("a.boshy"), None);
        accept(&proxy, kind, &resource);
        assert_eq!(talk.answer().await, (nonce.to_owned(), None));
    }
    agent.answers("a.boshy", Some(vip(1))).await;
    (talk, proxy)
}

#[tokio::test]
async fn a_fresh_agent_asks_for_everything_and_answers_a_name_once_the_proxy_is_ready() {
    let mut pilot = Pilot::start().await;
    let agent = Agent::start(&[pilot.address]);
    let mut talk = pilot.talk().await;
    let subscriptions = talk.subscriptions().await;
    let urls: Vec<_> = subscriptions.iter().map(|request| request.type_url.as_str()).collect();
    assert_eq!(urls, ResourceType::OF_PILOTS.map(ResourceType::url));
    let nodes: Vec<_> =
        subscriptions.iter().map(|request| request.node.as_ref().map(|node| node.id.as_str())).collect();
    assert_eq!(nodes, [Some("sidecar~10.0.0.1~x~y"), None, None, None, None]);
    assert!(subscriptions.iter().all(|request| request.resource_names_subscribe[0] == "*"));
    drop(talk);
    synchronise(&mut pilot, &agent).await;
    let status = agent.status(|status| status.names.answered == 1).await;
    assert_eq!(status.pilot, Some(format!("http://{}/", pilot.address)));
    assert_eq!(status.known, ResourceType::OF_PILOTS);
    assert_eq!(status.versions[&ResourceType::Listener], "version of 3");
}

#[tokio::test]
async fn a_refusal_by_the_proxy_reaches_the_pilot_and_the_status() {
    let mut pilot = Pilot::start().await;
    let agent = Agent::start(&[pilot.address]);
    let (mut talk, proxy) = synchronise(&mut pilot, &agent).await;
    talk.send(ResourceType::Listener, "4", &[tcp(2)], &[]).await;
    agent.serves(ResourceType::Listener, &tcp(2)).await;
    proxy.nacked(ResourceType::Listener, [item(&tcp(2))], "no such filter");
    assert_eq!(talk.answer().await, ("4".to_owned(), Some("tcp_169.254.255.1_80: no such filter".to_owned())));
    agent.serves(ResourceType::Listener, &tcp(1)).await;
    let status = agent.status(|status| status.nack_count > 0).await;
    assert_eq!(&*status.nacks[0].reason, "no such filter");
    assert_eq!(status.names.answered, 1);
}

#[tokio::test]
async fn a_malformed_response_is_refused_and_the_stream_goes_on() {
    let mut pilot = Pilot::start().await;
    let agent = Agent::start(&[pilot.address]);
    let (mut talk, _proxy) = synchronise(&mut pilot, &agent).await;
    talk.send(ResourceType::Names, "4", &[Resource::new("b.boshy", vec![0xff])], &["a.boshy"]).await;
    assert!(matches!(talk.answer().await, (nonce, Some(reason)) if nonce == "4" && reason.contains("b.boshy")));
    assert_eq!(agent.outlets.names.borrow().get("a.boshy"), Some(vip(1)));
    talk.send(ResourceType::Names, "5", &[], &["a.boshy"]).await;
    assert_eq!(talk.answer().await, ("5".to_owned(), None));
    agent.answers("a.boshy", None).await;
}

#[tokio::test]
async fn a_dead_pilot_takes_nothing_along_and_the_next_one_is_told_what_is_held() {
    let (mut first, mut second) = (Pilot::start().await, Pilot::start().await);
    let agent = Agent::start(&[first.address, second.address]);
    let (talk, _proxy) = synchronise(&mut first, &agent).await;
    let served = agent.outlets.served.borrow().clone();
    drop((first, talk));
    let mut talk = second.talk().await;
    let held: Vec<_> =
        talk.subscriptions().await.into_iter().map(|request| request.initial_resource_versions).collect();
    let [names, clusters, endpoints, routes, listeners] = &held[..] else { panic!("{held:?}") };
    assert_eq!(names["a.boshy"], *name("a.boshy", 1).version);
    assert_eq!(clusters["out.a.boshy|http"], *cluster().version);
    assert_eq!(listeners["tcp_169.254.255.1_80"], *tcp(1).version);
    assert!(endpoints.is_empty() && routes.is_empty());
    let status = agent.status(|status| status.pilot == Some(format!("http://{}/", second.address))).await;
    assert!(status.last_error.is_some());
    assert_eq!(*agent.outlets.served.borrow(), served);
    assert_eq!(agent.outlets.names.borrow().get("a.boshy"), Some(vip(1)));
    talk.send(ResourceType::Names, "1", &[], &["a.boshy"]).await;
    agent.answers("a.boshy", None).await;
}

#[tokio::test]
async fn an_agent_without_any_pilot_works_from_what_was_stored_and_follows_its_proxy() {
    let mut pilot = Pilot::start().await;
    let agent = Agent::start(&[pilot.address]);
    let (mut talk, _proxy) = synchronise(&mut pilot, &agent).await;
    talk.send(ResourceType::Names, "4", &[name("b.boshy", 2)], &[]).await;
    assert_eq!(talk.answer().await, ("4".to_owned(), None));
    talk.send(ResourceType::Cluster, "5", &[listener("out.b.boshy|http", 1)], &[]).await;
    agent.serves(ResourceType::Cluster, &listener("out.b.boshy|http", 1)).await;
    let stored = until(&agent.outlets.stored, |stored| stored.answered().len() == 1).await;
    let nowhere = pilot.address;
    drop((agent, talk, pilot));

    let agent = Agent::restart(&[nowhere], Stored::decode(&stored.encode()).unwrap());
    assert_eq!(agent.outlets.names.borrow().get("a.boshy"), Some(vip(1)));
    assert!(agent.outlets.served.borrow().of(ResourceType::Listener).get("tcp_169.254.255.1_80").is_some());
    let status = agent.status(|status| status.last_error.is_some()).await;
    assert_eq!(status.pilot, None);
    assert!(status.last_error.unwrap().starts_with(&format!("connecting to the pilot http://{nowhere}/: ")));
    let proxy = agent.proxy();
    proxy.nacked(ResourceType::Listener, [item(&tcp(1))], "no such filter");
    until(&agent.outlets.served, |served| served.of(ResourceType::Listener).is_empty()).await;
    agent.answers("a.boshy", None).await;
}

/// Forwards bytes to a pilot until it is told to hold them back; the sockets stay open.
async fn frozen_way(to: SocketAddr, freeze: Arc<Notify>, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = freeze.notified() => future::pending().await,
        }
    });
    address
}

#[tokio::test]
async fn a_pilot_that_falls_silent_is_left_for_the_next_one() {
    let (mut first, mut second) = (Pilot::start().await, Pilot::start().await);
    let (freeze, mut tasks) = (Arc::new(Notify::new()), JoinSet::new());
    let way = frozen_way(first.address, Arc::clone(&freeze), &mut tasks).await;
    let settings = ExchangeSettings {
        keepalive_interval: Duration::from_millis(300),
        keepalive_timeout: Duration::from_secs(1),
        ..ExchangeSettings::default()
    };
    let agent = Agent::with(settings, &[way, second.address], Stored::default());
    let (_talk, _proxy) = synchronise(&mut first, &agent).await;
    freeze.notify_one();
    let mut talk = second.talk().await;
    assert_eq!(talk.subscriptions().await.len(), ResourceType::OF_PILOTS.len());
    assert_eq!(agent.outlets.names.borrow().get("a.boshy"), Some(vip(1)));
}
