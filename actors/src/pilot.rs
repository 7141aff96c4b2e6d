//! The pilot's tree, and what each of its actors is made of.
//!
//! ```text
//!   pilot (one for one)
//!     vip_pool          leases on disk
//!     service_registry  -> watch<MeshSnapshot>
//!     director_poller   -> service_registry
//!     xds_server        <- watch<MeshSnapshot>
//!     convergence       <- watch<MeshSnapshot>, proxies (a task)
//!     certificate_authority  <- watch<MeshSnapshot>, requests of xds_server; keys on disk (a task, with `identity`)
//!     http_server       <- watch<MeshSnapshot>, status
//! ```

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use boshy_config::{IdentitySettings, PilotSettings};
use boshy_director::{
    client::{ClientSettings, Credentials, DirectorClient},
    observer::ObserverSettings,
};
use boshy_mesh::{LeaseRules, MeshSnapshot};
use boshy_state::disk;
use boshy_supervision::{ChildRef, ExitReason, Placement, Tree};
use boshy_tls::ServerTls;
use boshy_web::pilot::PilotView;
use boshy_xds::{Certifier, MeshTold, WorkloadTrust};

use crate::{
    certificate_authority::{self, CertificateAuthorityParts},
    clock::Clock,
    convergence::{self, ConvergenceParts},
    director_poller::{self, DirectorPoller, DirectorPollerParts},
    http_server::{HttpServer, HttpSocket, Site},
    kept_facts,
    pilot_state::PilotState,
    records_file::RecordsFile,
    server_socket::ServerSocket,
    service_registry::{Mtls, ServiceRegistry, ServiceRegistryParts},
    start::{self, StartError},
    state_dir::StateDir,
    tunnelled_services::TunnelledServices,
    vip_pool::{VipPool, VipPoolParts},
    xds_server::{MeshServerParts, XdsServer, XdsServerParts},
};

/// Restarts within a minute that the tree tolerates. Each is a bug; more of them mean that a fresh process is needed.
const INTENSITY: u32 = 10;

/// A pilot with its sockets bound.
pub struct Pilot {
    settings: PilotSettings,
    state_dir: StateDir,
    http: ServerSocket<TcpListener>,
    https: Option<(ServerSocket<TcpListener>, ServerTls)>,
    xds: Arc<TcpListener>,
    xds_tls: Option<ServerTls>,
    workloads: Option<WorkloadTrust>,
    log_trouble: Option<String>,
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
        let workloads = settings.identity.as_ref().map(workload_trust).transpose()?;
        let state_dir = StateDir::claim(&settings.state_dir)?;
        let (http, xds) = (ServerSocket::of(start::listen(settings.http)?), Arc::new(start::listen(settings.xds)?));
        let https = settings.https.as_ref().map(|https| -> Result<_, StartError> {
            let tls = ServerTls::open(https.files.clone(), boshy_web::server::ALPN)?;
            Ok((ServerSocket::of(start::listen(https.listen)?), tls))
        });
        let https = https.transpose()?;
        Ok(Self { settings, state_dir, http, https, xds, xds_tls, workloads, log_trouble: None })
    }

    /// Address of the HTTP server.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.now()?.local_addr().ok()
    }

    /// Address of the HTTPS server.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref()?.0.now()?.local_addr().ok()
    }

    /// Address of the xDS server.
    pub fn xds_address(&self) -> Option<SocketAddr> {
        self.xds.local_addr().ok()
    }

    /// Runs the tree. Needs an actix system.
    ///
    /// The claim on the state directory lasts until the last actor has ended.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        self.state_dir.sweep().await;
        let known = kept_facts::restore(&self.facts_file()).await;
        let (director, rules) = (self.settings.director.url.to_string(), lease_rules(&self.settings));
        let mut state = PilotState::new(director, &rules, self.xds_tls.clone(), self.workloads.clone(), known);
        let log = self.log_trouble.clone().map(start::log_lack);
        state.since_start = self.state_dir.lack().into_iter().chain(log).collect();
        self.tree(&state).run_until(shutdown).await
    }

    fn tree(&self, state: &PilotState) -> Tree {
        let mut tree = Tree::new("pilot").intensity(INTENSITY, Duration::from_secs(60));

        let parts = self.vip_pool(state);
        let pool = tree.child("vip_pool", move |_| VipPool::new(parts.clone()));
        // A request waits for the disk twice: to read and to write.
        let pool = pool.silent_for(4 * disk::PATIENCE).add();

        let parts = self.service_registry(state, pool);
        let registry = tree.child("service_registry", move |_| ServiceRegistry::new(parts.clone())).add();

        let parts = self.director_poller(state, registry);
        tree.child("director_poller", move |link| DirectorPoller::new(parts.clone(), link)).add();

        let parts = self.xds_server(state);
        tree.child("xds_server", move |link| XdsServer::new(parts.clone(), link)).on(Placement::OwnThread).add();

        let (snapshot, proxies) = (state.snapshot.subscribe(), state.proxies.clone());
        let parts = ConvergenceParts { snapshot, proxies, converged: Arc::clone(&state.converged) };
        tree.task("convergence", move |heart| convergence::measure(parts.clone(), heart)).add();

        if let Some(parts) = self.certificate_authority(state) {
            let task =
                tree.task("certificate_authority", move |heart| certificate_authority::serve(parts.clone(), heart));
            task.silent_for(4 * disk::PATIENCE).add();
        }

        let sites = self.sites(state, &tree);
        tree.child("http_server", move |link| HttpServer::new(sites.clone(), link)).add();
        tree
    }

    fn vip_pool(&self, state: &PilotState) -> VipPoolParts {
        VipPoolParts {
            file: self.settings.state_dir.join("leases"),
            rules: lease_rules(&self.settings),
            clock: Clock::system(),
            report: Arc::clone(&state.pool),
        }
    }

    fn service_registry(&self, state: &PilotState, pool: ChildRef<VipPool>) -> ServiceRegistryParts {
        ServiceRegistryParts {
            tld: self.settings.tld.clone(),
            rules: lease_rules(&self.settings),
            pool,
            records: RecordsFile::new(self.settings.records.clone()),
            proxies: state.proxies.clone(),
            snapshot: Arc::clone(&state.snapshot),
            problems: Arc::clone(&state.problems),
            mtls: self.mtls(),
            observed: Arc::default(),
        }
    }

    /// `None` without an authority. With one, documents may ask for what the settings do not.
    fn mtls(&self) -> Option<Mtls> {
        let domain = self.settings.identity.as_ref()?.trust_domain.clone();
        let tunnelled = Arc::new(TunnelledServices::new(self.settings.state_dir.join("tunnels")));
        Some(Mtls { domain, mode: self.settings.mtls, tunnelled })
    }

    fn facts_file(&self) -> PathBuf {
        self.settings.state_dir.join("inventory")
    }

    fn director_poller(&self, state: &PilotState, registry: ChildRef<ServiceRegistry>) -> DirectorPollerParts {
        DirectorPollerParts {
            connect: director_poller::over_https(client_settings(&self.settings)),
            observer: observer_settings(&self.settings),
            tell: director_poller::to_registry(registry),
            report: Arc::clone(&state.poll),
            file: self.facts_file(),
            unkept: Arc::clone(&state.unkept),
        }
    }

    fn xds_server(&self, state: &PilotState) -> XdsServerParts<MeshSnapshot> {
        let parts = MeshServerParts {
            listener: Arc::clone(&self.xds),
            security: state.security.clone(),
            certifier: state.identities.clone().map(|(desk, _)| Arc::new(desk) as Arc<dyn Certifier>),
            told: MeshTold { tld: self.settings.tld.clone(), vip_range: self.settings.vip_range },
            proxies: state.proxies.clone(),
        };
        XdsServerParts::mesh(parts, state.snapshot.subscribe())
    }

    fn certificate_authority(&self, state: &PilotState) -> Option<CertificateAuthorityParts> {
        let (desk, requests) = state.identities.clone()?;
        let settings = self.settings.identity.clone()?;
        let file = self.settings.state_dir.join("identities");
        Some(CertificateAuthorityParts { settings, file, snapshot: state.snapshot.subscribe(), requests, desk })
    }

    fn sites(&self, state: &PilotState, tree: &Tree) -> Vec<Site> {
        let reporter = {
            let (state, actors) = (state.clone(), tree.status());
            Arc::new(move || state.report(&actors.borrow()))
        };
        let domain = self.settings.identity.as_ref().map(|identity| identity.trust_domain.clone()).unwrap_or_default();
        let view = PilotView::new(state.snapshot.subscribe(), reporter, start::health(tree.vitals())).of_domain(domain);
        let saboteur = self.settings.test_hooks.then(|| tree.saboteur());
        let site = Site::new(HttpSocket::Tcp(self.http.clone()), move |config| {
            start::mount_test_hooks(config, saboteur.as_ref());
            boshy_web::pilot::configure(config, &view);
        });
        let over_tls = self.https.clone().map(|(socket, tls)| site.also_at(HttpSocket::Tls(socket, tls)));
        let health = self.settings.health_socket.clone();
        let health = health.map(|path| HttpSocket::Unix(ServerSocket::new(move || start::listen_unix(&path))));
        let health = health.map(|socket| site.also_at(socket));
        [Some(site), over_tls, health].into_iter().flatten().collect()
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

fn workload_trust(settings: &IdentitySettings) -> Result<WorkloadTrust, StartError> {
    Ok(WorkloadTrust { domain: settings.trust_domain.clone(), roots: settings.bundle()? })
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
