//! Pilots.

use std::{
    fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use boshy_config::{HttpsSettings, IdentityFiles, IdentitySettings, LeaseStore, PilotSettings, SettingsError};
use boshy_identity::BoshAgents;
use boshy_lab_director::Handle;
use boshy_mesh::{TrustDomain, VipRange, VipShare};
use boshy_supervision::ExitReason;
use boshy_tls::ServerFiles;
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

use crate::{Authority, Operated, Papers, Process, until_some, volume::Volume};

/// A pilot that is not running: its settings and its disk. A clone is the same machine.
#[derive(Clone)]
pub struct PilotPlan {
    settings: PilotSettings,
    _papers: Option<Papers>,
    _disk: Arc<TempDir>,
}

/// A running pilot.
pub struct Pilot {
    /// Ends before its disk is removed, to which it writes at the end.
    process: Process,
    plan: PilotPlan,
    http: SocketAddr,
    https: Option<SocketAddr>,
    xds: SocketAddr,
}

impl PilotPlan {
    pub(crate) fn reading(director: &Handle) -> Self {
        let disk = Arc::new(TempDir::new().unwrap());
        let credentials = director.credentials();
        let path = |name: &str| disk.path().join(name);
        let written = json!({
            "director": {
                "url": director.url(),
                "ca_cert": director.ca_pem(),
                "client": credentials.name,
                "client_secret": credentials.secret.expose_secret(),
                "full_read_interval": "1h",
                "timeout": "5s",
            },
            "state_dir": path("state"),
            "records": path("records.json"),
            "http": {"listen": "127.0.0.1:0"},
            "health_socket": path("health.sock"),
            "xds": {"listen": "127.0.0.1:0"},
            "test_hooks": true,
        });
        let file = path("pilot.yml");
        fs::write(&file, written.to_string()).unwrap();
        let mut settings = PilotSettings::load(&file).unwrap();
        // Shorter than an operator may choose.
        settings.director.poll_interval = Duration::from_millis(100);
        Self { settings, _papers: None, _disk: disk }
    }

    /// Keeps its state on this volume.
    #[must_use]
    pub fn on(mut self, volume: &Volume) -> Self {
        self.settings.state_dir = volume.state_dir();
        self
    }

    /// Takes virtual IPs from this range.
    ///
    /// # Panics
    /// When it is not a range.
    #[must_use]
    pub fn leasing_from(mut self, range: &str) -> Self {
        self.settings.vip_range = VipRange::parse(range).unwrap();
        self
    }

    /// Shares the table of leases with the other pilots of its director.
    #[must_use]
    pub fn sharing_leases(mut self) -> Self {
        self.settings.leases = LeaseStore::Director;
        self
    }

    /// Waits for the director no longer than this.
    #[must_use]
    pub fn patient_for(mut self, timeout: Duration) -> Self {
        self.settings.director.timeout = timeout;
        self
    }

    /// Polls the director at the production rate instead of the tests' rate.
    #[must_use]
    pub fn at_the_usual_pace(mut self) -> Self {
        self.settings.director.poll_interval = Duration::from_secs(10);
        self
    }

    /// Presents this certificate to agents, and requires theirs.
    #[must_use]
    pub fn over_tls(mut self, papers: &Papers) -> Self {
        self.settings.xds_tls = Some(papers.server());
        self._papers = Some(papers.clone());
        self
    }

    /// Issues certificates of workloads in the name of `authority`, to agents that it knows by TLS: that comes first.
    ///
    /// # Panics
    /// When TLS is off, or the authority cannot be used.
    #[must_use]
    pub fn certifying(mut self, authority: &Authority) -> Self {
        let identity = self.identity(&authority.pem(), &authority.key_pem()).unwrap();
        identity.admit(self.settings.xds_tls.as_mut().unwrap(), Path::new("pilot.yml")).unwrap();
        self.settings.identity = Some(identity);
        self
    }

    /// Certifies only VMs whose BOSH agents vouch for them, by this CA: after [`PilotPlan::certifying`].
    ///
    /// # Panics
    /// When no authority is set.
    #[must_use]
    pub fn asking_bosh_agents(mut self, ca: &Authority) -> Self {
        let identity = self.settings.identity.as_mut().unwrap();
        identity.bosh_agents = Some(BoshAgents::from_pem(&ca.pem()).unwrap());
        self
    }

    /// Why it does not start with this authority, PEM.
    ///
    /// # Panics
    /// When it would start.
    pub fn refuses_authority(&self, certificate: &str, key: &str) -> String {
        err_report::Report::new(&self.identity(certificate, key).unwrap_err()).to_string()
    }

    fn identity(&self, certificate: &str, key: &str) -> Result<IdentitySettings, SettingsError> {
        let file = |name: &str, text: &str| {
            let path = self._disk.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let files = IdentityFiles {
            trust_domain: TrustDomain::default(),
            ca_certificate_file: file("authority.pem", certificate),
            ca_private_key_file: file("authority.key", key),
            roots_file: None,
            previous: None,
            bosh_agent_ca_file: None,
            leaf_life: Duration::from_secs(3600),
        };
        files.check(Path::new("settings"))
    }

    /// Serves agents at every address of the machine.
    #[must_use]
    pub fn on_all_addresses(mut self) -> Self {
        self.settings.xds.set_ip(Ipv4Addr::UNSPECIFIED.into());
        self
    }

    /// The file of keys of VMs.
    pub fn identities_file(&self) -> PathBuf {
        self.settings.state_dir.join("identities")
    }

    /// Serves its API over HTTPS as well.
    #[must_use]
    pub fn with_https(mut self, papers: &Papers) -> Self {
        let files = ServerFiles { client_ca: Vec::new(), ..papers.server() };
        self._papers = Some(papers.clone());
        self.settings.https = Some(HttpsSettings { listen: ([127, 0, 0, 1], 0).into(), files });
        self
    }

    /// Limits the share of one deployment.
    ///
    /// # Panics
    /// When it is not a percentage.
    #[must_use]
    pub fn sharing(mut self, percent: u64) -> Self {
        self.settings.vip_share = VipShare::percent(percent).unwrap();
        self
    }

    /// The file of facts.
    pub fn facts_file(&self) -> PathBuf {
        self.settings.state_dir.join("inventory")
    }

    /// Why it does not start, with all causes; `None` when it would start.
    pub fn refuses_to_start(&self) -> Option<String> {
        let refused = boshy_actors::pilot::Pilot::bind(self.settings.clone()).err()?;
        Some(err_report::Report::new(&refused).to_string())
    }

    /// The file of virtual IPs.
    pub fn lease_file(&self) -> PathBuf {
        self.settings.state_dir.join("leases")
    }

    /// Runs on a VM with this `records.json`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn with_records(self, text: &str) -> Self {
        fs::write(&self.settings.records, text).unwrap();
        self
    }

    /// Starts it on free ports.
    ///
    /// # Panics
    /// When it does not start.
    pub fn starts(self) -> Pilot {
        let pilot = boshy_actors::pilot::Pilot::bind(self.settings.clone()).unwrap();
        let (http, xds) = (pilot.http_address().unwrap(), pilot.xds_address().unwrap());
        let https = pilot.https_address();
        let role = move |stopped| pilot.run_until(async { drop(stopped.await) });
        Pilot { plan: self, http, https, xds, process: Process::start("pilot", http, role) }
    }
}

impl Operated for Pilot {
    fn process(&self) -> &Process {
        &self.process
    }
}

impl Pilot {
    /// Address of its xDS server.
    pub fn xds_address(&self) -> SocketAddr {
        self.xds
    }

    /// Address of its HTTP server.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Address of its HTTPS server.
    ///
    /// # Panics
    /// When it has none.
    pub fn https_address(&self) -> SocketAddr {
        self.https.unwrap()
    }

    pub(crate) fn vip_range(&self) -> VipRange {
        self.plan.settings.vip_range
    }

    /// Waits until a service has this number of endpoints.
    pub fn serves(&self, host: &str, endpoints: usize) -> &Self {
        self.shows(&format!("{host} has {endpoints} endpoints"), |status| {
            let services = status["services"].as_array().unwrap();
            let service = services.iter().find(|service| service["host"] == host);
            service.is_some_and(|service| service["endpoints"].as_array().unwrap().len() == endpoints)
        })
    }

    /// Waits until a service has these endpoints.
    pub fn serves_at(&self, host: &str, ips: &[&str]) -> &Self {
        self.shows(&format!("{host} is at {ips:?}"), |status| {
            let services = status["services"].as_array().unwrap();
            let service = services.iter().find(|service| service["host"] == host);
            let found = |service: &serde_json::Value| -> Vec<String> {
                let endpoints = service["endpoints"].as_array().unwrap();
                endpoints.iter().map(|endpoint| endpoint["ip"].as_str().unwrap().to_owned()).collect()
            };
            service.is_some_and(|service| found(service) == ips)
        })
    }

    /// Waits until a problem contains all these parts.
    pub fn tells(&self, parts: &[&str]) -> &Self {
        self.shows(&format!("a problem with {parts:?}"), |status| {
            let problems = status["problems"].as_array().unwrap();
            problems.iter().any(|problem| parts.iter().all(|part| problem.to_string().contains(part)))
        })
    }

    /// Waits until a name is not a service.
    pub fn lacks(&self, host: &str) -> &Self {
        self.shows(&format!("{host} is gone"), |status| {
            status["services"].as_array().unwrap().iter().all(|service| service["host"] != host)
        })
    }

    /// Waits for a service and returns its virtual IP.
    pub fn vip(&self, host: &str) -> Ipv4Addr {
        until_some(&format!("{host} has a virtual IP"), || {
            let status = self.status();
            let services = status["services"].as_array()?;
            let service = services.iter().find(|service| service["host"] == host)?;
            service["vip"].as_str()?.parse().ok()
        })
    }

    /// Generation of the served snapshot, which increases with every change.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn generation(&self) -> u64 {
        self.status()["snapshot"]["generation"].as_u64().unwrap()
    }

    /// Waits until the last read of the director failed for this reason.
    pub fn complains(&self, reason: &str) -> &Self {
        self.shows(&format!("the director's error is {reason:?}"), |status| {
            status["director"]["error"].as_str().is_some_and(|error| error.contains(reason))
        })
    }

    /// Waits until the director is read without an error.
    pub fn is_content(&self) -> &Self {
        self.shows("the director is read", |status| status["director"]["error"].is_null())
    }

    /// Lets the VM of an instance have another key, as an operator on the pilot's VM does. Returns the answer.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn allows(&self, instance: &str) -> String {
        let socket = self.plan.settings.health_socket.as_ref().unwrap();
        let mut stream = UnixStream::connect(socket).unwrap();
        write!(stream, "POST /identity/allow/{instance} HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n\r\n").unwrap();
        io::read_to_string(stream).unwrap()
    }

    /// Removes its disk during an action, and restores it.
    ///
    /// # Panics
    /// When that fails.
    pub fn without_disk(&self, act: impl FnOnce()) -> &Self {
        let state = &self.plan.settings.state_dir;
        let aside = state.with_extension("aside");
        fs::rename(state, &aside).unwrap();
        fs::write(state, "").unwrap();
        act();
        fs::remove_file(state).unwrap();
        fs::rename(aside, state).unwrap();
        self
    }

    /// Its state directory.
    pub fn state_dir(&self) -> &Path {
        &self.plan.settings.state_dir
    }

    /// All its settings, as a log would show them.
    pub fn settings(&self) -> String {
        format!("{:?}", self.plan.settings)
    }

    /// The same machine in its present state.
    pub fn plan(&self) -> PilotPlan {
        self.plan.clone()
    }

    /// Its VM gets this `records.json`, as the BOSH agent puts it there.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn gets_records(&self, text: &str) -> &Self {
        let path = &self.plan.settings.records;
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, path).unwrap();
        self
    }

    /// Stops it orderly; what is left can be started again.
    pub fn stops(mut self) -> PilotPlan {
        assert_eq!(self.process.stop(), Some(ExitReason::Normal));
        self.plan.clone()
    }

    /// Stops it and starts it from the same disk.
    pub fn restarts(self) -> Self {
        self.stops().starts()
    }

    /// Waits until it ends on its own.
    pub fn ended(mut self) -> Option<ExitReason> {
        self.process.ended()
    }
}
