//! The agent's tree, and the values that outlive its actors.
//!
//! ```text
//!   agent (one for one)
//!     address_finder    the VM's own address (a task)
//!     pilot_exchange    pilot <-> relay -> names, resources, state
//!     state_keeper      state -> file
//!     name_feed         names -> dns_server (a task)
//!     dns_server        <- names
//!     xds_server        <- resources; the local Envoy asks here
//!     netfilter_writer  rules and route
//!     peer_watcher      connections of Envoy whose instance has vanished (a task)
//!     envoy_watcher     Envoy's admin interface (a task)
//!     lookout           what is lacking (a task)
//!     http_server       status, and where wanted the handler for bosh-dns
//! ```

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use boshy_config::{AgentSettings, NetfilterBackend, NodeSettings, ProxyMode};
use boshy_dns::{Sockets, Stats, Zone, Zones};
use boshy_mesh::NameTable;
use boshy_netfilter::{Guard, Ownership, Redirect, VipRoute};
use boshy_supervision::{ExitReason, Link, Placement, Tree};
use boshy_tls::ClientTls;
use boshy_vm::Wanted;
use boshy_web::{
    agent::AgentView,
    handler::{self, HandlerView},
    status::{InspectionStatus, RulesStatus},
};
use boshy_xds::{
    AckStates, Capture, PeerTimeout, Proxies, Repairs,
    agent::{
        ExchangeSettings, Kept, Outlets, Uri,
        relay::{RelaySettings, Stored},
    },
};
use err_report::Report;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    address_finder::{self, AddressFinderParts},
    agent_report::{Reports, Socket},
    dns_server::{self, DnsServer, DnsServerParts},
    drain::drained,
    envoy_watcher::{self, EnvoyWatcherParts},
    http_server::{HttpServer, HttpSocket, Site},
    lookout::{self, LookoutParts},
    name_gate::Redirected,
    netfilter_writer::{NetfilterWriter, NetfilterWriterParts},
    peer_watcher::{self, PeerWatcherParts, Trouble},
    pilot_exchange::{PilotExchange, PilotExchangeParts, Streams},
    redirect::{Kernel, Linux},
    server_socket::ServerSocket,
    start::{self, StartError},
    state_keeper::{self, StateKeeperParts},
    xds_server::{RelayServerParts, XdsServer, XdsServerParts},
};

/// Restarts within a minute that the tree tolerates, one more than it has children. Each is a bug; more of them mean
/// that a fresh process is needed.
const INTENSITY: u32 = 12;

/// A disk may hang for a long time, which is reported separately; a new life of the writer would hang as well.
const HUNG_DISK: Duration = Duration::MAX;

/// An agent with its sockets bound, except for those that another process holds.
pub struct Agent {
    settings: AgentSettings,
    pilots: Vec<Uri>,
    tls: Option<ClientTls>,
    redirect: Redirect,
    dns: ServerSocket<Sockets>,
    handler: Option<ServerSocket<TcpListener>>,
    http: ServerSocket<TcpListener>,
    health: Option<ServerSocket<UnixListener>>,
    ads: ServerSocket<UnixListener>,
    log_trouble: Option<String>,
}

/// Runs an agent until SIGTERM or SIGINT, or until its tree gives up. After SIGTERM it keeps serving while programs
/// have connections to virtual IPs, for at most `stop_timeout`. After an orderly stop it removes its rules.
///
/// `log_trouble` is what is wrong with the log's settings; the status lists it among what is lacking.
///
/// # Errors
/// When a setting cannot be used.
pub fn run(settings: AgentSettings, log_trouble: Option<String>) -> Result<ExitReason, StartError> {
    let redirects = settings.netfilter != NetfilterBackend::None;
    let remove = settings.clone();
    let agent = Agent::bind(settings)?.logging_otherwise(log_trouble);
    let drained = drained(remove.vip_range, remove.stop_timeout);
    let ended = start::run_system(|signal| agent.run_until(signal.received_and(drained)))?;
    if redirects && ended == ExitReason::Normal {
        remove_rules(&remove);
    }
    Ok(ended)
}

/// Removes the redirect rules and the route. Returns whether everything is removed.
pub fn remove_rules(settings: &AgentSettings) -> bool {
    let rules = Guard::open(Ownership::WherePossible).and_then(|mut guard| guard.remove());
    let rules = rules.err().map(|error| Report::new(&error).to_string());
    let route = VipRoute::new(settings.vip_range.net(), Ipv4Addr::UNSPECIFIED).and_then(|mut route| route.remove());
    let route = route.err().map(|error| Report::new(&error).to_string());
    let removed = rules.is_none() && route.is_none();
    for error in rules.into_iter().chain(route) {
        warn!(error, "left behind");
    }
    if removed {
        info!("redirect rules and route are removed");
    }
    removed
}

impl Agent {
    /// Binds the sockets before anything else: a question that arrives from now on waits for its answer. A socket that
    /// another process holds is bound when it is free.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn bind(settings: AgentSettings) -> Result<Self, StartError> {
        let pilot = |url: &url::Url| url.as_str().parse().map_err(|_| StartError::Pilot(url.to_string()));
        let pilots = settings.pilots.iter().map(pilot).collect::<Result<Vec<Uri>, _>>()?;
        let tls = settings.pilot_tls.clone().map(|files| ClientTls::open(files, boshy_xds::ALPN)).transpose()?;
        let redirect = Redirect::new(settings.vip_range.net(), settings.capture.port())?;
        let listen = |address: SocketAddr| ServerSocket::new(move || start::listen(address));
        let (dns, ads) = (settings.dns, settings.ads_socket.clone());
        Ok(Self {
            dns: Sockets::lent().map_or_else(|| ServerSocket::new(move || Sockets::bind(dns)), ServerSocket::of),
            pilots,
            tls,
            redirect,
            handler: settings.handler.map(listen),
            http: listen(settings.http),
            health: settings.health_socket.clone().map(|path| ServerSocket::new(move || start::listen_unix(&path))),
            ads: ServerSocket::new(move || start::listen_unix(&ads)),
            settings,
            log_trouble: None,
        })
    }

    /// Sets what is wrong with the log's settings, for the status.
    #[must_use]
    pub fn logging_otherwise(self, log_trouble: Option<String>) -> Self {
        Self { log_trouble, ..self }
    }

    /// Address of the DNS server, UDP and TCP.
    pub fn dns_address(&self) -> Option<SocketAddr> {
        Some(self.dns.now()?.address())
    }

    /// Address of the bosh-dns handler.
    pub fn handler_address(&self) -> Option<SocketAddr> {
        self.handler.as_ref()?.now()?.local_addr().ok()
    }

    /// Address of the status and metrics endpoints.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.now()?.local_addr().ok()
    }

    /// Runs the tree. Needs an actix system.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> ExitReason {
        let stored = state_keeper::restore(&self.state_file()).await;
        let (tree, keeper) = self.tree(stored);
        let ended = tree.run_until(shutdown).await;
        keeper.finish().await;
        ended
    }

    fn state_file(&self) -> PathBuf {
        self.settings.state_dir.join("relay")
    }

    /// The tree, and the state keeper's work to do after its end.
    fn tree(self, stored: Option<Arc<Stored>>) -> (Tree, StateKeeperParts) {
        let file = self.state_file();
        let Self { settings, pilots, tls, redirect, dns, handler, http, health, ads, log_trouble } = self;
        let mut tree = Tree::new("agent").intensity(INTENSITY, Duration::from_secs(60));
        let (outlets, proxies, ack_states) = (Outlets::default(), Proxies::default(), AckStates::default());
        let zones = Zones::new(Zone::not_known_yet(&settings.tld));
        let repairs = Repairs::default();
        let (stats, rules) = (Arc::new(Stats::default()), Arc::new(ArcSwap::from_pointee(RulesStatus::default())));
        let (live, unkept) = (Arc::new(ArcSwap::from_pointee(None)), Arc::new(ArcSwap::from_pointee(None)));
        let lacking = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let (redirected, answered) =
            (watch::Sender::new(Redirected::default()), watch::Sender::new(Arc::<NameTable>::default()));
        if let Some(stored) = stored {
            outlets.names.send_replace(Arc::new(stored.answered()));
            outlets.stored.send_replace(stored);
        }
        outlets.kept.send_replace(Kept::State(outlets.stored.borrow().clone()));

        let parts = AddressFinderParts {
            wanted: wanted(&settings.node),
            range: settings.vip_range,
            found: watch::Sender::new(None),
            missing: Arc::default(),
        };
        let (address, missing) = (parts.found.subscribe(), Arc::clone(&parts.missing));
        tree.task("address_finder", move |heart| address_finder::find(parts.clone(), heart)).add();

        let streams = Streams {
            node: settings.node.clone(),
            address: address.clone(),
            pilots,
            settings: ExchangeSettings::default(),
            tls,
        };
        let parts = PilotExchangeParts {
            streams: Some(streams),
            relay: RelaySettings {
                require_proxy: settings.proxy == ProxyMode::Required,
                capture: Some(Capture {
                    address: settings.capture,
                    peer_timeout: settings.peer_timeout.and_then(PeerTimeout::new),
                }),
                ..RelaySettings::default()
            },
            ack_states: ack_states.clone(),
            outlets: outlets.clone(),
        };
        tree.child("pilot_exchange", move |link| PilotExchange::new(parts.clone(), link)).add();

        let keeper = StateKeeperParts { file, outlets: outlets.clone(), unkept: Arc::clone(&unkept) };
        let kept = keeper.clone();
        tree.task("state_keeper", move |heart| state_keeper::keep(kept.clone(), heart)).silent_for(HUNG_DISK).add();

        let mut sockets = vec![
            Socket::new("dns", dns.clone(), settings.dns.to_string(), "names of the mesh are not answered"),
            Socket::new("http", http.clone(), settings.http.to_string(), "status and metrics cannot be read"),
            Socket::new("ads", ads.clone(), settings.ads_socket.display().to_string(), "Envoy gets no configuration"),
        ];
        let no_handler = "bosh-dns handlers of source type http get no answer";
        let handlers = settings.handler.zip(handler.clone());
        sockets.extend(handlers.map(|(address, port)| Socket::new("handler", port, address.to_string(), no_handler)));
        let parts = DnsServerParts {
            sockets: dns,
            zones: zones.clone(),
            tld: settings.tld.clone(),
            answered: answered.clone(),
            stats: Arc::clone(&stats),
        };
        let server = tree.child("dns_server", move |link| DnsServer::new(parts.clone(), link));
        let (server, telling) = (server.on(Placement::OwnThread).add(), (outlets.clone(), redirected.subscribe()));
        tree.task("name_feed", move |heart| dns_server::tell(telling.clone(), server.clone(), heart)).add();

        let parts = RelayServerParts {
            listener: ads,
            proxies: proxies.clone(),
            ack_states: ack_states.clone(),
            repairs: repairs.clone(),
        };
        let parts = XdsServerParts::relay(parts, outlets.served.subscribe());
        tree.child("xds_server", move |link| XdsServer::new(parts.clone(), link)).add();

        let redirects = settings.netfilter != NetfilterBackend::None;
        let kernel = move || Box::new(Linux::new(redirect.clone())) as Box<dyn Kernel>;
        let parts = NetfilterWriterParts {
            kernel: redirects.then(|| Arc::new(kernel) as _),
            range: settings.vip_range,
            served: outlets.served.subscribe(),
            answered: answered.subscribe(),
            source: address.clone(),
            redirected,
            status: Arc::clone(&rules),
        };
        let writer = move |_: &Link| NetfilterWriter::new(parts.clone());
        tree.child("netfilter_writer", writer).on(Placement::OwnThread).add();

        let peers = Arc::<ArcSwap<Trouble>>::default();
        let timeout = settings.peer_timeout.filter(|_| settings.proxy == ProxyMode::Required);
        let parts = PeerWatcherParts { timeout, trouble: Arc::clone(&peers) };
        let watcher = tree.task("peer_watcher", move |heart| peer_watcher::watch_peers(parts.clone(), heart));
        watcher.on(Placement::OwnThread).add();

        let inspected = Arc::<ArcSwap<InspectionStatus>>::default();
        let set_otherwise = Arc::<ArcSwap<Option<String>>>::default();
        let parts = EnvoyWatcherParts {
            admin: settings.envoy_admin,
            peer_timeout: settings.peer_timeout,
            set_otherwise: Arc::clone(&set_otherwise),
            live: Arc::clone(&live),
            served: outlets.served.subscribe(),
            ack_states,
            proxies: proxies.clone(),
            repairs,
            inspected: Arc::clone(&inspected),
        };
        tree.task("envoy_watcher", move |heart| envoy_watcher::watch(parts.clone(), heart)).add();

        let asked = HandlerView::new(zones);
        let reports = Arc::new(Reports {
            node: settings.node.clone(),
            address,
            missing,
            sockets,
            proxy: settings.proxy,
            redirects,
            answered: answered.subscribe(),
            ads_socket: settings.ads_socket.clone(),
            state_dir: settings.state_dir.clone(),
            tld: settings.tld.clone(),
            vip_range: settings.vip_range,
            unkept,
            log_trouble,
            lacking: Arc::clone(&lacking),
            outlets,
            proxies,
            live,
            inspected,
            rules,
            peers,
            set_otherwise,
            stats,
            handler: asked.clone(),
            actors: tree.status(),
        });
        let parts = LookoutParts { reports: Arc::clone(&reports), lacking };
        tree.task("lookout", move |heart| lookout::look_out(parts.clone(), heart)).add();
        let view = AgentView { status: Arc::new(move || reports.report()), health: start::health(tree.vitals()) };
        let saboteur = settings.test_hooks.then(|| tree.saboteur());
        let status = Site::new(HttpSocket::Tcp(http), move |config| {
            start::mount_test_hooks(config, saboteur.as_ref());
            boshy_web::agent::configure(config, &view);
        });
        let health = health.map(|port| status.also_at(HttpSocket::Unix(port)));
        let answers = handler
            .map(|handler| Site::new(HttpSocket::Tcp(handler), move |config| handler::configure(config, &asked)));
        let sites: Vec<Site> = [Some(status), health, answers].into_iter().flatten().collect();
        tree.child("http_server", move |link| HttpServer::new(sites.clone(), link)).add();
        (tree, keeper)
    }
}

fn wanted(node: &NodeSettings) -> Wanted {
    Wanted { given: node.ip, id: node.id.clone(), records: node.records.clone() }
}
