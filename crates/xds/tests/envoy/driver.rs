//! An Envoy with its own server, and what it makes of what it is sent.

use std::{
    io,
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
    AckState, AckStates, AdminAddress, AdsService, Bootstrap, EnvoyVersion, Flavour, PeerTimeout, Proxies, Repairs,
    ResourceSet, ResourceType, Scope, SharedResources,
    inspection::{self, Difference, INSPECTED},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    forgetful::{self, Relay},
    mesh::snapshot,
};

/// Below the 15 s after which Envoy stops waiting for what it needs: waiting that long means a deadlock.
pub(crate) const DEADLINE: Duration = Duration::from_secs(12);

/// An Envoy with its own server.
pub(crate) struct Mesh {
    snapshots: watch::Sender<Arc<MeshSnapshot>>,
    pub(crate) set: watch::Receiver<Arc<ResourceSet>>,
    generation: u64,
    ack_states: AckStates,
    pub(crate) proxies: Proxies,
    admin: SocketAddr,
    pub(crate) capture: SocketAddr,
    pub(crate) repairs: Repairs,
    server: JoinHandle<()>,
    pub(crate) relay: Option<Relay>,
    _envoy: Child,
    pub(crate) folder: TempDir,
}

impl Mesh {
    pub(crate) async fn start(flavour: Flavour, services: &[Shared<ServicePlan>]) -> Self {
        Self::altered(flavour, services, |set| set, None).await
    }

    /// A mesh whose Envoy acknowledges this resource without having received it.
    pub(crate) async fn losing(flavour: Flavour, services: &[Shared<ServicePlan>], name: &str) -> Self {
        Self::altered(flavour, services, |set| set, Some(name)).await
    }

    /// A mesh whose Envoy gets an altered set.
    pub(crate) async fn altered(
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
            admin: Some(AdminAddress::Tcp(admin)),
            flavour,
            version: version(),
            peer_timeout: Some(PeerTimeout::DEFAULT),
            open_files: 4096,
            health_socket: Some(folder.path().join("health.sock")),
            tunnel_end: None,
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
    pub(crate) async fn replace_server(&mut self) {
        self.stop_server().await;
        self.start_server();
    }

    pub(crate) async fn stop_server(&self) {
        self.server.abort();
        self.eventually("Envoy is disconnected", |ack_states| ack_states.connected() == 0).await;
        std::fs::remove_file(socket(&self.folder)).unwrap();
    }

    pub(crate) fn start_server(&mut self) {
        self.server = serve(&socket(&self.folder), &self.set, &self.proxies, &self.ack_states, &self.repairs);
    }

    pub(crate) fn change(&mut self, services: &[Shared<ServicePlan>]) {
        self.generation += 1;
        self.snapshots.send_replace(Arc::new(snapshot(self.generation, services)));
    }

    /// Waits until Envoy has accepted the whole current set, which must have this many listeners.
    pub(crate) async fn accepted(&mut self, listeners: usize) {
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

    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn(&AckStates) -> bool) {
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
    pub(crate) async fn admin(&self, path: &str) -> String {
        ask_admin(self.admin, path).await
    }

    /// The timeout of Envoy's bootstrap, found as the agent finds it.
    pub(crate) async fn peer_timeout(&self) -> Option<Duration> {
        inspection::peer_timeout(body(&self.admin(inspection::RUNTIME).await).as_bytes())
    }

    /// Differences between what Envoy uses and what it acknowledged, found as the agent finds them.
    pub(crate) async fn differences(&self) -> Vec<Difference> {
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

/// An answer of an Envoy's admin interface.
pub(crate) async fn ask_admin(admin: SocketAddr, path: &str) -> String {
    try_admin(admin, path).await.unwrap()
}

/// The same, of an Envoy that may not listen yet.
pub(crate) async fn try_admin(admin: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The body of an answer with chunked transfer coding (RFC 9112 section 7.1).
pub(crate) fn body(answer: &str) -> String {
    let (mut rest, mut body) = (answer.split_once("\r\n\r\n").unwrap().1, String::new());
    while let Some((length, chunks)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&chunks[..length]);
        rest = chunks[length..].trim_start_matches("\r\n");
    }
    body
}

pub(crate) fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("ads.sock")
}

pub(crate) fn serve(
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

pub(crate) fn run(folder: &TempDir, bootstrap: &serde_json::Value) -> Child {
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    Command::new(program())
        .arg("--config-path")
        .arg(file)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
        .args(["--file-flush-interval-msec", "50"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(log(folder)).unwrap())
        .kill_on_drop(true)
        .spawn()
        .expect("start the Envoy that BOSHY_ENVOY names")
}

/// Where Envoy logs what it refuses.
pub(crate) fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("stdout")
}

pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("BOSHY_ENVOY").expect("set BOSHY_ENVOY to the path of an Envoy binary")
}

/// Envoy's version, determined like in the job's script.
pub(crate) fn version() -> Option<EnvoyVersion> {
    let output = std::process::Command::new(program()).arg("--version").output().unwrap();
    let version = EnvoyVersion::parse(&String::from_utf8(output.stdout).unwrap());
    assert!(version.is_some(), "Envoy does not say its version");
    version
}

/// A free port of an address that no other test and no connection uses, so it stays free until Envoy binds it.
pub(crate) async fn free_address() -> SocketAddr {
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
    let (sender, receiver) = watch::channel(Arc::new(alter(shared.for_node(&node, Scope::Plain))));
    tokio::spawn(async move {
        while snapshots.changed().await.is_ok() {
            shared = SharedResources::build(&snapshots.borrow_and_update(), Some(&shared), capture);
            sender.send_replace(Arc::new(alter(shared.for_node(&node, Scope::Plain))));
        }
    });
    receiver
}
