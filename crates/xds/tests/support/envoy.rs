//! A delta ADS client that behaves like Envoy. It asks for clusters first, then for the endpoints of its clusters by
//! name, and for listeners once the first clusters are there. Of a rejected response it applies the good resources. It
//! answers about clusters once their endpoints are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use boshy_mesh::NameTable;
use boshy_xds::{ResourceSet, ResourceType};
use envoy_types::pb::{
    envoy::{
        config::{core::v3::Node, listener::v3::Listener},
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc::Status,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Streaming,
    transport::{Endpoint, Uri},
};
use tower::service_fn;

/// Versions by name of each type.
pub(crate) type Holding = BTreeMap<ResourceType, BTreeMap<String, String>>;

/// The visible state of a proxy.
#[derive(Clone, Default)]
struct State {
    holding: Holding,
    received: usize,
    removed: usize,
    complaints: Vec<String>,
}

/// A running proxy. Dropping it stops it.
pub(crate) struct Envoy {
    state: watch::Receiver<State>,
    _task: JoinSet<()>,
}

struct Client {
    requests: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    names: watch::Receiver<Arc<NameTable>>,
    state: watch::Sender<State>,
    /// `NAME=STAT_PREFIX` of listeners to be rejected.
    refused: BTreeSet<String>,
    asked: BTreeSet<ResourceType>,
    /// Answers about clusters that wait for endpoints: of new clusters, and anew of changed ones.
    cold: Vec<(BTreeSet<String>, DeltaDiscoveryRequest)>,
}

impl Envoy {
    /// Connects to an agent. It complains about each name that DNS still answers when the name's listener is removed.
    pub(crate) fn start(
        socket: PathBuf,
        names: watch::Receiver<Arc<NameTable>>,
        holding: Holding,
        refused: &[&str],
    ) -> Self {
        let (sender, state) = watch::channel(State { holding, ..State::default() });
        let refused = refused.iter().map(ToString::to_string).collect();
        let mut task = JoinSet::new();
        task.spawn(run(socket, names, sender, refused));
        Self { state, _task: task }
    }

    /// Connects to an agent, asks for clusters and listeners, and answers nothing.
    pub(crate) fn silent(socket: PathBuf) -> Self {
        let (_, state) = watch::channel(State::default());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (requests, outbound) = mpsc::unbounded_channel();
            for kind in [ResourceType::Cluster, ResourceType::Listener] {
                requests.send(first_request(kind, &BTreeMap::new())).unwrap();
            }
            let mut responses = open(socket, outbound).await;
            while let Ok(Some(_)) = responses.message().await {}
        });
        Self { state, _task: task }
    }

    /// Waits until it has exactly this.
    pub(crate) async fn holds(&mut self, set: &ResourceSet) {
        let versions = |kind: ResourceType| {
            set.of(kind).iter().map(|r| (r.name.to_string(), r.version.to_string())).collect::<BTreeMap<_, _>>()
        };
        let kinds = [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener];
        let expected: Holding = kinds.map(|kind| (kind, versions(kind))).into();
        super::wait::until(&mut self.state, |state| state.holding == expected).await;
    }

    /// Its resources.
    pub(crate) fn holding(&self) -> Holding {
        self.state.borrow().holding.clone()
    }

    /// Number of resources that it was sent.
    pub(crate) fn received(&self) -> usize {
        self.state.borrow().received
    }

    /// Number of names that it was told are removed.
    pub(crate) fn removed(&self) -> usize {
        self.state.borrow().removed
    }

    /// Names that DNS still answered when their listeners were removed.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.state.borrow().complaints.clone()
    }
}

async fn run(
    socket: PathBuf,
    names: watch::Receiver<Arc<NameTable>>,
    state: watch::Sender<State>,
    refused: BTreeSet<String>,
) {
    let (requests, outbound) = mpsc::unbounded_channel();
    let mut client = Client { requests, names, state, refused, asked: BTreeSet::new(), cold: Vec::new() };
    client.subscribe(ResourceType::Cluster);
    let mut responses = open(socket, outbound).await;
    if !client.state.borrow().holding.is_empty() {
        client.subscribe(ResourceType::Endpoints);
        client.subscribe(ResourceType::Listener);
    }
    while let Ok(Some(response)) = responses.message().await {
        client.take(&response);
    }
}

async fn open(
    socket: PathBuf,
    requests: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>,
) -> Streaming<DeltaDiscoveryResponse> {
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://local").connect_with_connector(connector).await.unwrap();
    let mut ads = AggregatedDiscoveryServiceClient::new(channel);
    ads.delta_aggregated_resources(UnboundedReceiverStream::new(requests)).await.unwrap().into_inner()
}

/// Asks for a type, of which it has these versions by name.
fn first_request(kind: ResourceType, held: &BTreeMap<String, String>) -> DeltaDiscoveryRequest {
    let names = match kind {
        ResourceType::Endpoints => held.keys().cloned().collect(),
        _ => vec!["*".to_owned()],
    };
    DeltaDiscoveryRequest {
        node: Some(Node { id: "sidecar~10.0.0.1~envoy~y".to_owned(), ..Node::default() }),
        type_url: kind.url().to_owned(),
        resource_names_subscribe: names,
        initial_resource_versions: held.clone().into_iter().collect(),
        ..Default::default()
    }
}

impl Client {
    fn subscribe(&mut self, kind: ResourceType) {
        if !self.asked.insert(kind) {
            return;
        }
        let held = self.state.borrow().holding.get(&kind).cloned().unwrap_or_default();
        self.send(first_request(kind, &held));
    }

    fn send(&self, request: DeltaDiscoveryRequest) {
        let _ = self.requests.send(request);
    }

    fn take(&mut self, response: &DeltaDiscoveryResponse) {
        let kind = ResourceType::from_url(&response.type_url).unwrap();
        let mut answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        };
        let changed = self.changed(kind, response);
        if let Some(bad) = self.apply(kind, response) {
            let message = format!("Error adding/updating listener(s) {bad}: unknown filter");
            answer.error_detail = Some(Status { code: 13, message, details: Vec::new() });
        }
        match kind {
            ResourceType::Cluster => self.follow_clusters(response, &changed, answer),
            ResourceType::Endpoints => self.warm(response, answer),
            _ => self.send(answer),
        }
        self.release();
        self.subscribe(ResourceType::Listener);
    }

    /// Resources of a response of which it has another version.
    fn changed(&self, kind: ResourceType, response: &DeltaDiscoveryResponse) -> BTreeSet<String> {
        let held = self.state.borrow().holding.get(&kind).cloned().unwrap_or_default();
        let changed = |name: &&String| held.contains_key(*name);
        response.resources.iter().map(|resource| &resource.name).filter(changed).cloned().collect()
    }

    /// Applies the good resources of a response and names the bad ones.
    fn apply(&mut self, kind: ResourceType, response: &DeltaDiscoveryResponse) -> Option<String> {
        let mut bad = None;
        self.state.send_modify(|state| {
            let held = state.holding.entry(kind).or_default();
            state.received += response.resources.len();
            for resource in &response.resources {
                if kind == ResourceType::Listener {
                    let body = &resource.resource.as_ref().unwrap().value[..];
                    let prefix = Listener::decode(body).unwrap().stat_prefix;
                    if self.refused.contains(&format!("{}={prefix}", resource.name)) {
                        bad = Some(resource.name.clone());
                        continue;
                    }
                }
                held.insert(resource.name.clone(), resource.version.clone());
            }
            for name in &response.removed_resources {
                if held.remove(name).is_some() {
                    state.removed += 1;
                    let names = self.names.borrow();
                    let still = names.iter().find(|(_, vip)| name.starts_with(&format!("tcp_{vip}_")));
                    state.complaints.extend(still.map(|(host, _)| format!("{name} is gone, {host} is answered")));
                }
            }
        });
        bad
    }

    /// Asks for the endpoints of new clusters, and forgets those of removed clusters.
    fn follow_clusters(
        &mut self,
        response: &DeltaDiscoveryResponse,
        changed: &BTreeSet<String>,
        answer: DeltaDiscoveryRequest,
    ) {
        // Their endpoints have the same names.
        let key = |cluster: &str| cluster.starts_with("out.").then(|| cluster.to_owned());
        let known = self.state.borrow().holding.get(&ResourceType::Endpoints).cloned().unwrap_or_default();
        let new: BTreeSet<_> =
            response.resources.iter().filter_map(|r| key(&r.name)).filter(|n| !known.contains_key(n)).collect();
        let gone: Vec<_> = response.removed_resources.iter().filter_map(|name| key(name)).collect();
        self.subscribe(ResourceType::Endpoints);
        self.send(DeltaDiscoveryRequest {
            type_url: ResourceType::Endpoints.url().to_owned(),
            resource_names_subscribe: new.iter().cloned().collect(),
            resource_names_unsubscribe: gone.clone(),
            ..Default::default()
        });
        self.state.send_modify(|state| {
            let held = state.holding.entry(ResourceType::Endpoints).or_default();
            held.retain(|name, _| !gone.contains(name));
        });
        let anew = changed.iter().filter_map(|name| key(name));
        self.cold.push((new.into_iter().chain(anew).collect(), answer));
    }

    fn warm(&mut self, response: &DeltaDiscoveryResponse, answer: DeltaDiscoveryRequest) {
        for (wanted, _) in &mut self.cold {
            wanted.retain(|name| response.resources.iter().all(|resource| resource.name != *name));
        }
        self.send(answer);
    }

    fn release(&mut self) {
        let ready = self.cold.extract_if(.., |(wanted, _)| wanted.is_empty());
        for (_, answer) in ready.collect::<Vec<_>>() {
            self.send(answer);
        }
    }
}
