//! Tests resources, sessions and the bootstrap with a real Envoy, named by BOSHY_ENVOY.
//!
//! No redirection is set up, so no traffic reaches a virtual IP. The test checks that Envoy accepts everything, and
//! what it makes of it.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

#[path = "support/forgetful.rs"]
mod forgetful;
#[path = "support/mesh.rs"]
mod mesh;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use ResourceType::{Cluster, Endpoints, Listener as Listeners};
use boshy_mesh::{MeshSnapshot, NodeId, ServicePlan, Shared};
use boshy_xds::{
    AckState, AckStates, AdsService, Bootstrap, EnvoyVersion, Flavour, Layer, PeerTimeout, Proxies, Repairs, Resource,
    ResourceMap, ResourceSet, ResourceType, SharedResources, TypedResources,
    inspection::{self, Difference, INSPECTED},
};
use envoy_types::pb::{
    self,
    envoy::config::{cluster::v3::Cluster as CdsCluster, listener::v3::Listener},
};
use forgetful::Relay;
use mesh::{service, snapshot};
use prost::Message;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Below the 15 s after which Envoy stops waiting for what it needs: waiting that long means a deadlock.
const DEADLINE: Duration = Duration::from_secs(12);

/// An Envoy with its own server.
struct Mesh {
    snapshots: watch::Sender<Arc<MeshSnapshot>>,
    set: watch::Receiver<Arc<ResourceSet>>,
    generation: u64,
    ack_states: AckStates,
    proxies: Proxies,
    admin: SocketAddr,
    capture: SocketAddr,
    repairs: Repairs,
    server: JoinHandle<()>,
    relay: Option<Relay>,
    _envoy: Child,
    folder: TempDir,
}

impl Mesh {
    async fn start(flavour: Flavour, services: &[Shared<ServicePlan>]) -> Self {
        Self::altered(flavour, services, |set| set, None).await
    }

    /// A mesh whose Envoy acknowledges this resource without having received it.
    async fn losing(flavour: Flavour, services: &[Shared<ServicePlan>], name: &str) -> Self {
        Self::altered(flavour, services, |set| set, Some(name)).await
    }

    /// A mesh whose Envoy gets an altered set.
    async fn altered(
        flavour: Flavour,
        services: &[Shared<ServicePlan>],
        alter: impl Fn(ResourceSet) -> ResourceSet + Send + 'static,
        loses: Option<&str>,
    ) -> Self {
        let node: NodeId = "sidecar~10.0.0.2~x~x".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (admin, capture) = (free_address().await, free_address().await);
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot(1, services)));
        let set = rendered(receiver, node.clone(), capture, alter);
        let (ack_states, proxies, repairs) = (AckStates::default(), Proxies::default(), Repairs::default());
        let own = if loses.is_some() { folder.path().join("upstream.sock") } else { socket(&folder) };
        let server = serve(&own, &set, &proxies, &ack_states, &repairs);
        let relay = match loses {
            Some(name) => Some(forgetful::relay(&socket(&folder), &own, name).await),
            None => None,
        };
        let bootstrap = Bootstrap {
            node,
            ads_socket: socket(&folder),
            admin,
            flavour,
            version: version(),
            peer_timeout: Some(PeerTimeout::DEFAULT),
            open_files: 4096,
            health_socket: Some(folder.path().join("health.sock")),
        }
        .to_json();
        let _envoy = run(&folder, &bootstrap);
        Self {
            snapshots,
            set,
            generation: 1,
            ack_states,
            proxies,
            admin,
            capture,
            repairs,
            server,
            relay,
            _envoy,
            folder,
        }
    }

    /// Replaces the server by another with the same resources and no state.
    async fn replace_server(&mut self) {
        self.stop_server().await;
        self.start_server();
    }

    async fn stop_server(&self) {
        self.server.abort();
        self.eventually("Envoy is disconnected", |ack_states| ack_states.connected() == 0).await;
        std::fs::remove_file(socket(&self.folder)).unwrap();
    }

    fn start_server(&mut self) {
        self.server = serve(&socket(&self.folder), &self.set, &self.proxies, &self.ack_states, &self.repairs);
    }

    fn change(&mut self, services: &[Shared<ServicePlan>]) {
        self.generation += 1;
        self.snapshots.send_replace(Arc::new(snapshot(self.generation, services)));
    }

    /// Waits until Envoy has accepted the whole current set, which must have this many listeners.
    async fn accepted(&mut self, listeners: usize) {
        timeout(DEADLINE, self.set.wait_for(|set| set.of(Listeners).len() == listeners)).await.unwrap().unwrap();
        let set = self.set.borrow().clone();
        self.eventually("Envoy accepts all", |ack_states| {
            [Cluster, Endpoints, Listeners].into_iter().all(|kind| {
                set.of(kind).iter().all(|one| match ack_states.of(kind, &one.name, &one.version) {
                    AckState::Acked => true,
                    AckState::Pending => false,
                    AckState::Nacked(reason) => panic!("Envoy refused {kind:?} {}: {reason}", one.name),
                })
            })
        })
        .await;
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&AckStates) -> bool) {
        let mut changes = self.ack_states.changes();
        let waiting = async {
            while !holds(&self.ack_states) {
                changes.changed().await.unwrap();
            }
        };
        if timeout(DEADLINE, waiting).await.is_err() {
            panic!("{what}: {:#?}", self.proxies.list());
        }
    }

    /// An answer of Envoy's admin interface.
    async fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Differences between what Envoy uses and what it acknowledged, found as the agent finds them.
    async fn differences(&self) -> Vec<Difference> {
        let (set, mut differences) = (self.set.borrow().clone(), Vec::new());
        for (kind, path) in INSPECTED {
            let answer = self.admin(path).await;
            let found = inspection::read(kind, body(&answer).as_bytes()).unwrap();
            let accepted = |name: &str| self.ack_states.acked_version(kind, name);
            let flavour = self.proxies.list()[0].flavour;
            differences.extend(inspection::differences(kind, flavour, &set, accepted, &found));
        }
        differences
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The body of an answer with chunked transfer coding (RFC 9112 section 7.1).
fn body(answer: &str) -> String {
    let (mut rest, mut body) = (answer.split_once("\r\n\r\n").unwrap().1, String::new());
    while let Some((length, chunks)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&chunks[..length]);
        rest = chunks[length..].trim_start_matches("\r\n");
    }
    body
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("ads.sock")
}

fn serve(
    socket: &Path,
    set: &watch::Receiver<Arc<ResourceSet>>,
    proxies: &Proxies,
    ack_states: &AckStates,
    repairs: &Repairs,
) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let service =
        AdsService::new(set.clone(), proxies.clone()).recording(ack_states.clone()).repairing(repairs.clone());
    tokio::spawn(async move { service.serve_unix(listener, std::future::pending()).await.unwrap() })
}

fn run(folder: &TempDir, bootstrap: &serde_json::Value) -> Child {
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    Command::new(program())
        .arg("--config-path")
        .arg(file)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("start the Envoy that BOSHY_ENVOY names")
}

fn program() -> std::ffi::OsString {
    std::env::var_os("BOSHY_ENVOY").expect("set BOSHY_ENVOY to the path of an Envoy binary")
}

/// Envoy's version, determined like in the job's script.
fn version() -> Option<EnvoyVersion> {
    let output = std::process::Command::new(program()).arg("--version").output().unwrap();
    let version = EnvoyVersion::parse(&String::from_utf8(output.stdout).unwrap());
    assert!(version.is_some(), "Envoy does not say its version");
    version
}

/// A free port of an address that no other test and no connection uses, so it stays free until Envoy binds it.
async fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let ip = Ipv4Addr::new(127, 40, 0, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).await.unwrap().local_addr().unwrap()
}

/// The altered set of a node for each snapshot.
fn rendered(
    mut snapshots: watch::Receiver<Arc<MeshSnapshot>>,
    node: NodeId,
    capture: SocketAddr,
    alter: impl Fn(ResourceSet) -> ResourceSet + Send + 'static,
) -> watch::Receiver<Arc<ResourceSet>> {
    let mut shared = SharedResources::build(&snapshots.borrow_and_update(), None, capture);
    let (sender, receiver) = watch::channel(Arc::new(alter(shared.for_node(&node))));
    tokio::spawn(async move {
        while snapshots.changed().await.is_ok() {
            shared = SharedResources::build(&snapshots.borrow_and_update(), Some(&shared), capture);
            sender.send_replace(Arc::new(alter(shared.for_node(&node))));
        }
    });
    receiver
}

async fn services_come_scale_and_go(flavour: Flavour) {
    let web = |zones: &[Option<&str>]| service("web", 2, zones);
    let mut mesh = Mesh::start(flavour, &[web(&[Some("z1")])]).await;
    mesh.accepted(3).await;
    assert!(mesh.proxies.list()[0].flavour == flavour);

    mesh.change(&[service("api", 20, &[None]), web(&[Some("z1")])]);
    mesh.accepted(4).await;
    mesh.change(&[service("api", 20, &[None, Some("z1"), Some("z2")]), web(&[Some("z1")])]);
    mesh.accepted(4).await;
    let clusters = mesh.admin("/clusters").await;
    for last in 20..23 {
        assert!(clusters.contains(&format!("out.api.g.d.boshy|http::10.0.0.{last}:9000::")), "{clusters}");
    }
    mesh.change(&[web(&[Some("z1")])]);
    mesh.eventually("the cluster goes", |ack_states| {
        ack_states.acked_version(Cluster, "out.api.g.d.boshy|http").is_none()
    })
    .await;
    assert!(!mesh.admin("/clusters").await.contains("out.api"), "the cluster is gone");
    mesh.accepted(3).await;
}

#[tokio::test]
async fn by_delta_services_come_scale_and_go() {
    services_come_scale_and_go(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_services_come_scale_and_go() {
    services_come_scale_and_go(Flavour::Sotw).await;
}

#[tokio::test]
async fn an_envoy_that_comes_back_to_another_server_is_sent_only_what_changed() {
    let web = service("web", 2, &[None]);
    let mut mesh = Mesh::start(Flavour::Delta, std::slice::from_ref(&web)).await;
    mesh.accepted(3).await;
    mesh.replace_server().await;
    mesh.accepted(3).await;
    let proxy = mesh.proxies.list().remove(0);
    assert!(proxy.types.len() == 3 && proxy.types.values().all(|status| status.sent.is_none()), "{proxy:?}");

    mesh.change(&[service("api", 20, &[None]), web]);
    mesh.accepted(4).await;
}

/// The clusters of each generation have another connect timeout. Their endpoints are the same in all.
fn with_other_clusters(set: ResourceSet) -> ResourceSet {
    let seconds = i64::try_from(set.generation()).unwrap();
    let changed = |resource: &Arc<Resource>| {
        let connect_timeout = Some(pb::google::protobuf::Duration { seconds, nanos: 0 });
        let cluster = CdsCluster { connect_timeout, ..CdsCluster::decode(resource.body.clone()).unwrap() };
        Resource::new(resource.name.clone(), cluster.encode_to_vec())
    };
    let clusters = set.of(Cluster).iter().map(changed).collect();
    set.with(Cluster, TypedResources::new([clusters]))
}

/// Envoy uses a changed cluster at once, although its endpoints have not changed. Without them it would wait for 15 s.
async fn a_changed_cluster_is_used_at_once(flavour: Flavour) {
    const AT_ONCE: Duration = Duration::from_secs(2);
    let services = [service("api", 20, &[None]), service("web", 2, &[Some("z1")])];
    let mut mesh = Mesh::altered(flavour, &services, with_other_clusters, None).await;
    mesh.accepted(4).await;
    for (generation, while_away) in [(2, false), (3, true), (4, false)] {
        if while_away {
            mesh.stop_server().await;
        }
        mesh.change(&services);
        let generations = mesh.set.wait_for(|set| set.generation() == generation);
        drop(timeout(DEADLINE, generations).await.unwrap().unwrap());
        if while_away {
            mesh.start_server();
            mesh.eventually("Envoy is back", |ack_states| ack_states.connected() == 1).await;
        }
        let changed = Instant::now();
        mesh.accepted(4).await;
        let waited = changed.elapsed();
        assert!(waited < AT_ONCE, "{flavour:?}, generation {generation}: {waited:?}");
        let active = mesh.admin("/config_dump?resource=dynamic_active_clusters").await;
        let timeouts = active.matches(&format!("\"connect_timeout\": \"{generation}s\"")).count();
        assert_eq!(timeouts, mesh.set.borrow().of(Cluster).len(), "{active}");
        let clusters = mesh.admin("/clusters").await;
        assert!(clusters.contains("out.api.g.d.boshy|http::10.0.0.20:9000::"), "{clusters}");
    }
}

#[tokio::test]
async fn by_delta_a_changed_cluster_is_used_at_once() {
    a_changed_cluster_is_used_at_once(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_a_changed_cluster_is_used_at_once() {
    a_changed_cluster_is_used_at_once(Flavour::Sotw).await;
}

#[tokio::test]
async fn hundreds_of_services_come_at_once_to_an_envoy_that_runs() {
    let mut mesh = Mesh::start(Flavour::Delta, &[]).await;
    mesh.accepted(1).await;
    let many: Vec<_> = (0..200).map(|index| service(&format!("s{index:03}"), index, &[None])).collect();
    mesh.change(&many);
    mesh.accepted(202).await;
}

#[tokio::test]
async fn what_no_listener_knows_is_disconnected() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let mut stream = TcpStream::connect(mesh.capture).await.unwrap();
    let mut nothing = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut nothing)).await.expect("the connection is closed");
    assert!(end.is_err() || nothing.is_empty());
}

#[tokio::test]
async fn of_what_envoy_refuses_only_the_culprit_is_withheld() {
    let bad = Arc::new(Resource::new("bad", Listener { name: "bad".into(), ..Listener::default() }.encode_to_vec()));
    let with_bad = move |set: ResourceSet| {
        let mut listeners: ResourceMap =
            set.of(Listeners).iter().map(|resource| (resource.name.clone(), resource.clone())).collect();
        listeners.insert(bad.name.clone(), bad.clone());
        set.with(Listeners, TypedResources::new([Layer::new(listeners)]))
    };
    let mesh = Mesh::altered(Flavour::Delta, &[service("web", 2, &[None])], with_bad, None).await;
    let set = mesh.set.borrow().clone();
    mesh.eventually("Envoy refuses one listener and accepts the others", |ack_states| {
        set.of(Listeners).iter().all(|one| match ack_states.of(Listeners, &one.name, &one.version) {
            AckState::Acked => &*one.name != "bad",
            AckState::Nacked(_) => &*one.name == "bad",
            AckState::Pending => false,
        })
    })
    .await;
}

/// Envoy has acknowledged a resource and does not use it. The difference is found, and sending the resource again
/// repairs it.
async fn what_got_lost_is_found_and_told_again(flavour: Flavour) {
    let web = service("web", 2, &[None]);
    let listener = format!("tcp_{}_9000", web.vip);
    for (kind, name) in [(Listeners, listener.as_str()), (Cluster, "out.web.g.d.boshy|http")] {
        let mesh = Mesh::losing(flavour, std::slice::from_ref(&web), name).await;
        mesh.eventually("Envoy acknowledges", |ack_states| ack_states.acked_version(kind, name).is_some()).await;
        let eventually = async |wanted: &[&str]| {
            let same = async {
                loop {
                    let found = mesh.differences().await;
                    let names: Vec<_> = found.iter().map(|one| &*one.name).collect();
                    if names == wanted {
                        return found;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            match timeout(DEADLINE, same).await {
                Ok(found) => found,
                Err(_) => panic!("{flavour:?}: wanted {wanted:?}, differ {:?}", mesh.differences().await),
            }
        };
        let found = eventually(&[name]).await.remove(0);
        assert_eq!((found.kind, found.found.as_deref()), (kind, None));
        assert!(found.sentence().ends_with(&format!("{name} and does not have it")), "{}", found.sentence());
        mesh.relay.as_ref().unwrap().is_mended();
        mesh.repairs.tell_again(vec![(kind, name.into())]);
        eventually(&[]).await;
    }
}

#[tokio::test]
async fn by_delta_what_got_lost_is_found_and_told_again() {
    what_got_lost_is_found_and_told_again(Flavour::Delta).await;
}

#[tokio::test]
async fn by_state_of_the_world_what_got_lost_is_found_and_told_again() {
    what_got_lost_is_found_and_told_again(Flavour::Sotw).await;
}

#[tokio::test]
async fn the_bootstrap_keeps_the_statistics_that_tell_whether_the_mesh_works() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let statistics = mesh.admin("/stats").await;
    for kept in [
        "cluster.out.web.g.d.boshy|http.membership_total: 1",
        "control_plane.connected_state: 1",
        "listener_manager.lds.update_rejected: 0",
    ] {
        assert!(statistics.contains(kept), "{kept} is missing in\n{statistics}");
    }
    let of_service = statistics.lines().filter(|line| line.starts_with("cluster.out.")).count();
    assert!(of_service <= 7, "{statistics}");
    let pressure = "overload.envoy.resource_monitors.global_downstream_max_connections.";
    assert!(statistics.contains(pressure), "how near the limit of connections is:\n{statistics}");
}

#[tokio::test]
async fn envoy_answers_monit_over_a_socket_of_its_own() {
    let mut mesh = Mesh::start(Flavour::Delta, &[service("web", 2, &[None])]).await;
    mesh.accepted(3).await;
    let mut stream = UnixStream::connect(mesh.folder.path().join("health.sock")).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[tokio::test]
async fn envoy_knows_what_the_bootstrap_says_and_does_not_complain() {
    let bootstrap = Bootstrap {
        node: "sidecar~10.0.0.2~x~x".parse().unwrap(),
        ads_socket: "/run/ads.sock".into(),
        admin: "127.0.0.1:8001".parse().unwrap(),
        flavour: Flavour::Delta,
        version: version(),
        peer_timeout: Some(PeerTimeout::DEFAULT),
        open_files: 4096,
        health_socket: Some("/run/health.sock".into()),
    };
    let text = bootstrap.to_json().to_string();
    let arguments = ["--mode", "validate", "--log-level", "warning", "--config-yaml", &text];
    let output = Command::new(program()).args(arguments).output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
