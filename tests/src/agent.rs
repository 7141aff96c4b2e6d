//! Agents, without an Envoy and without redirect rules.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use boshy_config::AgentSettings;
use boshy_mesh::{Tld, VipRange};
use boshy_supervision::ExitReason;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    Http, Operated, Papers, Pilot, Process, Reply,
    dns::{self, Answer, Rcode},
    meanwhile, until,
    volume::Volume,
};

/// Address of an agent's VM in the mesh.
pub const AGENT_IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 200);

/// Port 9 of loopback, on which nothing listens (RFC 863).
const NOWHERE: &str = "http://127.0.0.1:9";

/// An agent that is not running: its settings and its disks.
#[derive(Clone)]
pub struct AgentPlan {
    settings: AgentSettings,
    _papers: Option<Papers>,
    log_trouble: Option<String>,
    disk: Arc<TempDir>,
}

/// A running agent.
pub struct Agent {
    /// Ends before its disk is removed, to which it writes at the end.
    process: Process,
    plan: AgentPlan,
    dns: SocketAddr,
    handler: Http,
}

impl AgentPlan {
    /// An agent of these pilots, in order of preference.
    ///
    /// # Panics
    /// Without any.
    pub fn of<const N: usize>(pilots: [&Pilot; N]) -> Self {
        let vip_range = pilots.first().expect("an agent has a pilot").vip_range();
        Self::asking(&pilots.map(|pilot| format!("http://{}", pilot.xds_address())), vip_range)
    }

    /// An agent of a pilot in another process.
    pub fn of_address(pilot: SocketAddr) -> Self {
        Self::asking(&[format!("http://{pilot}")], VipRange::default())
    }

    /// An agent of a pilot that need not be running.
    ///
    /// # Panics
    /// When the text is not a URL.
    pub fn of_pilot_at(url: &str, papers: &Papers) -> Self {
        let mut plan = Self::asking(&[NOWHERE.to_owned()], VipRange::default());
        plan.settings.pilots = vec![url.parse().unwrap()];
        plan.shows_papers(papers);
        plan
    }

    /// Uses this name for its pilots, and presents these certificate files to them.
    ///
    /// # Panics
    /// When the name is not valid.
    #[must_use]
    pub fn over_tls(mut self, name: &str, papers: &Papers) -> Self {
        for pilot in &mut self.settings.pilots {
            let port = pilot.port().unwrap();
            *pilot = format!("https://{name}:{port}").parse().unwrap();
        }
        self.shows_papers(papers);
        self
    }

    fn shows_papers(&mut self, papers: &Papers) {
        self.settings.pilot_tls = Some(papers.client());
        self._papers = Some(papers.clone());
    }

    /// Proves which VM it is on by this voucher.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn vouched(mut self, voucher: &str) -> Self {
        let file = self.disk.path().join("voucher");
        fs::write(&file, voucher).unwrap();
        self.settings.voucher = Some(file);
        self
    }

    /// Keeps its state on this volume.
    #[must_use]
    pub fn on(mut self, volume: &Volume) -> Self {
        self.settings.state_dir = volume.state_dir();
        self
    }

    /// Has a file in place of its state directory.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn without_disk(mut self) -> Self {
        let file = self.disk.path().join("volume");
        fs::write(&file, "").unwrap();
        self.settings.state_dir = file.join("state");
        self
    }

    /// Reports this problem with the log filter.
    #[must_use]
    pub fn logging_by(mut self, trouble: &str) -> Self {
        self.log_trouble = Some(trouble.to_owned());
        self
    }

    /// Has another zone and another range of virtual IPs than its pilot.
    ///
    /// # Panics
    /// When they are not valid.
    #[must_use]
    pub fn believing(mut self, tld: &str, vip_range: &str) -> Self {
        self.settings.tld = Tld::new(tld).unwrap();
        self.settings.vip_range = VipRange::parse(vip_range).unwrap();
        self
    }

    /// Has only pilots that it cannot reach.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn without_pilots(mut self) -> Self {
        self.settings.pilots = vec![NOWHERE.parse().unwrap()];
        self
    }

    fn asking(pilots: &[String], vip_range: VipRange) -> Self {
        let disk = Arc::new(TempDir::new().unwrap());
        let path = |name: &str| disk.path().join(name);
        let anywhere = json!({"listen": "127.0.0.1:0"});
        let written = json!({
            "node": {"ip": AGENT_IP, "records": path("records.json")},
            "pilots": pilots,
            "vip_range": vip_range,
            "state_dir": path("state"),
            "dns": anywhere,
            "handler": anywhere,
            "http": anywhere,
            "health_socket": path("health.sock"),
            "ads_socket": path("ads.sock"),
            "envoy": {"admin": "127.0.0.1:0", "mode": "absent", "peer_timeout": "0s"},
            "netfilter": {"backend": "none"},
            "stop_timeout": 0,
            "test_hooks": true,
        });
        let file = path("agent.yml");
        fs::write(&file, written.to_string()).unwrap();
        let settings = AgentSettings::load(&file).unwrap();
        Self { settings, _papers: None, log_trouble: None, disk }
    }

    /// Starts it on free ports.
    ///
    /// # Panics
    /// When it does not start.
    pub fn starts(self) -> Agent {
        let agent = boshy_actors::agent::Agent::bind(self.settings.clone()).unwrap();
        let agent = agent.logging_otherwise(self.log_trouble.clone());
        let (dns, http) = (agent.dns_address().unwrap(), agent.http_address().unwrap());
        let handler = Http::new(agent.handler_address().unwrap());
        let role = move |stopped| agent.run_until(async { drop(stopped.await) });
        Agent { plan: self, dns, handler, process: Process::start("agent", http, role) }
    }
}

impl Operated for Agent {
    fn process(&self) -> &Process {
        &self.process
    }
}

impl Agent {
    /// Asks for an address over UDP.
    pub fn asks(&self, host: &str) -> Answer {
        dns::ask_udp(self.dns, host, dns::A).unwrap()
    }

    /// Asks for an address over TCP.
    pub fn asks_over_tcp(&self, host: &str) -> Answer {
        dns::ask_tcp(self.dns, host, dns::A).unwrap()
    }

    /// Asks for an address like bosh-dns.
    pub fn asks_handler(&self, host: &str) -> Reply {
        self.handler.get(&format!("/?name={host}.&type=1")).unwrap()
    }

    /// Waits until a name has this address.
    pub fn answers(&self, host: &str, vip: Ipv4Addr) -> &Self {
        until(&format!("{host} is {vip}"), || self.asks(host), |answer| *answer == Answer::address(vip));
        self
    }

    /// The same VM as it would come back from a power cut at this moment. This agent continues to run.
    ///
    /// # Panics
    /// When its disk cannot be copied.
    pub fn loses_power(&self) -> AgentPlan {
        let AgentPlan { mut settings, .. } = self.plan.clone();
        let disk = Arc::new(TempDir::new().unwrap());
        let state_dir = disk.path().join("state");
        fs::create_dir(&state_dir).unwrap();
        for file in fs::read_dir(&settings.state_dir).unwrap() {
            let file = file.unwrap();
            // A file that is being written has a name that is not read.
            let _ = fs::copy(file.path(), state_dir.join(file.file_name()));
        }
        settings.state_dir = state_dir;
        settings.ads_socket = disk.path().join("ads.sock");
        AgentPlan { settings, _papers: self.plan._papers.clone(), log_trouble: None, disk }
    }

    /// Waits until a name does not exist.
    pub fn denies(&self, host: &str) -> &Self {
        until(&format!("{host} is denied"), || self.asks(host), |answer| answer.rcode == Rcode::NxDomain);
        self
    }

    /// Runs an action while asking for a name repeatedly, one question at a time; every answer must have its address.
    pub fn never_fails(&self, host: &str, vip: Ipv4Addr, act: impl FnOnce()) -> &Self {
        let asks = || assert_eq!(dns::ask_udp(self.dns, host, dns::A).ok(), Some(Answer::address(vip)));
        meanwhile(asks, act);
        self
    }

    /// Waits until a name is on its disk.
    pub fn keeps(&self, host: &str) -> &Self {
        let files = ["relay", "relay.changes"].map(|name| self.plan.settings.state_dir.join(name));
        let content = || files.each_ref().map(|file| fs::read(file).unwrap_or_default()).concat();
        let kept = |content: &Vec<u8>| content.windows(host.len()).any(|part| part == host.as_bytes());
        until(&format!("{host} is on disk"), content, kept);
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

    /// Restores its missing state directory.
    ///
    /// # Panics
    /// When the directory was not missing.
    pub fn has_a_disk_again(&self) -> &Self {
        fs::remove_file(self.plan.disk.path().join("volume")).unwrap();
        self
    }

    /// Waits until it is connected to this pilot.
    pub fn follows(&self, pilot: &Pilot) -> &Self {
        let address = format!("http://{}/", pilot.xds_address());
        self.shows(&format!("it follows {address}"), |status| status["pilot"]["address"] == address)
    }

    /// Stops it orderly; what is left can be started again.
    ///
    /// # Panics
    /// When it did not end orderly.
    pub fn stops(mut self) -> AgentPlan {
        assert_eq!(self.process.stop(), Some(ExitReason::Normal));
        self.plan.clone()
    }
}
