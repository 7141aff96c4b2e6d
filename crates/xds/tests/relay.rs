//! Pilot, agent and proxy in one process: two real servers with the relay between them, and a client that behaves like
//! Envoy.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

#[path = "support/envoy.rs"]
mod envoy;
#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/mesh.rs"]
mod mesh;
#[path = "support/wait.rs"]
mod wait;

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

use boshy_backoff::Backoff;
use boshy_mesh::Hostname;
use boshy_xds::{
    AckState, AckStates, AdsService, CAPTURE, Layer, Proxies, Rejection, Resource, ResourceMap, ResourceSet,
    ResourceType, Scope, SharedResources, TypedResources,
    agent::{
        self, Exchange, ExchangeSettings, Outlets, PickerSettings,
        relay::{Relay, RelaySettings, Stored},
    },
    names::Name,
};
use envoy::{Envoy, Holding};
use envoy_types::pb::envoy::config::{
    cluster::v3::{Cluster, cluster::EdsClusterConfig},
    endpoint::v3::ClusterLoadAssignment,
    listener::v3::Listener,
};
use prost::Message;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
};
use wait::{until, within};

/// The resources that a pilot serves for a service of one port.
#[derive(Clone, Copy)]
struct Service {
    number: u16,
    /// Edition of its listener, its cluster and its endpoints.
    listener: u32,
    cluster: u32,
    endpoints: u32,
}

impl Service {
    fn new(number: u16) -> Self {
        Self { number, listener: 1, cluster: 1, endpoints: 1 }
    }

    fn host(self) -> String {
        format!("s{:04}.boshy", self.number)
    }

    fn vip(self) -> Ipv4Addr {
        Ipv4Addr::from(0xA9FE_0000 + u32::from(self.number))
    }

    fn listener_name(self) -> String {
        format!("tcp_{}_80", self.vip())
    }

    fn resources(self) -> [(ResourceType, Resource); 4] {
        let host = self.host();
        let key = format!("out.{host}|http");
        let cluster = Cluster {
            name: key.clone(),
            eds_cluster_config: Some(EdsClusterConfig::default()),
            alt_stat_name: self.cluster.to_string(),
            ..Cluster::default()
        };
        let listener =
            Listener { name: self.listener_name(), stat_prefix: self.listener.to_string(), ..Listener::default() };
        let endpoints = ClusterLoadAssignment { cluster_name: key.clone(), ..ClusterLoadAssignment::default() };
        // A field unknown to Envoy gives otherwise equal content another version.
        let edition = [0xf8, 0x7f, u8::try_from(self.endpoints).unwrap()];
        let endpoints = [endpoints.encode_to_vec(), edition.to_vec()].concat();
        let name = Name { host: Hostname::parse(&host).unwrap(), vip: self.vip(), needs: None };
        [
            (ResourceType::Names, Resource::new(host, name.encode())),
            (ResourceType::Cluster, Resource::new(cluster.name.clone(), cluster.encode_to_vec())),
            (ResourceType::Endpoints, Resource::new(key, endpoints)),
            (ResourceType::Listener, Resource::new(listener.name.clone(), listener.encode_to_vec())),
        ]
    }
}

fn set(services: &[Service]) -> Arc<ResourceSet> {
    let mut maps: [ResourceMap; ResourceType::ALL.len()] = Default::default();
    for (kind, resource) in services.iter().flat_map(|service| service.resources()) {
        maps[kind as usize].insert(Arc::clone(&resource.name), Arc::new(resource));
    }
    let set = ResourceType::ALL
        .into_iter()
        .zip(maps)
        .fold(ResourceSet::default(), |set, (kind, map)| set.with(kind, TypedResources::new([Layer::new(map)])));
    Arc::new(set)
}

/// A pilot that serves a given set. Dropping it stops it.
struct Pilot {
    address: String,
    set: watch::Sender<Arc<ResourceSet>>,
    proxies: Proxies,
    _task: JoinSet<()>,
}

impl Pilot {
    async fn start(services: &[Service]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (set, source) = watch::channel(set(services));
        let proxies = Proxies::default();
        let service = AdsService::new(source, proxies.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { service.serve_tcp(listener, std::future::pending()).await.unwrap() });
        Self { address, set, proxies, _task: task }
    }

    /// Waits for the agent's rejection of a listener.
    async fn rejection(&self) -> Rejection {
        let rejected = || self.proxies.list().pop()?.types.get(&ResourceType::Listener)?.rejected.clone();
        within(async {
            loop {
                match rejected() {
                    Some(rejection) => break rejection,
                    None => tokio::task::yield_now().await,
                }
            }
        })
        .await
    }

    fn serve(&self, services: &[Service]) {
        self.set.send_replace(set(services));
    }
}

/// The agent of one VM with its local server. Dropping it stops both.
struct Agent {
    socket: tempfile::TempDir,
    outlets: Outlets,
    ack_states: AckStates,
    _tasks: JoinSet<()>,
}

impl Agent {
    fn start(pilots: &[&Pilot], stored: Stored) -> Self {
        Self::with(RelaySettings::default(), pilots, stored)
    }

    fn with(settings: RelaySettings, pilots: &[&Pilot], stored: Stored) -> Self {
        let socket = tempfile::tempdir().unwrap();
        let (outlets, ack_states) = (Outlets::default(), AckStates::default());
        let relay = Relay::new(settings, stored);
        outlets.names.send_replace(Arc::new(relay.answered()));
        let conversing = Exchange::new(relay, ack_states.clone(), outlets.clone());
        let pilots = pilots.iter().map(|pilot| pilot.address.parse().unwrap()).collect();
        let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(100), jitter: 0.5 };
        let picker = PickerSettings { backoff, ..PickerSettings::default() };
        let mut tasks = JoinSet::new();
        let node = "sidecar~10.0.0.1~x~y".parse().unwrap();
        let (answers, told) = (ack_states.clone(), outlets.clone());
        tasks.spawn(exchange::converse(node, conversing, ExchangeSettings::default(), pilots, picker, answers, told));
        let service = AdsService::new(outlets.served.subscribe(), Proxies::default()).recording(ack_states.clone());
        let listener = UnixListener::bind(socket.path().join("ads.sock")).unwrap();
        tasks.spawn(async move { service.serve_unix(listener, std::future::pending()).await.unwrap() });
        Self { socket, outlets, ack_states, _tasks: tasks }
    }

    /// A proxy on the VM.
    fn envoy(&self, holding: Holding, refused: &[&str]) -> Envoy {
        Envoy::start(self.socket.path().join("ads.sock"), self.outlets.names.subscribe(), holding, refused)
    }

    /// A proxy that asks for everything and answers nothing.
    fn silent_envoy(&self) -> Envoy {
        Envoy::silent(self.socket.path().join("ads.sock"))
    }

    async fn answers(&self, services: &[Service]) {
        let names: BTreeSet<_> = services.iter().map(|service| (service.host(), service.vip())).collect();
        until(&mut self.outlets.names.subscribe(), |table| {
            table.iter().map(|(host, vip)| (host.to_string(), vip)).collect::<BTreeSet<_>>() == names
        })
        .await;
    }

    async fn stored(&self, answered: usize) -> Stored {
        let settled = |stored: &Arc<Stored>| {
            stored.answered().len() == answered && stored.resources(ResourceType::Listener).len() == answered
        };
        Stored::decode(&until(&mut self.outlets.stored.subscribe(), settled).await.encode()).unwrap()
    }
}

fn services(count: u16) -> Vec<Service> {
    (1..=count).map(Service::new).collect()
}

/// A pilot, an agent and a proxy that have everything.
async fn working(services: &[Service]) -> (Pilot, Agent, Envoy) {
    let pilot = Pilot::start(services).await;
    let agent = Agent::start(&[&pilot], Stored::default());
    let mut envoy = agent.envoy(Holding::default(), &[]);
    agent.answers(services).await;
    envoy.holds(&set(services)).await;
    (pilot, agent, envoy)
}

#[tokio::test]
async fn names_are_answered_once_the_proxy_has_everything_behind_them() {
    let (_pilot, agent, envoy) = working(&services(3)).await;
    assert_eq!(agent.ack_states.connected(), 1);
    assert_eq!(envoy.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_rendered_for_a_node_names_listeners_and_clusters_as_the_relay_looks_for_them() {
    let services = [mesh::service("web", 1, &[None, None]), mesh::service("db", 9, &[Some("z1")])];
    let shared = SharedResources::build(&mesh::snapshot(1, &services), None, CAPTURE);
    let rendered = shared.for_node(&"sidecar~10.0.0.1~x~y".parse().unwrap(), Scope::Plain);
    let pilot = Pilot::start(&[]).await;
    let agent = Agent::start(&[&pilot], Stored::default());
    let mut envoy = agent.envoy(Holding::default(), &[]);
    pilot.set.send_replace(Arc::new(rendered.clone()));
    let table = until(&mut agent.outlets.names.subscribe(), |names| names.len() == services.len()).await;
    for plan in &services {
        assert_eq!(table.get(plan.service.host.as_str()), Some(plan.vip));
    }
    envoy.holds(&rendered).await;
}

#[tokio::test]
async fn one_change_is_one_resource_for_the_proxy() {
    let mut services = services(3);
    let (pilot, _agent, mut envoy) = working(&services).await;
    let before = envoy.received();
    services[1].endpoints = 2;
    pilot.serve(&services);
    envoy.holds(&set(&services)).await;
    assert_eq!(envoy.received() - before, 1);
}

#[tokio::test]
async fn a_new_service_is_answered_and_a_removed_one_leaves_dns_before_the_proxy() {
    let (pilot, agent, mut envoy) = working(&services(2)).await;
    let changed = [Service::new(2), Service::new(3)];
    pilot.serve(&changed);
    agent.answers(&changed).await;
    envoy.holds(&set(&changed)).await;
    assert_eq!(envoy.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_has_all_of_a_change_though_its_proxy_has_answered_nothing() {
    let pilot = Pilot::start(&services(2)).await;
    let patient = RelaySettings { patience: Duration::from_secs(3600), ..RelaySettings::default() };
    let agent = Agent::with(patient, &[&pilot], Stored::default());
    let _silent = agent.silent_envoy();
    let mut served = agent.outlets.served.subscribe();
    let counts = |set: &ResourceSet| [ResourceType::Cluster, ResourceType::Listener].map(|kind| set.of(kind).len());
    until(&mut served, |set| counts(set) == [2, 2]).await;
    pilot.serve(&services(3));
    until(&mut served, |set| counts(set) == [3, 3]).await;
    pilot.serve(&[]);
    until(&mut served, |set| counts(set) == [0, 0]).await;
    assert_eq!(agent.ack_states.connected(), 1);
}

#[tokio::test]
async fn one_refused_listener_keeps_its_old_version_and_holds_up_nobody() {
    let mut services = services(3);
    let pilot = Pilot::start(&services).await;
    let agent = Agent::start(&[&pilot], Stored::default());
    let bad = format!("{}=2", services[0].listener_name());
    let mut envoy = agent.envoy(Holding::default(), &[&bad]);
    agent.answers(&services).await;
    let good = services.clone();
    services.iter_mut().for_each(|service| service.listener = 2);
    services.push(Service::new(4));
    pilot.serve(&services);
    agent.answers(&services).await;
    envoy.holds(&set(&[&good[..1], &services[1..]].concat())).await;
    let rejection = pilot.rejection().await;
    assert!(rejection.reason.contains(&services[0].listener_name()), "{}", rejection.reason);
    assert!(rejection.reason.contains("unknown filter"), "{}", rejection.reason);

    services[0].listener = 3;
    pilot.serve(&services);
    envoy.holds(&set(&services)).await;
}

#[tokio::test]
async fn what_a_late_proxy_refuses_reaches_the_pilot_though_it_was_acknowledged() {
    let services = services(3);
    let pilot = Pilot::start(&services).await;
    let agent = Agent::start(&[&pilot], Stored::default());
    until(&mut agent.outlets.status.subscribe(), |status| status.known == ResourceType::OF_PILOTS).await;
    let bad = format!("{}=1", services[0].listener_name());
    let _envoy = agent.envoy(Holding::default(), &[&bad]);
    agent.answers(&services[1..]).await;
    assert!(pilot.rejection().await.reason.contains(&services[0].listener_name()));
}

#[tokio::test]
async fn a_pilot_that_dies_takes_nothing_along_and_its_successor_sends_nothing_again() {
    let services = services(3);
    let successor = Pilot::start(&services).await;
    let pilot = Pilot::start(&services).await;
    let agent = Agent::start(&[&pilot, &successor], Stored::default());
    let mut envoy = agent.envoy(Holding::default(), &[]);
    agent.answers(&services).await;
    envoy.holds(&set(&services)).await;
    let received = envoy.received();
    drop(pilot);
    let mut status = agent.outlets.status.subscribe();
    until(&mut status, |status| status.pilot.as_deref() == Some(&format!("{}/", successor.address))).await;
    let changed = [&services[..], &[Service::new(4)]].concat();
    successor.serve(&changed);
    agent.answers(&changed).await;
    envoy.holds(&set(&changed)).await;
    assert_eq!(envoy.received() - received, 3, "a cluster, its endpoints and a listener");
    assert_eq!(envoy.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_that_restarts_without_a_pilot_serves_what_it_stored() {
    let services = services(3);
    let (pilot, agent, envoy) = working(&services).await;
    let stored = agent.stored(3).await;
    drop((pilot, agent, envoy));

    let agent = Agent::start(&[], stored);
    agent.answers(&services).await;
    let mut envoy = agent.envoy(Holding::default(), &[]);
    envoy.holds(&set(&services)).await;
    assert_eq!(envoy.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_that_restarts_is_sent_only_what_changed_and_so_is_its_proxy() {
    let mut services = services(3);
    let (pilot, agent, mut envoy) = working(&services).await;
    let (stored, holding) = (agent.stored(3).await, envoy.holding());
    drop((agent, envoy));

    let agent = Agent::start(&[&pilot], stored);
    envoy = agent.envoy(holding, &[]);
    services[2].endpoints = 2;
    pilot.serve(&services);
    envoy.holds(&set(&services)).await;
    assert_eq!(envoy.received(), 1);
    let types: Vec<_> = agent.outlets.status.borrow().versions.keys().copied().collect();
    assert_eq!(types, [ResourceType::Endpoints], "what changed; that a type is empty is known by its digest");
}

#[tokio::test]
async fn a_changed_cluster_reaches_the_proxy_with_its_endpoints_which_it_needs_anew() {
    let mut services = services(3);
    let (pilot, agent, mut envoy) = working(&services).await;
    let before = envoy.received();
    services[1].cluster = 2;
    pilot.serve(&services);
    let [_, (kind, cluster), ..] = services[1].resources();
    let mut changes = agent.ack_states.changes();
    let accepted = async {
        while agent.ack_states.of(kind, &cluster.name, &cluster.version) != AckState::Acked {
            changes.changed().await.unwrap();
        }
    };
    within(accepted).await;
    envoy.holds(&set(&services)).await;
    assert_eq!(envoy.received() - before, 2);
}

#[tokio::test]
async fn an_agent_that_lost_its_store_takes_nothing_from_a_proxy_while_it_learns_anew() {
    let services = services(1500);
    let (pilot, agent, envoy) = working(&services).await;
    let holding = envoy.holding();
    drop((agent, envoy));

    let agent = Agent::start(&[&pilot], Stored::default());
    let mut envoy = agent.envoy(holding, &[]);
    agent.answers(&services).await;
    envoy.holds(&set(&services)).await;
    assert_eq!((envoy.received(), envoy.removed()), (0, 0));
}
