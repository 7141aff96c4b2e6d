//! The pilot's tree, and the values that outlive its actors.
//!
//! ```text
//!   pilot (one for one)
//!     vip_pool          leases on disk
//!     service_registry  -> watch<MeshSnapshot>
//!     director_poller   -> service_registry
//!     xds_server        <- watch<MeshSnapshot>
//!     convergence       <- watch<MeshSnapshot>, proxies (a task)
//!     http_server       <- watch<MeshSnapshot>, status
//! ```

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use boshy_config::PilotSettings;
use boshy_director::{
    client::{ClientSettings, Credentials, DirectorClient},
    observer::ObserverSettings,
};
use boshy_mesh::{Inventory, LeaseRules, MeshSnapshot, Problem};
use boshy_state::disk;
use boshy_supervision::{ExitReason, Placement, Tree, TreeStatus};
use boshy_tls::ServerTls;
use boshy_web::{
    pilot::PilotView,
    status::{ConvergenceStatus, DirectorStatus, Lack, PilotStatus, Readiness, XdsStatus},
};
use boshy_xds::{HandshakeFailures, MeshTold, Proxies, Security};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    convergence::{self, Converged, ConvergenceParts},
    director_poller::{self, DirectorPoller, DirectorPollerParts, PollReport},
    http_server::{HttpServer, HttpSocket, Site},
    kept_facts,
    records_file::RecordsFile,
    server_socket::ServerSocket,
    service_registry::{ServiceRegistry, ServiceRegistryParts},
    start::{self, StartError},
    state_dir::StateDir,
    vip_pool::{self, PoolReport, VipPool, VipPoolParts},
    xds_server::{MeshServerParts, XdsServer, XdsServerParts},
};

/// Restarts within a minute that the tree tolerates. Each is a bug; more of them mean that a fresh process is needed.
const INTENSITY: u32 = 10;

/// A pilot with its sockets bound.
pub struct Pilot {
    settings: PilotSettings,
    state_dir: StateDir,
    http: TcpListener,
    https: Option<(TcpListener, ServerTls)>,
    xds: TcpListener,
    xds_tls: Option<ServerTls>,
    log_trouble: Option<String>,
}

/// State that the actors of a pilot share and that outlives them.
#[derive(Clone)]
struct State {
    snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>>,
    poll: Arc<ArcSwap<PollReport>>,
    pool: Arc<ArcSwap<PoolReport>>,
    /// Why another pilot may use the state directory as well.
    unclaimed: Option<Lack>,
    /// What is wrong with the log's settings.
    log: Option<Lack>,
    /// Why the director's facts are not on disk.
    unkept: Arc<ArcSwap<Option<Lack>>>,
    problems: Arc<ArcSwap<Vec<Problem>>>,
    proxies: Proxies,
    security: Option<Security>,
    converged: Arc<ArcSwap<Converged>>,
}

/// Runs a pilot until SIGTERM or SIGINT, or until its tree gives up.
///
/// `log_trouble` is what is wrong with the log's settings; the status lists it among what is lacking.
///
/// # Errors
/// When it cannot listen on an address.
pub fn run(settings: PilotSettings, log_trouble: Option<String>) -> Result<ExitReason, StartError> {
    let pilot = Pilot { log_trouble, ..Pilot::bind(settings)? };
    start::run_system(|signal| pilot.run_until(signal.received()))
}

impl Pilot {
    /// Claims the state directory and binds the sockets.
    ///
    /// # Errors
    /// When another pilot uses the directory, when it cannot listen on an address, or when the director's settings
    /// cannot be used.
    pub fn bind(settings: PilotSettings) -> Result<Self, StartError> {
        // Checked here, too, because a restart does not correct invalid settings.
        DirectorClient::new(&client_settings(&settings))?;
        let xds_tls = settings.xds_tls.clone().map(|files| ServerTls::open(files, boshy_xds::ALPN)).transpose()?;
        let state_dir = StateDir::claim(&settings.state_dir)?;
        let (http, xds) = (start::listen(settings.http)?, start::listen(settings.xds)?);
        let https = settings.https.as_ref().map(|https| -> Result<_, StartError> {
            let tls = ServerTls::open(https.files.clone(), boshy_web::server::ALPN)?;
            Ok((start::listen(https.listen)?, tls))
        });
        let https = https.transpose()?;
        Ok(Self { settings, state_dir, http, https, xds, xds_tls, log_trouble: None })
    }

    /// Address of the HTTP server.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.local_addr().ok()
    }

    /// Address of the HTTPS server.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref()?.0.local_addr().ok()
    }

    /// Address of the xDS server.
    pub fn xds_address(&self) -> Option<SocketAddr> {
        self.xds.local_addr().ok()
    }

    /// Runs the tree. Needs an actix system.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        self.state_dir.sweep().await;
        let known = kept_facts::restore(&self.settings.state_dir.join("inventory")).await;
        let mut state = State::new(&self.settings, self.xds_tls.clone(), known);
        state.unclaimed = self.state_dir.lack();
        state.log = self.log_trouble.clone().map(start::log_lack);
        // The claim on the directory lasts until the last actor has ended.
        let (tree, _claim) = self.tree(&state);
        tree.run_until(shutdown).await
    }

    fn tree(self, state: &State) -> (Tree, StateDir) {
        let Self { settings, state_dir, http, https, xds, .. } = self;
        let mut tree = Tree::new("pilot").intensity(INTENSITY, Duration::from_secs(60));

        let rules = lease_rules(&settings);
        let parts = VipPoolParts {
            file: settings.state_dir.join("leases"),
            rules,
            clock: Clock::system(),
            report: Arc::clone(&state.pool),
        };
        let pool = tree
            .child("vip_pool", move |_| VipPool::new(parts.clone()))
            // A request waits for the disk twice: to read and to write.
            .silent_for(4 * disk::PATIENCE)
            .add();

        let parts = ServiceRegistryParts {
            tld: settings.tld.clone(),
            rules,
            pool,
            records: RecordsFile::new(settings.records.clone()),
            proxies: state.proxies.clone(),
            snapshot: Arc::clone(&state.snapshot),
            problems: Arc::clone(&state.problems),
        };
        let registry = tree.child("service_registry", move |_| ServiceRegistry(parts.clone())).add();

        let parts = DirectorPollerParts {
            connect: director_poller::over_https(client_settings(&settings)),
            observer: observer_settings(&settings),
            tell: director_poller::to_registry(registry),
            report: Arc::clone(&state.poll),
            file: settings.state_dir.join("inventory"),
            unkept: Arc::clone(&state.unkept),
        };
        tree.child("director_poller", move |link| DirectorPoller::new(parts.clone(), link)).add();

        let parts = MeshServerParts {
            listener: Arc::new(xds),
            security: state.security.clone(),
            told: MeshTold { tld: settings.tld.clone(), vip_range: settings.vip_range },
            proxies: state.proxies.clone(),
        };
        let parts = XdsServerParts::mesh(parts, state.snapshot.subscribe());
        tree.child("xds_server", move |link| XdsServer::new(parts.clone(), link)).on(Placement::OwnThread).add();

        let (snapshot, proxies) = (state.snapshot.subscribe(), state.proxies.clone());
        let parts = ConvergenceParts { snapshot, proxies, converged: Arc::clone(&state.converged) };
        tree.task("convergence", move |heart| convergence::measure(parts.clone(), heart)).add();

        let reporter = {
            let (state, actors) = (state.clone(), tree.status());
            Arc::new(move || state.report(&actors.borrow()))
        };
        let view = PilotView::new(state.snapshot.subscribe(), reporter, start::health(tree.vitals()));
        let saboteur = settings.test_hooks.then(|| tree.saboteur());
        let site = Site::new(HttpSocket::Tcp(ServerSocket::of(http)), move |config| {
            start::mount_test_hooks(config, saboteur.as_ref());
            boshy_web::pilot::configure(config, &view);
        });
        let over_tls = https.map(|(listener, tls)| site.also_at(HttpSocket::Tls(ServerSocket::of(listener), tls)));
        let health = settings.health_socket.map(|path| ServerSocket::new(move || start::listen_unix(&path)));
        let health = health.map(|port| site.also_at(HttpSocket::Unix(port)));
        let sites: Vec<Site> = [Some(site), over_tls, health].into_iter().flatten().collect();
        tree.child("http_server", move |link| HttpServer::new(sites.clone(), link)).add();
        (tree, state_dir)
    }
}

impl State {
    fn new(settings: &PilotSettings, tls: Option<ServerTls>, known: Option<Arc<Inventory>>) -> Self {
        let director = DirectorStatus { url: settings.director.url.to_string(), last_success: None, error: None };
        let report = PollReport { known, complete: false, director, deployments: Vec::new(), lacking: Vec::new() };
        Self {
            snapshot: Arc::new(watch::Sender::new(Arc::default())),
            poll: Arc::new(ArcSwap::from_pointee(report)),
            pool: Arc::new(ArcSwap::from_pointee(vip_pool::unused(&lease_rules(settings)))),
            unclaimed: None,
            log: None,
            unkept: Arc::default(),
            problems: Arc::default(),
            proxies: Proxies::default(),
            security: tls.map(|tls| Security::new(tls, HandshakeFailures::default())),
            converged: Arc::default(),
        }
    }

    fn report(&self, actors: &TreeStatus) -> PilotStatus {
        let snapshot = self.snapshot.borrow().clone();
        let (poll, pool, unkept) = (self.poll.load(), self.pool.load(), self.unkept.load());
        PilotStatus {
            readiness: readiness(&poll, &snapshot),
            lacking: [&self.unclaimed, &self.log, &pool.lack, &unkept]
                .into_iter()
                .flatten()
                .chain(&poll.lacking)
                .cloned()
                .collect(),
            snapshot: snapshot.as_ref().into(),
            convergence: self.convergence(),
            director: poll.director.clone(),
            deployments: poll.deployments.clone(),
            problems: self.problems.load().as_ref().clone(),
            pool: pool.status.clone(),
            services: snapshot.content.services.iter().map(|plan| (&**plan).into()).collect(),
            actors: actors.clone(),
            xds: XdsStatus {
                tls: self.security.is_some(),
                refused: self.security.as_ref().map(|security| security.failures.counts()).unwrap_or_default(),
            },
            proxies: self.proxies.list(),
        }
    }

    fn convergence(&self) -> ConvergenceStatus {
        let Converged { generation, accepted } = **self.converged.load();
        ConvergenceStatus {
            generation,
            behind: self.proxies.behind(generation) as u64,
            proxies: accepted.map(|(proxies, _)| proxies as u64),
            milliseconds: accepted.map(|(_, after)| after.as_millis() as u64),
        }
    }
}

fn readiness(poll: &PollReport, snapshot: &MeshSnapshot) -> Readiness {
    match (poll.complete, snapshot.generation > 0) {
        (true, true) => Readiness::ready(),
        (true, false) => {
            Readiness::waiting("the director was read; virtual IPs could not be leased yet, see `lacking`")
        }
        (false, _) => Readiness::waiting(match &poll.director.error {
            Some(error) => format!("the director was not read completely yet: {error}"),
            None => "the director was not read completely yet".to_owned(),
        }),
    }
}

/// With a short list period, the other periods are shortened, too.
fn observer_settings(settings: &PilotSettings) -> ObserverSettings {
    let (usual, list) = (ObserverSettings::default(), settings.director.poll_interval);
    ObserverSettings {
        list,
        look: usual.look.min(list),
        confirm_after: usual.confirm_after.min(list * 3),
        full_pass: settings.director.full_read_interval,
        ..usual
    }
}

fn lease_rules(settings: &PilotSettings) -> LeaseRules {
    LeaseRules { range: settings.vip_range, quarantine: settings.vip_quarantine, share: settings.vip_share }
}

fn client_settings(settings: &PilotSettings) -> ClientSettings {
    let director = &settings.director;
    let credentials = Credentials { name: director.client.clone(), secret: director.client_secret.clone() };
    ClientSettings {
        timeout: director.timeout,
        // A failed request is reported at once; the observer decides when to ask again.
        attempts: 1,
        ..ClientSettings::new(director.url.as_str(), director.ca_cert.clone(), credentials)
    }
}
