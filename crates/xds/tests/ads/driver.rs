//! A server on its own port, and a proxy whose messages the test decides.

use std::{sync::Arc, time::Duration};

use boshy_mesh::MeshSnapshot;
use boshy_xds::{AckStates, AdsService, CAPTURE, MeshSource, Patience, Proxies, ProxyStatus, ResourceType, Source};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::mesh::{service, snapshot};

pub(crate) const NODE: &str = "sidecar~10.0.0.2~x~x";
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const SHORT: Patience = Patience {
    first_request: Duration::from_millis(500),
    answer: Duration::from_millis(500),
    farewell: Duration::from_millis(500),
    ping: Duration::from_secs(30),
};

pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) snapshots: watch::Sender<Arc<MeshSnapshot>>,
    pub(crate) proxies: Proxies,
    pub(crate) ack_states: AckStates,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(first: MeshSnapshot, patience: Patience) -> Self {
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        Self { snapshots, ..Self::serving(MeshSource::new(receiver, CAPTURE), patience).await }
    }

    /// Serves another source. The channel of snapshots is not used.
    pub(crate) async fn serving(source: impl Source, patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (snapshots, _) = watch::channel(Arc::default());
        let (proxies, ack_states) = (Proxies::default(), AckStates::default());
        let service = AdsService::new(source, proxies.clone()).recording(ack_states.clone()).patient(patience);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            service.serve_tcp(listener, shutdown).await.unwrap();
        });
        Self { address, snapshots, proxies, ack_states, stop, task }
    }

    pub(crate) async fn with_one_service() -> Self {
        Self::start(snapshot(1, &[service("web", 2, &[None])]), Patience::default()).await
    }

    pub(crate) async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        AggregatedDiscoveryServiceClient::connect(self.address.clone()).await.unwrap()
    }

    pub(crate) async fn delta(&self) -> Delta {
        Delta::open(self.client().await).await
    }

    /// Waits until the only proxy has the wanted status.
    pub(crate) async fn proxy(&self, wanted: impl Fn(&ProxyStatus) -> bool) -> ProxyStatus {
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

    pub(crate) async fn deserted(&self) {
        let empty = async {
            while self.proxies.count() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(DEADLINE, empty).await.expect("all proxies go");
    }
}

pub(crate) struct Delta {
    pub(crate) requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(crate) responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    pub(crate) async fn open(mut client: AggregatedDiscoveryServiceClient<Channel>) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    pub(crate) async fn ask(&self, kind: ResourceType) {
        self.subscribe(kind, &[]).await;
    }

    pub(crate) async fn subscribe(&self, kind: ResourceType, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            node: Some(Node { id: NODE.to_owned(), ..Node::default() }),
            type_url: kind.url().to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        let error_detail = error.map(|text| rpc::Status { message: text.to_owned(), ..rpc::Status::default() });
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(request).await.unwrap();
    }

    /// The first responses of a type: what all proxies have, and what only this node has.
    pub(crate) async fn shared_and_own(&mut self) -> [DeltaDiscoveryResponse; 2] {
        [self.next().await.unwrap(), self.next().await.unwrap()]
    }

    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let message = timeout(DEADLINE, self.responses.message()).await.expect("a response or the end");
        message.map(|message| message.expect("a status at the end"))
    }
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| &*resource.name).collect()
}
