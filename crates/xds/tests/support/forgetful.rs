//! A relay between an Envoy and its server that drops a resource from responses. Envoy then acknowledges a response
//! without having received that resource.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use envoy_types::pb::{
    envoy::{
        config::{cluster::v3::Cluster, listener::v3::Listener},
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
        },
    },
    google::protobuf::Any,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::service_fn;

/// A running relay. Dropping it stops the relay.
pub(crate) struct Relay {
    loses: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl Relay {
    /// Stops dropping the resource.
    pub(crate) fn is_mended(&self) {
        self.loses.store(false, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Forwards streams from `socket` to `upstream`, and all responses except for the resource of this name.
pub(crate) async fn relay(socket: &Path, upstream: &Path, name: &str) -> Relay {
    let upstream = upstream.to_owned();
    let connector = service_fn(move |_: Uri| {
        let upstream = upstream.clone();
        async move { UnixStream::connect(upstream).await.map(TokioIo::new) }
    });
    let upstream = Endpoint::from_static("http://ads").connect_with_connector(connector).await.unwrap();
    let loses = Arc::new(AtomicBool::new(true));
    let lossy = Lossy { name: name.to_owned(), loses: Arc::clone(&loses) };
    let service = AggregatedDiscoveryServiceServer::new(Forgetful { upstream, lossy });
    let listener = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    let server = Server::builder().add_service(service).serve_with_incoming(listener);
    Relay { loses, server: tokio::spawn(async move { server.await.unwrap() }) }
}

struct Forgetful {
    upstream: Channel,
    lossy: Lossy,
}

#[derive(Clone)]
struct Lossy {
    name: String,
    loses: Arc<AtomicBool>,
}

impl Lossy {
    fn passes(&self, name: &str) -> bool {
        name != self.name || !self.loses.load(Ordering::Relaxed)
    }
}

/// The name of a listener or cluster; empty for other types, of which nothing is dropped.
fn name_of(resource: &Any) -> String {
    match resource.type_url.rsplit('.').next() {
        Some("Listener") => Listener::decode(&*resource.value).unwrap().name,
        Some("Cluster") => Cluster::decode(&*resource.value).unwrap().name,
        _ => String::new(),
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The requests of a stream, until it ends or fails.
fn requests<T: Send + 'static>(request: Request<Streaming<T>>) -> impl Stream<Item = T> + Send + 'static {
    request.into_inner().map_while(Result::ok)
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Forgetful {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (mut upstream, lossy) = (AggregatedDiscoveryServiceClient::new(self.upstream.clone()), self.lossy.clone());
        let responses = upstream.stream_aggregated_resources(requests(request)).await?.into_inner();
        let passed = move |response: DiscoveryResponse| {
            let resources = response.resources.into_iter().filter(|one| lossy.passes(&name_of(one))).collect();
            DiscoveryResponse { resources, ..response }
        };
        Ok(Response::new(Box::pin(responses.map(move |response| response.map(&passed)))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (mut upstream, lossy) = (AggregatedDiscoveryServiceClient::new(self.upstream.clone()), self.lossy.clone());
        let responses = upstream.delta_aggregated_resources(requests(request)).await?.into_inner();
        let passed = move |response: DeltaDiscoveryResponse| {
            let resources = response.resources.into_iter().filter(|one| lossy.passes(&one.name)).collect();
            DeltaDiscoveryResponse { resources, ..response }
        };
        Ok(Response::new(Box::pin(responses.map(move |response| response.map(&passed)))))
    }
}
