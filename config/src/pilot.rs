//! Settings of `boshy pilot`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use boshy_mesh::{FromLinks, MtlsMode, Tld, VipRange, VipShare};
use boshy_tls::ServerFiles;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    common::{Listen, default_records},
    identity::{IdentityFiles, IdentitySettings},
    load::{self, SettingsError},
};

/// Settings of the pilot, after their check.
#[derive(Clone, Debug)]
pub struct PilotSettings {
    /// The director to read.
    pub director: DirectorSettings,
    /// DNS zone of the mesh; all service names end in it.
    pub tld: Tld,
    /// Range from which virtual IPs are given.
    pub vip_range: VipRange,
    /// How long the address of a vanished service stays in quarantine before another service may get it.
    pub vip_quarantine: Duration,
    /// The part of what other deployments leave that one deployment may take.
    pub vip_share: VipShare,
    /// Where the table of leases is.
    pub leases: LeaseStore,
    /// Directory of the lease file, which survives restarts.
    pub state_dir: PathBuf,
    /// Path of `records.json` on the pilot's VM, which names the network of every instance's address. The file may be
    /// missing.
    pub records: PathBuf,
    /// Address of the HTTP server.
    pub http: SocketAddr,
    /// Additional HTTPS server, when configured.
    pub https: Option<HttpsSettings>,
    /// Unix socket with the same endpoints, for the process monitor. Another process cannot occupy it, and clients of
    /// the port cannot exhaust it.
    pub health_socket: Option<PathBuf>,
    /// Address of the xDS server.
    pub xds: SocketAddr,
    /// Certificate of the xDS server, and the CA of its clients; `None` for no TLS.
    pub xds_tls: Option<ServerFiles>,
    /// The authority of workloads' certificates; `None` for no certificates.
    pub identity: Option<IdentitySettings>,
    /// What exposed ports accept for which no document says another.
    pub mtls: MtlsMode,
    /// What follows from BOSH links for who may call whom.
    pub from_links: FromLinks,
    /// Whether `POST /debug/panic/{actor}` and `/debug/stick/{actor}` are served. For tests; never in production.
    pub test_hooks: bool,
}

/// Where the table of virtual-IP leases is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseStore {
    /// In the state directory. For one pilot.
    #[default]
    File,
    /// In the configs of the director, which all pilots of a mesh share.
    Director,
}

/// A port that serves HTTP over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsSettings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate to use. Clients need none.
    pub files: ServerFiles,
}

/// How to reach a director.
#[derive(Clone, Debug)]
pub struct DirectorSettings {
    /// Its address, `https://HOST:25555`.
    pub url: Url,
    /// Trusted CA certificates, PEM.
    pub ca_cert: Option<String>,
    /// A UAA client or a local user of the director, like `BOSH_CLIENT` for the CLI. The director says which of the two
    /// it expects.
    pub client: String,
    /// Its secret or password.
    pub client_secret: SecretString,
    /// Pause between two rounds of polling.
    pub poll_interval: Duration,
    /// Pause between two full reads, which find changes that no event reported.
    pub full_read_interval: Duration,
    /// Longest time for one request.
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPilot {
    director: RawDirector,
    #[serde(default)]
    tld: Tld,
    #[serde(default)]
    vip_range: VipRange,
    #[serde(default = "one_hour", with = "humantime_serde")]
    vip_quarantine: Duration,
    #[serde(default)]
    vip_share: VipShare,
    #[serde(default)]
    leases: LeaseStore,
    state_dir: PathBuf,
    #[serde(default = "default_records")]
    records: PathBuf,
    #[serde(default = "default_http")]
    http: Listen,
    https: Option<RawHttps>,
    health_socket: Option<PathBuf>,
    #[serde(default)]
    xds: RawXds,
    identity: Option<IdentityFiles>,
    #[serde(default)]
    mtls: RawMtls,
    #[serde(default)]
    authorization: RawAuthorization,
    #[serde(default)]
    test_hooks: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMtls {
    mode: MtlsMode,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAuthorization {
    from_links: FromLinks,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDirector {
    url: Url,
    ca_cert: Option<String>,
    ca_cert_file: Option<PathBuf>,
    client: String,
    client_secret: SecretString,
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    poll_interval: Duration,
    #[serde(default = "five_minutes", with = "humantime_serde")]
    full_read_interval: Duration,
    #[serde(default = "ten_seconds", with = "humantime_serde")]
    timeout: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttps {
    listen: SocketAddr,
    certificate_file: PathBuf,
    private_key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawXds {
    listen: SocketAddr,
    tls: Option<RawMutual>,
}

impl Default for RawXds {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 15010)), tls: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMutual {
    certificate_file: PathBuf,
    private_key_file: PathBuf,
    client_ca_file: PathBuf,
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn default_http() -> Listen {
    Listen { listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)) }
}

impl PilotSettings {
    /// Reads and checks a settings file.
    ///
    /// # Errors
    /// The file, the key and the reason.
    pub fn load(file: &Path) -> Result<Self, SettingsError> {
        let raw: RawPilot = load::read(file)?;
        let https = raw.https.map(RawHttps::meant);
        if let Some(https) = &https {
            https.files.check().map_err(|error| SettingsError::tls(file, "https", error))?;
        }
        let identity = raw.identity.map(|identity| identity.check(file)).transpose()?;
        let mut xds_tls = raw.xds.tls.map(RawMutual::meant);
        if let Some(identity) = &identity {
            let needed = || SettingsError::key(file, "xds.tls", "is needed with `identity`: agents are known by TLS");
            identity.admit(xds_tls.as_mut().ok_or_else(needed)?, file)?;
        }
        if let Some(tls) = &xds_tls {
            tls.check().map_err(|error| SettingsError::tls(file, "xds.tls", error))?;
        }
        if raw.mtls.mode != MtlsMode::Disable && identity.is_none() {
            return Err(SettingsError::key(file, "mtls.mode", "needs `identity`: workloads have no certificates"));
        }
        if raw.authorization.from_links != FromLinks::Disable && identity.is_none() {
            let reason = "needs `identity`: callers are known by their certificates";
            return Err(SettingsError::key(file, "authorization.from_links", reason));
        }
        Ok(Self {
            director: raw.director.check(file, raw.vip_range)?,
            tld: raw.tld,
            vip_range: raw.vip_range,
            vip_quarantine: raw.vip_quarantine,
            vip_share: raw.vip_share,
            leases: raw.leases,
            state_dir: raw.state_dir,
            records: raw.records,
            http: raw.http.listen,
            https,
            health_socket: raw.health_socket,
            xds: raw.xds.listen,
            xds_tls,
            identity,
            mtls: raw.mtls.mode,
            from_links: raw.authorization.from_links,
            test_hooks: raw.test_hooks,
        })
    }
}

impl RawHttps {
    fn meant(self) -> HttpsSettings {
        let (certificate, private_key) = (self.certificate_file, self.private_key_file);
        HttpsSettings { listen: self.listen, files: ServerFiles { certificate, private_key, client_ca: Vec::new() } }
    }
}

impl RawMutual {
    fn meant(self) -> ServerFiles {
        let (certificate, private_key) = (self.certificate_file, self.private_key_file);
        ServerFiles { certificate, private_key, client_ca: vec![self.client_ca_file] }
    }
}

impl RawDirector {
    fn check(self, file: &Path, vip_range: VipRange) -> Result<DirectorSettings, SettingsError> {
        let refuse = |key: &str, reason: String| Err(SettingsError::key(file, format!("director.{key}"), reason));
        let loopback = self.url.host_str().is_some_and(|host| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()));
        if self.url.scheme() != "https" && !(self.url.scheme() == "http" && loopback) {
            return refuse("url", format!("must begin with https:// (http:// only on loopback), is {}", self.url));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return refuse(
                "url",
                "must not hold credentials; set director.client and director.client_secret".to_owned(),
            );
        }
        if let Some(ip) = self.url.host_str().and_then(|host| host.parse::<Ipv4Addr>().ok())
            && vip_range.contains(ip)
        {
            let reason = format!("{ip} lies in vip_range {vip_range}; choose another range");
            return refuse("url", reason);
        }
        for (key, pause) in [
            ("poll_interval", self.poll_interval),
            ("full_read_interval", self.full_read_interval),
            ("timeout", self.timeout),
        ] {
            if pause < Duration::from_millis(100) {
                return refuse(key, "must be at least 100ms".to_owned());
            }
        }
        let ca_cert = match (self.ca_cert, self.ca_cert_file) {
            (Some(_), Some(_)) => return refuse("ca_cert", "is given twice; give ca_cert or ca_cert_file".to_owned()),
            (Some(pem), None) => Some(pem),
            (None, Some(path)) => Some(
                fs::read_to_string(&path).map_err(|source| SettingsError::Unreadable { file: path.clone(), source })?,
            ),
            (None, None) => None,
        };
        if let Some(pem) = &ca_cert
            && !pem.contains("-----BEGIN CERTIFICATE-----")
        {
            return refuse("ca_cert", "holds no PEM certificate".to_owned());
        }
        Ok(DirectorSettings {
            url: self.url,
            ca_cert,
            client: self.client,
            client_secret: self.client_secret,
            poll_interval: self.poll_interval,
            full_read_interval: self.full_read_interval,
            timeout: self.timeout,
        })
    }
}
