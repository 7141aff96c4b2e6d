//! The pilot's tree, and what each of its actors is made of.
//!
//! ```text
//!   pilot (one for one)
//!     vip_pool          leases on disk
//!     lease_agreement   <-> director's configs, when several pilots share their leases (a task)
//!     service_registry  -> watch<MeshSnapshot>
//!     director_poller   -> service_registry
//!     records_watch     records.json of this VM -> service_registry, director_poller (a task)
//!     xds_server        <- watch<MeshSnapshot>
//!     convergence       <- watch<MeshSnapshot>, proxies (a task)
//!     certificate_authority  <- watch<MeshSnapshot>, requests of xds_server; keys on disk (a task, with `identity`)
//!     http_server       <- watch<MeshSnapshot>, status
//! ```

use std::{
    collections::BTreeSet,
    future::Future,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actix_web::web::ServiceConfig;
use boshy_config::{IdentitySettings, LeaseStore, PilotSettings};
use boshy_director::{
    client::{ClientSettings, Credentials, DirectorClient},
    lease_log::LeaseLog,
    observer::ObserverSettings,
};
use boshy_mesh::{FromLinks, LeaseRules, MeshSnapshot};
use boshy_state::disk;
use boshy_supervision::{ChildRef, ExitReason, Placement, Tree};
use boshy_tls::ServerTls;
use boshy_web::{identity::Allow, pilot::PilotView};
use boshy_xds::{Certifier, MeshTold, WorkloadTrust};
use nix::unistd::gethostname;
use tracing::warn;

use crate::{
    certificate_authority::{self, CertificateAuthorityParts},
    clock::{self, Clock},
    convergence::{self, ConvergenceParts},
    director_poller::{self, DirectorPoller, DirectorPollerParts, RecordsTold},
    http_server::{HttpServer, HttpSocket, Site},
    identity_desk::IdentityDesk,
    kept_facts,
    kept_stages::KeptStages,
    lease_agreement::{self, LeaseAgreementParts},
    modes::{Modes, Progress},
    pilot_state::PilotState,
    records_file::RecordsFile,
    records_watch::{self, RecordsWatchParts},
    server_socket::ServerSocket,
    service_registry::{OthersChanged, ServiceRegistry, ServiceRegistryParts},
    shared_leases::SharedLeases,
    start::{self, StartError},
    state_dir::StateDir,
    succession::StandingNow,
    trust::Trust,
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
        state.identities = self.settings.identity.as_ref().map(IdentityDesk::new);
        state.leases = (self.settings.leases == LeaseStore::Director).then(SharedLeases::new);
        state.modes = self.workloads.as_ref().map(|_| (self.settings.mtls, Progress::default()));
        let log = self.log_trouble.clone().map(start::log_lack);
        state.trust = self.trust(&state);
        state.since_start = self.state_dir.lack().into_iter().chain(log).collect();
        self.tree(&state).run_until(shutdown).await
    }

    fn trust(&self, state: &PilotState) -> Option<Trust> {
        let authority = self.settings.identity.as_ref()?.open(clock::now()).ok()?;
        let (desk, _) = state.identities.clone()?;
        Some(Trust::new(authority.described().clone(), state.snapshot.subscribe(), state.reports.clone(), desk))
    }

    fn tree(&self, state: &PilotState) -> Tree {
        let mut tree = Tree::new("pilot").intensity(INTENSITY, Duration::from_secs(60));

        let parts = self.vip_pool(state);
        let pool = tree.child("vip_pool", move |_| VipPool::new(parts.clone()));
        // A request waits for the disk twice: to read and to write.
        let pool = pool.silent_for(4 * disk::PATIENCE).add();

        if let Some(parts) = self.lease_agreement(state) {
            tree.task("lease_agreement", move |heart| lease_agreement::agree(parts.clone(), heart)).add();
        }

        let records = RecordsFile::new(self.settings.records.clone());
        let parts = self.service_registry(state, pool, Arc::clone(&records));
        let registry = tree.child("service_registry", move |_| ServiceRegistry::new(parts.clone())).add();

        let parts = self.director_poller(state, registry.clone());
        let poller = tree.child("director_poller", move |link| DirectorPoller::new(parts.clone(), link)).add();

        let parts = RecordsWatchParts { file: records, tell: told_by_records(registry, poller) };
        tree.task("records_watch", move |heart| records_watch::watch(parts.clone(), heart)).add();

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
            shared: state.leases.clone(),
            clock: Clock::system(),
            report: Arc::clone(&state.pool),
        }
    }

    /// `None` when this pilot has its own leases, or when the director's settings cannot be used, which the start
    /// refuses.
    fn lease_agreement(&self, state: &PilotState) -> Option<LeaseAgreementParts> {
        let shared = state.leases.clone()?;
        let client = DirectorClient::new(&client_settings(&self.settings)).ok()?;
        Some(LeaseAgreementParts {
            log: LeaseLog::new(Arc::new(client), self.settings.tld.to_string()),
            writer: gethostname().map_or_else(|_| "pilot".to_owned(), |name| name.to_string_lossy().into_owned()),
            file: self.settings.state_dir.join("agreed-leases"),
            pause: self.settings.director.poll_interval,
            shared,
            clock: Clock::system(),
            unagreed: Arc::clone(&state.unagreed),
        })
    }

    fn service_registry(
        &self,
        state: &PilotState,
        pool: ChildRef<VipPool>,
        records: Arc<RecordsFile>,
    ) -> ServiceRegistryParts {
        ServiceRegistryParts {
            tld: self.settings.tld.clone(),
            rules: lease_rules(&self.settings),
            pool,
            records,
            proxies: state.proxies.clone(),
            reports: state.reports.clone(),
            snapshot: Arc::clone(&state.snapshot),
            problems: Arc::clone(&state.problems),
            mtls: self.modes(state),
            agreed: state.leases.as_ref().map(|leases| leases.agreed.subscribe()),
            clock: Clock::system(),
            observed: Arc::default(),
        }
    }

    /// `None` without an authority. With one, documents may ask for what the settings do not.
    fn modes(&self, state: &PilotState) -> Option<Modes> {
        let (mode, progress) = state.modes.clone()?;
        Some(Modes {
            domain: self.settings.identity.as_ref()?.trust_domain.clone(),
            mode,
            from_links: self.settings.from_links,
            kept: Arc::new(KeptStages::new(self.settings.state_dir.join("tunnels"))),
            clock: Clock::system(),
            progress,
        })
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
        let authority = self.settings.identity.as_ref().and_then(|identity| identity.open(clock::now()).ok());
        let authority = authority.map(|authority| authority.fingerprint());
        let parts = MeshServerParts {
            listener: Arc::clone(&self.xds),
            security: state.security.clone(),
            certifier: state.identities.clone().map(|(desk, _)| Arc::new(desk) as Arc<dyn Certifier>),
            told: MeshTold {
                tld: self.settings.tld.clone(),
                vip_range: self.settings.vip_range,
                authority,
                table: state.leases.as_ref().map(|_| 0),
            },
            proxies: state.proxies.clone(),
            reports: state.reports.clone(),
        };
        XdsServerParts::mesh(parts, state.snapshot.subscribe())
    }

    fn certificate_authority(&self, state: &PilotState) -> Option<CertificateAuthorityParts> {
        let (desk, requests) = state.identities.clone()?;
        let settings = self.settings.identity.clone()?;
        let file = self.settings.state_dir.join("identities");
        let (snapshot, now) = (state.snapshot.subscribe(), Arc::new(clock::now));
        let standing = state.trust.clone().map(|trust| Arc::new(move || trust.standing()) as StandingNow);
        Some(CertificateAuthorityParts { settings, file, snapshot, requests, desk, standing, now })
    }

    fn sites(&self, state: &PilotState, tree: &Tree) -> Vec<Site> {
        let reporter = {
            let (state, actors) = (state.clone(), tree.status());
            Arc::new(move || state.report(&actors.borrow()))
        };
        let domain = self.settings.identity.as_ref().map(|identity| identity.trust_domain.clone()).unwrap_or_default();
        let view = PilotView::new(state.snapshot.subscribe(), reporter, start::health(tree.vitals())).of_domain(domain);
        let trust = state.trust.clone();
        let view = view.with_roots(Arc::new(move || trust.as_ref().map(Trust::standing)));
        let saboteur = self.settings.test_hooks.then(|| tree.saboteur());
        let mount = move |config: &mut ServiceConfig| {
            start::mount_test_hooks(config, saboteur.as_ref());
            boshy_web::pilot::configure(config, &view);
        };
        let site = Site::new(HttpSocket::Tcp(self.http.clone()), mount.clone());
        let over_tls = self.https.clone().map(|(socket, tls)| site.also_at(HttpSocket::Tls(socket, tls)));
        let health = self.settings.health_socket.clone();
        let health = health.map(|path| HttpSocket::Unix(ServerSocket::new(move || start::listen_unix(&path))));
        let allow = state.identities.clone().map(|(desk, _)| allow_at(desk));
        let local = health.map(|socket| {
            Site::new(socket, move |config| {
                if let Some(allow) = &allow {
                    boshy_web::identity::configure(config, allow);
                }
                mount(config);
            })
        });
        [Some(site), over_tls, local].into_iter().flatten().collect()
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
        links: settings.from_links != FromLinks::Disable,
        ..usual
    }
}

fn workload_trust(settings: &IdentitySettings) -> Result<WorkloadTrust, StartError> {
    Ok(WorkloadTrust { domain: settings.trust_domain.clone(), roots: settings.bundle()? })
}

fn allow_at(desk: IdentityDesk) -> Allow {
    Arc::new(move |instance| {
        let desk = desk.clone();
        Box::pin(async move { desk.allow(instance).await.map_err(|refusal| refusal.text) })
    })
}

/// The registry applies what the file says, and the director is asked for the rest. What gets lost in a full queue is
/// made up for by the poller's own period.
fn told_by_records(
    registry: ChildRef<ServiceRegistry>,
    poller: ChildRef<DirectorPoller>,
) -> Arc<dyn Fn(BTreeSet<String>) + Send + Sync> {
    Arc::new(move |deployments| {
        let sent = registry.try_send(OthersChanged).and_then(|()| poller.try_send(RecordsTold(deployments)));
        if let Err(error) = sent {
            warn!(%error, "a change of records.json waits for the next reading of the director");
        }
    })
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
