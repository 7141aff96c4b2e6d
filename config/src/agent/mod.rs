//! Settings of `boshy agent`.

mod envoy;
mod node;
mod raw;

pub use self::{
    envoy::EnvoySettings,
    node::NodeSettings,
    raw::{NetfilterBackend, ProxyMode},
};

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use boshy_mesh::{Tld, VipRange};
use boshy_tls::ClientFiles;
use ipnet::IpNet;
use url::Url;

use self::raw::RawAgent;
use crate::load::{self, SettingsError};

/// Settings of the agent, after their check.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Identity of this VM.
    pub node: NodeSettings,
    /// Pilots in order of preference: `https://HOST:PORT`, or `http://` for a pilot without TLS. A host may be a name. Of
    /// the addresses of a name, each VM prefers another, so that the VMs spread over the pilots.
    pub pilots: Vec<Url>,
    /// Certificate files for `https` pilots; present whenever such a pilot is listed.
    pub pilot_tls: Option<ClientFiles>,
    /// File in which root leaves what the VM's BOSH agent vouches for, before each start; `None` where pilots do not ask
    /// for it.
    pub voucher: Option<PathBuf>,
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
    pub strict_exempt: Vec<IpNet>,
    /// Whether the local Envoy has the capability to use the addresses of callers as the source of its connections.
    pub original_src: bool,
    /// How long the agent keeps serving after SIGTERM while programs have connections to virtual IPs.
    pub stop_timeout: Duration,
    /// Whether `POST /debug/panic/{actor}` and `/debug/stick/{actor}` are served. For tests; never in production.
    pub test_hooks: bool,
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
        let pilot_tls = raw.pilot_tls.map(raw::RawPilotTls::meant);
        match (&pilot_tls, raw.pilots.iter().find(|pilot| pilot.scheme() == "https")) {
            (Some(tls), _) => tls.check().map_err(|error| SettingsError::tls(file, "pilot_tls", error))?,
            (None, Some(pilot)) => {
                return refuse("pilot_tls", format!("is missing; {pilot} wants to see a certificate"));
            }
            (None, None) => {}
        }
        let stop_timeout = raw::stop_timeout(file, raw.stop_timeout)?;
        Ok(Self {
            node,
            pilots: raw.pilots,
            pilot_tls,
            voucher: raw.voucher,
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
            original_src: raw.netfilter.original_src,
            stop_timeout,
            test_hooks: raw.test_hooks,
        })
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
