//! Tests resources, sessions and the bootstrap with a real Envoy, named by BOSHY_ENVOY.
//!
//! No redirection is set up, so no traffic reaches a virtual IP. The test checks that Envoy accepts everything, and
//! what it makes of it.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

#[path = "support/mesh.rs"]
mod mesh;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use ResourceType::{Cluster, Endpoints, Listener as Listeners};
use boshy_mesh::{MeshService, MeshSnapshot, NodeId};
use boshy_xds::{
    AdsService, Bootstrap, EnvoyVersion, Flavour, PeerTimeout, Proxies, Resource, ResourceMap, ResourceSet,
    ResourceType, SharedResources, TypedResources, Verdict, Verdicts,
};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use mesh::{service, snapshot};
use prost::Message;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Below the 15 s after which Envoy stops waiting for what it needs: waiting that long means a deadlock.
const DEADLINE: Duration = Duration::from_secs(12);

/// An Envoy with its own server.
struct Mesh {
    snapshots: watch::Sender<Arc<MeshSnapshot>>,
    set: watch::Receiver<Arc<ResourceSet>>,
    generation: u64,
    verdicts: Verdicts,
    proxies: Proxies,
    admin: SocketAddr,
    capture: SocketAddr,
    server: JoinHandle<()>,
    _envoy: Child,
    folder: TempDir,
}

impl Mesh {
    async fn start(flavour: Flavour, services: &[Arc<MeshService>]) -> Self {
        Self::altered(flavour, services, |set| set).await
    }

    /// A mesh whose Envoy gets an altered set.
    async fn altered(
        flavour: Flavour,
        services: &[Arc<MeshService>],
        alter: impl Fn(ResourceSet) -> ResourceSet + Send + 'static,
    ) -> Self {
        let node: NodeId = "sidecar~10.0.0.2~x~x".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (admin, capture) = (free_address().await, free_address().await);
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot(1, services)));
        let set = rendered(receiver, node.clone(), capture, alter);
        let (verdicts, proxies) = (Verdicts::default(), Proxies::default());
        let server = serve(&folder, &set, &proxies, &verdicts);
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
        Self { snapshots, set, generation: 1, verdicts, proxies, admin, capture, server, _envoy, folder }
    }

    /// Replaces the server by another with the same resources and no state.
    async fn replace_server(&mut self) {
        self.server.abort();
        self.eventually("Envoy is disconnected", |verdicts| verdicts.connected() == 0).await;
        std::fs::remove_file(socket(&self.folder)).unwrap();
        self.server = serve(&self.folder, &self.set, &self.proxies, &self.verdicts);
    }

    fn change(&mut self, services: &[Arc<MeshService>]) {
        self.generation += 1;
        self.snapshots.send_replace(Arc::new(snapshot(self.generation, services)));
    }

    /// Waits until Envoy has accepted the whole current set, which must have this many listeners.
    async fn accepted(&mut self, listeners: usize) {
        timeout(DEADLINE, self.set.wait_for(|set| set.of(Listeners).len() == listeners)).await.unwrap().unwrap();
        let set = self.set.borrow().clone();
        self.eventually("Envoy accepts all", |verdicts| {
            [Cluster, Endpoints, Listeners].into_iter().all(|kind| {
                set.of(kind).iter().all(|one| match verdicts.of(kind, &one.name, &one.version) {
                    Verdict::Accepted => true,
                    Verdict::Pending => false,
                    Verdict::Rejected(reason) => panic!("Envoy refused {kind:?} {}: {reason}", one.name),
                })
            })
        })
        .await;
    }

    async fn eventually(&self, what: &str, holds: impl Fn(&Verdicts) -> bool) {
        let mut changes = self.verdicts.changes();
        let waiting = async {
            while !holds(&self.verdicts) {
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
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("ads.sock")
}

fn serve(
    folder: &TempDir,
    set: &watch::Receiver<Arc<ResourceSet>>,
    proxies: &Proxies,
    verdicts: &Verdicts,
) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket(folder)).unwrap();
    let service = AdsService::new(set.clone(), proxies.clone()).recording(verdicts.clone());
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

async fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
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
    mesh.eventually("the cluster goes", |verdicts| {
        verdicts.accepted_version(Cluster, "out.api.g.d.boshy|http").is_none()
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
        set.with(Listeners, TypedResources::new(Arc::new(listeners), Arc::default()))
    };
    let mesh = Mesh::altered(Flavour::Delta, &[service("web", 2, &[None])], with_bad).await;
    let set = mesh.set.borrow().clone();
    mesh.eventually("Envoy refuses one listener and accepts the others", |verdicts| {
        set.of(Listeners).iter().all(|one| match verdicts.of(Listeners, &one.name, &one.version) {
            Verdict::Accepted => &*one.name != "bad",
            Verdict::Rejected(_) => &*one.name == "bad",
            Verdict::Pending => false,
        })
    })
    .await;
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
