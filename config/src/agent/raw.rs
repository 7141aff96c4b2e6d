//! The agent's settings file as written, and the checks that both of its readers need.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use boshy_mesh::{Tld, VipRange};
use boshy_tls::ClientFiles;
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

use super::node::RawNode;
use crate::{common::Listen, load::SettingsError};

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
pub(super) struct RawAgent {
    pub(super) node: RawNode,
    #[serde(default)]
    pub(super) pilots: Vec<Url>,
    pub(super) pilot_tls: Option<RawPilotTls>,
    pub(super) voucher: Option<PathBuf>,
    #[serde(default)]
    pub(super) tld: Tld,
    #[serde(default)]
    pub(super) vip_range: VipRange,
    pub(super) state_dir: Option<PathBuf>,
    #[serde(default)]
    pub(super) dns: RawDns,
    pub(super) handler: Option<Listen>,
    #[serde(default = "default_http")]
    pub(super) http: Listen,
    pub(super) health_socket: Option<PathBuf>,
    #[serde(default = "default_ads_socket")]
    pub(super) ads_socket: PathBuf,
    #[serde(default)]
    pub(super) envoy: RawEnvoy,
    #[serde(default)]
    pub(super) netfilter: RawNetfilter,
    #[serde(default = "default_stop_timeout")]
    pub(super) stop_timeout: u64,
    #[serde(default)]
    pub(super) test_hooks: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPilotTls {
    pub(super) ca_file: PathBuf,
    pub(super) certificate_file: PathBuf,
    pub(super) private_key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDns {
    pub(super) listen: SocketAddr,
}

impl Default for RawDns {
    fn default() -> Self {
        Self { listen: loopback(15053) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnvoy {
    pub(super) admin: SocketAddr,
    pub(super) capture: SocketAddr,
    pub(super) mode: ProxyMode,
    #[serde(with = "humantime_serde")]
    pub(super) peer_timeout: Duration,
    pub(super) health_socket: Option<PathBuf>,
    pub(super) run_dir: PathBuf,
    #[serde(with = "humantime_serde")]
    pub(super) overlap_timeout: Duration,
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
pub(super) struct RawNetfilter {
    pub(super) backend: NetfilterBackend,
    pub(super) container_interfaces: Vec<String>,
    pub(super) strict_exempt: Vec<IpNet>,
    pub(super) original_src: bool,
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn default_http() -> Listen {
    Listen { listen: loopback(15020) }
}

fn default_stop_timeout() -> u64 {
    10
}

fn default_ads_socket() -> PathBuf {
    PathBuf::from("/var/vcap/data/virtual-ip-agent/ads.sock")
}

pub(super) fn stop_timeout(file: &Path, seconds: u64) -> Result<Duration, SettingsError> {
    if seconds > LONGEST_STOP {
        let reason = format!("must be {LONGEST_STOP} seconds or less, is {seconds}");
        return Err(SettingsError::key(file, "stop_timeout", reason));
    }
    Ok(Duration::from_secs(seconds))
}

impl RawEnvoy {
    /// The timeout in whole seconds, the kernel's unit; zero means none.
    pub(super) fn peer_timeout(&self, file: &Path) -> Result<Option<Duration>, SettingsError> {
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

impl RawPilotTls {
    pub(super) fn meant(self) -> ClientFiles {
        ClientFiles { ca: self.ca_file, certificate: self.certificate_file, private_key: self.private_key_file }
    }
}
