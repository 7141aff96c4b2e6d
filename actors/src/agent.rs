//! The agent's tree, and what each of its actors is made of.
//!
//! ```text
//!   agent (one for one)
//!     address_finder    the VM's own address (a task)
//!     pilot_exchange    pilot <-> relay -> names, resources, state
//!     state_keeper      state -> file
//!     identity_keeper   key and certificate <- pilots, <-> file (a task, where pilots are reached over TLS)
//!     reporter          Envoy's answers, identity, whether the VM stops -> every pilot (a task)
//!     name_feed         names -> dns_server (a task)
//!     dns_server        <- names
//!     endpoint_follower resources, records.json -> served_gate (a task)
//!     served_gate       resources -> xds_server, a captured port's listener after the rule that leads to it (a task)
//!     xds_server        <- resources; the local Envoy asks here
//!     netfilter_writer  rules and route
//!     peer_watcher      connections of Envoy whose instance has vanished (a task)
//!     envoy_watcher     Envoy's admin interface (a task)
//!     lookout           what is lacking (a task)
//!     http_server       status, and where wanted the handler for bosh-dns
//! ```

mod identity;
mod sites;

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use boshy_config::{AgentSettings, NodeSettings, ProxyMode};
use boshy_dns::Sockets;
use boshy_mesh::{INGRESS_PORT, ORIGINAL_SRC_MARK};
use boshy_netfilter::{Guard, Ingress, Ownership, Redirect, ReturnPath, Strict, VipRoute};
use boshy_records::View;
use boshy_supervision::{ExitReason, Link, Placement, Tree};
use boshy_tls::ClientTls;
use boshy_vm::Wanted;
use boshy_web::handler::HandlerView;
use boshy_xds::{
    Capture, PeerTimeout, ResourceSet,
    agent::{Uri, relay::RelaySettings},
};
use err_report::Report;
use tracing::{info, warn};

use crate::{
    address_finder::{self, AddressFinderParts},
    agent_report::Reports,
    agent_state::AgentState,
    clock::Clock,
    dns_server::{self, DnsServer, DnsServerParts},
    drain::drained,
    endpoint_follower::{self, EndpointFollowerParts},
    envoy_watcher::{self, EnvoyWatcherParts},
    held_identity::Held,
    http_server::HttpServer,
    identity_keeper,
    lookout::{self, LookoutParts},
    netfilter_writer::{NetfilterWriter, NetfilterWriterParts},
    peer_watcher::{self, PeerWatcherParts},
    pilot_exchange::{PilotExchange, PilotExchangeParts, Streams},
    records_source::RecordsSource,
    redirect::{Kernel, Linux, Rules},
    reporter,
    served_gate::{self, ServedGateParts},
    server_socket::ServerSocket,
    start::{self, StartError},
    state_keeper::{self, StateKeeperParts},
    xds_server::{RelayServerParts, XdsServer, XdsServerParts},
};

/// Restarts within a minute that the tree tolerates, one more than it has children. Each is a bug; more of them mean
/// that a fresh process is needed.
const INTENSITY: u32 = 16;

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
    let redirects = settings.redirects();
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
    let back = ReturnPath::new(ORIGINAL_SRC_MARK).and_then(|mut back| back.remove());
    let back = back.err().map(|error| Report::new(&error).to_string());
    let removed = rules.is_none() && route.is_none() && back.is_none();
    for error in rules.into_iter().chain(route).chain(back) {
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
        let redirect = Redirect::new(settings.vip_range.net(), settings.capture.port())?
            .with_containers(&settings.container_interfaces)?;
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
        let held = match &self.tls {
            Some(tls) => identity_keeper::restore(&self.identity_file(), tls).await,
            None => Held::default(),
        };
        let state = AgentState::new(&self.settings.tld, stored, held);
        let (tree, keeper) = (self.tree(&state), self.state_keeper(&state));
        // From here on the actors alone have the sockets, so that these close with the tree.
        drop(self);
        let ended = tree.run_until(shutdown).await;
        keeper.finish().await;
        ended
    }

    fn tree(&self, state: &AgentState) -> Tree {
        let mut tree = Tree::new("agent").intensity(INTENSITY, Duration::from_secs(60));

        let parts = self.address_finder(state);
        tree.task("address_finder", move |heart| address_finder::find(parts.clone(), heart)).add();

        let parts = self.pilot_exchange(state);
        tree.child("pilot_exchange", move |link| PilotExchange::new(parts.clone(), link)).add();

        let parts = self.state_keeper(state);
        tree.task("state_keeper", move |heart| state_keeper::keep(parts.clone(), heart)).silent_for(HUNG_DISK).add();

        if let Some(parts) = self.identity_keeper(state) {
            let keeper = move |heart| identity_keeper::keep(parts.clone(), heart);
            tree.task("identity_keeper", keeper).silent_for(HUNG_DISK).add();
        }

        let parts = self.reporter(state);
        tree.task("reporter", move |heart| reporter::report(parts.clone(), heart)).add();

        let parts = self.dns_server(state);
        let server = tree.child("dns_server", move |link| DnsServer::new(parts.clone(), link));
        let (server, told) = (server.on(Placement::OwnThread).add(), state.clone());
        let feed =
            move |heart| dns_server::tell((told.outlets.clone(), told.redirected.subscribe()), server.clone(), heart);
        tree.task("name_feed", feed).add();

        let parts = self.endpoint_follower(state);
        tree.task("endpoint_follower", move |heart| endpoint_follower::follow(parts.clone(), heart)).add();

        let parts = Self::served_gate(state);
        tree.task("served_gate", move |heart| served_gate::pass(parts.clone(), heart)).add();

        let parts = self.xds_server(state);
        tree.child("xds_server", move |link| XdsServer::new(parts.clone(), link)).add();

        let parts = self.netfilter_writer(state);
        let writer = move |_: &Link| NetfilterWriter::new(parts.clone());
        tree.child("netfilter_writer", writer).on(Placement::OwnThread).add();

        let parts = self.peer_watcher(state);
        let watcher = tree.task("peer_watcher", move |heart| peer_watcher::watch_peers(parts.clone(), heart));
        watcher.on(Placement::OwnThread).add();

        let parts = self.envoy_watcher(state);
        tree.task("envoy_watcher", move |heart| envoy_watcher::watch(parts.clone(), heart)).add();

        let handler = HandlerView::new(state.zones.clone());
        let reports = Arc::new(self.reports(state, handler.clone(), &tree));
        let parts = LookoutParts { reports: Arc::clone(&reports), lacking: Arc::clone(&state.lacking) };
        tree.task("lookout", move |heart| lookout::look_out(parts.clone(), heart)).add();

        let sites = self.sites(state, reports, handler, &tree);
        tree.child("http_server", move |link| HttpServer::new(sites.clone(), link)).add();
        tree
    }

    fn address_finder(&self, state: &AgentState) -> AddressFinderParts {
        let NodeSettings { ip, id, records, .. } = self.settings.node.clone();
        AddressFinderParts {
            wanted: Wanted { given: ip, id, records },
            range: self.settings.vip_range,
            found: state.address.clone(),
            missing: Arc::clone(&state.missing),
        }
    }

    fn pilot_exchange(&self, state: &AgentState) -> PilotExchangeParts {
        let settings = &self.settings;
        let streams = Streams {
            node: settings.node.clone(),
            address: state.address.subscribe(),
            pilots: self.pilots.clone(),
            settings: self.exchange_settings(),
            tls: self.tls.clone(),
            connection: state.connection.clone(),
        };
        let peer_timeout = settings.peer_timeout.and_then(PeerTimeout::new);
        PilotExchangeParts {
            streams: Some(streams),
            relay: RelaySettings {
                require_proxy: settings.proxy == ProxyMode::Required,
                capture: Some(Capture { address: settings.listens(), peer_timeout }),
                ..RelaySettings::default()
            },
            ack_states: state.ack_states.clone(),
            outlets: state.outlets.clone(),
            held: state.held.subscribe(),
        }
    }

    fn state_file(&self) -> PathBuf {
        self.settings.state_dir.join("relay")
    }

    fn state_keeper(&self, state: &AgentState) -> StateKeeperParts {
        let (outlets, unkept) = (state.outlets.clone(), Arc::clone(&state.unkept));
        StateKeeperParts { file: self.state_file(), outlets, unkept }
    }

    fn dns_server(&self, state: &AgentState) -> DnsServerParts {
        DnsServerParts {
            sockets: self.dns.clone(),
            zones: state.zones.clone(),
            tld: self.settings.tld.clone(),
            answered: state.answered.clone(),
            stats: Arc::clone(&state.stats),
        }
    }

    fn xds_server(&self, state: &AgentState) -> XdsServerParts<ResourceSet> {
        let parts = RelayServerParts {
            listener: self.ads.clone(),
            proxies: state.proxies.clone(),
            ack_states: state.ack_states.clone(),
            repairs: state.repairs.clone(),
            refusals: state.refusals.clone(),
        };
        XdsServerParts::relay(parts, state.passed.subscribe())
    }

    fn endpoint_follower(&self, state: &AgentState) -> EndpointFollowerParts {
        EndpointFollowerParts {
            served: state.outlets.served.subscribe(),
            exchange: state.outlets.status.subscribe(),
            records: RecordsSource::new(self.settings.node.records.clone(), View::read),
            clock: Clock::system(),
            followed: state.followed.clone(),
        }
    }

    fn served_gate(state: &AgentState) -> ServedGateParts {
        ServedGateParts {
            served: state.followed.subscribe(),
            captured: state.captured.subscribe(),
            passed: state.passed.clone(),
        }
    }

    fn netfilter_writer(&self, state: &AgentState) -> NetfilterWriterParts {
        let rules = Rules {
            redirect: self.redirect.clone(),
            strict: Strict::new(self.settings.strict_exempt.iter().copied()),
            ingress: Ingress::new(INGRESS_PORT, ORIGINAL_SRC_MARK),
        };
        let kernel = move || Box::new(Linux::new(rules.clone())) as Box<dyn Kernel>;
        NetfilterWriterParts {
            kernel: self.settings.redirects().then(|| Arc::new(kernel) as _),
            range: self.settings.vip_range,
            served: state.outlets.served.subscribe(),
            answered: state.answered.subscribe(),
            ack_states: state.ack_states.clone(),
            envoy_stop: state.envoy_stop.clone(),
            original_src: self.settings.original_src,
            source: state.address.subscribe(),
            redirected: state.redirected.clone(),
            captured: state.captured.clone(),
            status: Arc::clone(&state.rules),
        }
    }

    fn peer_watcher(&self, state: &AgentState) -> PeerWatcherParts {
        let timeout = self.settings.peer_timeout.filter(|_| self.settings.proxy == ProxyMode::Required);
        PeerWatcherParts { timeout, trouble: Arc::clone(&state.peers) }
    }

    fn envoy_watcher(&self, state: &AgentState) -> EnvoyWatcherParts {
        EnvoyWatcherParts {
            admin: self.settings.envoy_admin,
            peer_timeout: self.settings.peer_timeout,
            set_otherwise: Arc::clone(&state.set_otherwise),
            live: Arc::clone(&state.live),
            served: state.outlets.served.subscribe(),
            ack_states: state.ack_states.clone(),
            proxies: state.proxies.clone(),
            repairs: state.repairs.clone(),
            inspected: Arc::clone(&state.inspected),
        }
    }

    fn reports(&self, state: &AgentState, handler: HandlerView, tree: &Tree) -> Reports {
        Reports {
            settings: self.settings.clone(),
            state: state.clone(),
            sockets: self.sockets(),
            pilots: self.pilots(),
            log_trouble: self.log_trouble.clone(),
            handler,
            actors: tree.status(),
        }
    }
}
