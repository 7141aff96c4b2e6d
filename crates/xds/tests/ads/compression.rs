//! Compressed messages: between all pairs of ends that know of them or not, and from a pilot that means harm.

use std::{pin::Pin, sync::Arc};

use boshy_xds::{
    Patience, ResourceType,
    agent::{ExchangeError, ExchangeSettings, PilotStream, StreamEvent, StreamListener, Uri, relay::Stored},
    session::client::RequestToPilot,
};
use envoy_types::pb::{
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    },
    google::protobuf::Any,
};
use futures::Stream;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codec::CompressionEncoding,
    transport::{Channel, Server as Tonic},
};

use crate::{
    driver::{DEADLINE, NODE, Server, names},
    mesh::{service, snapshot},
};

const SERVICES: u8 = 100;

/// A pilot with so many services that a first response about clusters is not small.
async fn pilot() -> Server {
    let services: Vec<_> = (0..SERVICES).map(|number| service(&format!("s{number}"), number, &[None])).collect();
    Server::start(snapshot(1, &services), Patience::default()).await
}

/// The encoding that the pilot says, and its first response about clusters.
async fn first(mut client: AggregatedDiscoveryServiceClient<Channel>) -> (Option<String>, DeltaDiscoveryResponse) {
    let (requests, outgoing) = mpsc::channel(16);
    let opened = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await.unwrap();
    let encoding = opened.metadata().get("grpc-encoding").map(|encoding| encoding.to_str().unwrap().to_owned());
    let subscribe = RequestToPilot::Subscribe { kind: ResourceType::Cluster, held: Vec::new(), mark: false };
    requests.send(subscribe.into_wire(Some(&NODE.parse().unwrap()))).await.unwrap();
    let response = timeout(DEADLINE, opened.into_inner().message()).await.unwrap().unwrap().unwrap();
    (encoding, response)
}

#[tokio::test]
async fn whoever_accepts_gzip_is_told_the_same_as_others() {
    let pilot = pilot().await;
    let (encoding, plain) = first(pilot.client().await).await;
    assert_eq!(encoding, None);
    let accepts = |client: AggregatedDiscoveryServiceClient<_>| client.accept_compressed(CompressionEncoding::Gzip);
    let (encoding, read) = first(accepts(pilot.client().await)).await;
    assert_eq!((encoding.as_deref(), &read), (Some("gzip"), &plain));
    assert!(names(&read).len() >= usize::from(SERVICES));
}

/// Passes on what an agent's stream hears, and asks for clusters.
struct Ear(mpsc::UnboundedSender<StreamEvent>);

impl StreamListener for Ear {
    async fn hear(&self, event: StreamEvent) -> bool {
        if let StreamEvent::Opening { upstream, .. } = &event {
            let subscribe = RequestToPilot::Subscribe { kind: ResourceType::Cluster, held: Vec::new(), mark: false };
            upstream.send(subscribe).await.unwrap();
        }
        self.0.send(event).is_ok()
    }
}

/// The names in the first response that an agent gets of a pilot, or why its stream has ended.
async fn agent_hears(pilot: &str) -> Result<Vec<String>, ExchangeError> {
    let stream = PilotStream {
        node: NODE.parse().unwrap(),
        settings: ExchangeSettings::default(),
        tls: None,
        unanswered: watch::channel(0).1,
        stored: watch::channel(Arc::new(Stored::default())).1,
        avoided: Default::default(),
        connection: watch::Sender::default(),
    };
    let (sender, mut events) = mpsc::unbounded_channel();
    let (pilot, ear): (Uri, _) = (pilot.parse().unwrap(), Ear(sender));
    let first = async {
        // The stream stays open only while what sends the requests is held.
        let mut open = Vec::new();
        loop {
            match events.recv().await.unwrap() {
                StreamEvent::Received(response) => {
                    return Ok(response.unwrap().resources.iter().map(|one| one.name.to_string()).collect());
                }
                StreamEvent::Ended { error, .. } => return Err(error),
                other => open.push(other),
            }
        }
    };
    tokio::select! {
        first = timeout(DEADLINE, first) => first.unwrap(),
        _ = async { stream.run(&pilot, &ear).await; std::future::pending::<()>().await } => unreachable!(),
    }
}

#[tokio::test]
async fn an_agent_reads_what_a_pilot_compresses() {
    assert!(agent_hears(&pilot().await.address).await.unwrap().len() >= usize::from(SERVICES));
}

/// A pilot of another make, which sends one cluster of so many octets.
struct Other(usize);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Other {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let type_url = ResourceType::Cluster.url().to_owned();
        let body = Any { type_url: type_url.clone(), value: vec![0; self.0] };
        let only = Resource { name: "only".into(), version: "1".into(), resource: Some(body), ..Resource::default() };
        let response =
            DeltaDiscoveryResponse { type_url, nonce: "1".into(), resources: vec![only], ..Default::default() };
        let responses = async_stream(response, requests.into_inner());
        Ok(Response::new(Box::pin(responses)))
    }
}

/// One response, and then nothing until the requests end.
fn async_stream(
    response: DeltaDiscoveryResponse,
    requests: Streaming<DeltaDiscoveryRequest>,
) -> impl Stream<Item = Result<DeltaDiscoveryResponse, Status>> {
    use futures::StreamExt;
    futures::stream::iter([Ok(response)]).chain(requests.filter_map(|_| async { None }))
}

/// Starts such a pilot. It ends with the set.
async fn other(octets: usize, compresses: bool) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = AggregatedDiscoveryServiceServer::new(Other(octets));
    let service = if compresses { service.send_compressed(CompressionEncoding::Gzip) } else { service };
    let mut task = JoinSet::new();
    task.spawn(async move {
        Tonic::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
    (address, task)
}

#[tokio::test]
async fn an_agent_reads_a_pilot_that_does_not_compress_and_one_that_does_it_in_another_way() {
    for compresses in [false, true] {
        let (address, _pilot) = other(10_000, compresses).await;
        assert_eq!(agent_hears(&address).await.unwrap(), ["only"]);
    }
}

#[tokio::test]
async fn octets_that_become_too_many_cost_an_agent_its_stream() {
    let (address, _pilot) = other(ExchangeSettings::default().largest_message, true).await;
    let Err(ExchangeError::Receive { source, .. }) = agent_hears(&address).await else { panic!("it was read") };
    assert_eq!(source.code(), Code::ResourceExhausted);
}
