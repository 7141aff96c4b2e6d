//! Settings of `boshy agent`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use boshy_mesh::{NodeId, Tld, VipRange};
use boshy_tls::ClientFiles;
use ipnet::Ipv4Net;
use serde::Deserialize;
use url::Url;

use crate::load::{self, SettingsError};

/// Settings of the agent, after their check.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Identity of this VM.
    pub node: NodeSettings,
    /// Pilots in order of preference: `https://HOST:PORT`, or `http://` for a pilot without TLS. A host may be a name.
    pub pilots: Vec<Url>,
    /// Certificate files for `https` pilots; present whenever such a pilot is listed.
    pub pilot_tls: Option<ClientFiles>,
    /// DNS zone of the mesh; the agent answers for names in it.
    pub tld: Tld,
    /// Range of virtual IPs, whose connections are redirected.
    pub vip_range: VipRange,
    /// Directory of the last accepted configuration, which survives restarts.
    pub state_dir: PathBuf,
    /// Address of the DNS server, UDP and TCP.
    pub dns: SocketAddr,
    /// Address of the bosh-dns handler of source type `http`; `None` for no handler.
    pub handler: Option<SocketAddr>,
    /// Address of the status and metrics endpoints.
    pub http: SocketAddr,
    /// Unix socket with the same endpoints, for the process monitor. Another process cannot occupy it, and clients of
    /// the port cannot exhaust it.
    pub health_socket: Option<PathBuf>,
    /// Unix socket at which the local Envoy connects to the agent.
    pub ads_socket: PathBuf,
    /// Admin address of the local Envoy.
    pub envoy_admin: SocketAddr,
    /// Address at which Envoy accepts redirected connections.
    pub capture: SocketAddr,
    /// Time after which the local Envoy's connection to a vanished peer ends; `None` leaves it to the kernel.
    pub peer_timeout: Option<Duration>,
    /// Whether names are answered only once the local Envoy has accepted their resources.
    pub proxy: ProxyMode,
    /// How the redirect rules are written.
    pub netfilter: NetfilterBackend,
    /// Bridges by which containers of this VM reach virtual IPs: names, or prefixes with a final `*`.
    pub container_interfaces: Vec<String>,
    /// Networks outside of the mesh that may connect to strict ports of this VM.
    pub strict_exempt: Vec<Ipv4Net>,
    /// How long the agent keeps serving after SIGTERM while programs have connections to virtual IPs.
    pub stop_timeout: Duration,
    /// Whether `POST /debug/panic/{actor}` and `/debug/stick/{actor}` are served. For tests; never in production.
    pub test_hooks: bool,
}

/// Identity of this VM, as known when the settings were rendered. The VM's interfaces decide about its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Its address as given by the director, which may not know any.
    pub ip: Option<IpAddr>,
    /// UUID of its instance.
    pub id: String,
    /// Third part of its node id.
    pub domain: String,
    /// Path of `records.json`, which lists the instance's addresses.
    pub records: PathBuf,
}

/// Settings with which the local Envoy is started: the part of the agent's settings that concerns both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoySettings {
    /// Identity of this VM.
    pub node: NodeSettings,
    /// Range of virtual IPs, which cannot contain the VM's own address.
    pub vip_range: VipRange,
    /// Unix socket of the agent.
    pub ads_socket: PathBuf,
    /// Address of Envoy's admin interface.
    pub admin: SocketAddr,
    /// Time after which a connection to a vanished peer ends; `None` leaves it to the kernel.
    pub peer_timeout: Option<Duration>,
    /// Unix socket at which Envoy answers monit's checks.
    pub health_socket: Option<PathBuf>,
    /// Directory of the sockets that each Envoy has for itself.
    pub run_dir: PathBuf,
    /// How long SIGTERM waits for open connections before Envoy ends.
    pub stop_timeout: Duration,
    /// How long an Envoy that is replaced may keep its connections.
    pub overlap_timeout: Duration,
}

/// Whether this VM has an Envoy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyMode {
    /// A name is answered once the local Envoy has accepted its resources.
    #[default]
    Required,
    /// Names are answered as soon as they are known.
    Absent,
}

/// Which program redirects connections to virtual IPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetfilterBackend {
    /// The agent, through an nftables table of its own, written by netlink.
    #[default]
    Netlink,
    /// Another program: the agent writes no rules.
    None,
}

/// In seconds. bpm kills a process that has not ended 20 s after SIGTERM.
const LONGEST_STOP: u64 = 15;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAgent {
    node: RawNode,
    #[serde(default)]
    pilots: Vec<Url>,
    pilot_tls: Option<RawPilotTls>,
    #[serde(default)]
    tld: Tld,
    #[serde(default)]
    vip_range: VipRange,
    state_dir: Option<PathBuf>,
    #[serde(default)]
    dns: RawDns,
    handler: Option<RawListen>,
    #[serde(default = "default_http")]
    http: RawListen,
    health_socket: Option<PathBuf>,
    #[serde(default = "default_ads_socket")]
    ads_socket: PathBuf,
    #[serde(default)]
    envoy: RawEnvoy,
    #[serde(default)]
    netfilter: RawNetfilter,
    #[serde(default = "default_stop_timeout")]
    stop_timeout: u64,
    #[serde(default)]
    test_hooks: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    ip: Option<IpAddr>,
    #[serde(default = "unnamed")]
    id: String,
    #[serde(default = "unnamed")]
    domain: String,
    #[serde(default = "default_records")]
    records: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPilotTls {
    ca_file: PathBuf,
    certificate_file: PathBuf,
    private_key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDns {
    listen: SocketAddr,
}

impl Default for RawDns {
    fn default() -> Self {
        Self { listen: loopback(15053) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEnvoy {
    admin: SocketAddr,
    capture: SocketAddr,
    mode: ProxyMode,
    #[serde(with = "humantime_serde")]
    peer_timeout: Duration,
    health_socket: Option<PathBuf>,
    run_dir: PathBuf,
    #[serde(with = "humantime_serde")]
    overlap_timeout: Duration,
}

impl Default for RawEnvoy {
    fn default() -> Self {
        Self {
            admin: loopback(8001),
            capture: loopback(15001),
            mode: ProxyMode::default(),
            peer_timeout: Duration::from_secs(50),
            health_socket: None,
            run_dir: PathBuf::from("/var/vcap/sys/run/bosh-envoy"),
            overlap_timeout: Duration::from_secs(600),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawNetfilter {
    backend: NetfilterBackend,
    container_interfaces: Vec<String>,
    strict_exempt: Vec<Ipv4Net>,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn unnamed() -> String {
    "x".to_owned()
}

fn default_records() -> PathBuf {
    PathBuf::from("/var/vcap/instance/dns/records.json")
}

fn default_http() -> RawListen {
    RawListen { listen: loopback(15020) }
}

fn default_stop_timeout() -> u64 {
    10
}

fn default_ads_socket() -> PathBuf {
    PathBuf::from("/var/vcap/data/virtual-ip-agent/ads.sock")
}

impl AgentSettings {
    /// Whether the agent writes redirect rules and the route, rather than another program.
    pub fn redirects(&self) -> bool {
        self.netfilter != NetfilterBackend::None
    }

    /// Address at which the local Envoy listens for redirected connections. Those of containers are redirected to the
    /// address of their bridge, which may come later than Envoy, so Envoy then listens at every address.
    pub fn listens(&self) -> SocketAddr {
        if self.container_interfaces.is_empty() {
            return self.capture;
        }
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.capture.port()))
    }

    /// Reads and checks a settings file.
    ///
    /// # Errors
    /// The file, the key and the reason.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let raw: RawAgent = load::read(file)?;
        let refuse = |key: &str, reason: String| Err(SettingsError::key(file, key, reason));
        let node = raw.node.check(file)?;
        let peer_timeout = raw.envoy.peer_timeout(file)?;
        let Some(state_dir) = raw.state_dir else {
            return refuse("state_dir", "is missing; such as /var/vcap/data/virtual-ip-agent/state".to_owned());
        };
        if raw.pilots.is_empty() {
            return refuse(
                "pilots",
                "must name at least one pilot, such as https://pilot.boshy.internal:15010".to_owned(),
            );
        }
        for (index, pilot) in raw.pilots.iter().enumerate() {
            check_pilot(pilot, raw.vip_range)
                .map_err(|reason| SettingsError::key(file, format!("pilots[{index}]"), reason))?;
        }
        let pilot_tls = raw.pilot_tls.map(RawPilotTls::meant);
        match (&pilot_tls, raw.pilots.iter().find(|pilot| pilot.scheme() == "https")) {
            (Some(tls), _) => tls.check().map_err(|error| SettingsError::tls(file, "pilot_tls", error))?,
            (None, Some(pilot)) => {
                return refuse("pilot_tls", format!("is missing; {pilot} wants to see a certificate"));
            }
            (None, None) => {}
        }
        let stop_timeout = stop_timeout(file, raw.stop_timeout)?;
        Ok(Self {
            node,
            pilots: raw.pilots,
            pilot_tls,
            tld: raw.tld,
            vip_range: raw.vip_range,
            state_dir,
            dns: raw.dns.listen,
            handler: raw.handler.map(|handler| handler.listen),
            http: raw.http.listen,
            health_socket: raw.health_socket,
            ads_socket: raw.ads_socket,
            envoy_admin: raw.envoy.admin,
            capture: raw.envoy.capture,
            peer_timeout,
            proxy: raw.envoy.mode,
            netfilter: raw.netfilter.backend,
            container_interfaces: raw.netfilter.container_interfaces,
            strict_exempt: raw.netfilter.strict_exempt,
            stop_timeout,
            test_hooks: raw.test_hooks,
        })
    }
}

impl EnvoySettings {
    /// Reads the part of the agent's settings that Envoy needs. Where Envoy is started, the rest may be missing, and
    /// the files it names need not exist.
    ///
    /// # Errors
    /// The file, the key and the reason.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let raw: RawAgent = load::read(file)?;
        let node = raw.node.check(file)?;
        let (peer_timeout, stop_timeout) = (raw.envoy.peer_timeout(file)?, stop_timeout(file, raw.stop_timeout)?);
        let RawEnvoy { admin, health_socket, run_dir, overlap_timeout, .. } = raw.envoy;
        let (vip_range, ads_socket) = (raw.vip_range, raw.ads_socket);
        Ok(Self {
            node,
            vip_range,
            ads_socket,
            admin,
            peer_timeout,
            health_socket,
            run_dir,
            stop_timeout,
            overlap_timeout,
        })
    }
}

fn stop_timeout(file: &Path, seconds: u64) -> Result<Duration, SettingsError> {
    if seconds > LONGEST_STOP {
        let reason = format!("must be {LONGEST_STOP} seconds or less, is {seconds}");
        return Err(SettingsError::key(file, "stop_timeout", reason));
    }
    Ok(Duration::from_secs(seconds))
}

impl RawEnvoy {
    /// The timeout in whole seconds, the kernel's unit; zero means none.
    fn peer_timeout(&self, file: &Path) -> Result<Option<Duration>, SettingsError> {
        let timeout = self.peer_timeout;
        if timeout.is_zero() {
            return Ok(None);
        }
        if !(5..=86_400).contains(&timeout.as_secs()) {
            let reason = format!("must be between 5s and 1day, or 0s, is {timeout:?}");
            return Err(SettingsError::key(file, "envoy.peer_timeout", reason));
        }
        Ok(Some(timeout))
    }
}

impl RawNode {
    fn check(self, file: &Path) -> Result<NodeSettings, SettingsError> {
        for (key, part) in [("node.id", &self.id), ("node.domain", &self.domain)] {
            if part.contains('~') {
                return Err(SettingsError::key(file, key, "must not hold `~`, which separates the parts of a node id"));
            }
        }
        Ok(NodeSettings { ip: self.ip, id: self.id, domain: self.domain, records: self.records })
    }
}

impl NodeSettings {
    /// The node id of this VM at an address, or at `0.0.0.0` when it has none.
    pub fn id_at(&self, ip: Option<Ipv4Addr>) -> NodeId {
        NodeId::sidecar(IpAddr::V4(ip.unwrap_or(Ipv4Addr::UNSPECIFIED)), &self.id, &self.domain)
    }
}

impl RawPilotTls {
    fn meant(self) -> ClientFiles {
        ClientFiles { ca: self.ca_file, certificate: self.certificate_file, private_key: self.private_key_file }
    }
}

fn check_pilot(pilot: &Url, vip_range: VipRange) -> Result<(), String> {
    if !matches!(pilot.scheme(), "http" | "https") {
        return Err(format!("must begin with https://, or with http:// for a pilot without TLS, is {pilot}"));
    }
    let Some(host) = pilot.host_str() else { return Err(format!("names no host: {pilot}")) };
    match host.parse::<Ipv4Addr>() {
        Ok(ip) if vip_range.contains(ip) => Err(format!("{ip} lies in vip_range {vip_range}; choose another range")),
        _ => Ok(()),
    }
}
