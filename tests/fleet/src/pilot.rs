//! A pilot in a process of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::ensure;
use boshy_lab_director::Handle;
use boshy_tests::{Http, Papers};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::{self, PATIENCE, Process};

/// What agents call the pilots. All have the port and one certificate.
pub(crate) const NAME: &str = "https://pilot.boshy.internal:15010";
const PORT: u16 = 15010;

/// Its program, its settings and its disk.
pub(crate) struct Pilot {
    /// Where agents find it.
    pub(crate) xds: SocketAddr,
    /// Where it shows its state.
    http: SocketAddr,
    boshy: PathBuf,
    disk: TempDir,
    process: Option<Process>,
}

impl Pilot {
    /// One of `all` pilots, which is not running. It looks at the director each second, the shortest period in use. Several
    /// share one table of leases.
    pub(crate) fn new(
        boshy: &Path,
        director: &Handle,
        papers: Option<&Papers>,
        (number, all): (u8, u8),
    ) -> anyhow::Result<Self> {
        let disk = TempDir::new()?;
        let credentials = director.credentials();
        let xds_address = SocketAddr::new(Ipv4Addr::new(10, 0, 1, 1 + number).into(), PORT);
        let http = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 1 + number).into(), 8080);
        let mut xds = json!({"listen": xds_address});
        if let Some(papers) = papers {
            let files = papers.client();
            xds["tls"] = json!({
                "certificate_file": files.certificate, "private_key_file": files.private_key, "client_ca_file": files.ca,
            });
        }
        let mut settings = json!({
            "director": {
                "url": director.url(), "ca_cert": director.ca_pem(), "client": credentials.name,
                "client_secret": credentials.secret.expose_secret(), "poll_interval": "1s", "full_read_interval": "1h",
            },
            "vip_range": "169.254.128.0/17",
            "vip_share": 100,
            "state_dir": disk.path().join("state"),
            "records": disk.path().join("records.json"),
            "http": {"listen": http},
            "xds": xds,
        });
        if all > 1 {
            settings["leases"] = json!("director");
        }
        fs::write(disk.path().join("pilot.yml"), settings.to_string())?;
        Ok(Self { xds: xds_address, http, boshy: boshy.to_owned(), disk, process: None })
    }

    /// Starts it, and waits until it serves this number of services.
    pub(crate) async fn start(&mut self, services: usize) -> anyhow::Result<()> {
        let process = self.process.insert(Process::start(&self.boshy, "pilot", self.disk.path())?);
        let log = || process::log(self.disk.path());
        let begun = Instant::now();
        let http = Http::new(self.http);
        let get = |path| http.get(path).ok();
        while get("/readyz").is_none_or(|reply| reply.status != 200) || count(get("/status")) != services {
            ensure!(begun.elapsed() < PATIENCE, "the pilot does not serve {services} services: {}", log());
            ensure!(!process.has_ended(), "the pilot ended: {}", log());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// CPU time of the process so far; zero when it does not run.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), |process| process::cpu(process.pid()))
    }

    /// Resident memory in octets; zero when it does not run.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        self.process.as_ref().map_or(Ok(0), |process| process::memory(process.pid()))
    }
}

fn count(status: Option<boshy_tests::Reply>) -> usize {
    let status = status.map(|reply| reply.json());
    status.as_ref().and_then(|status| status["services"].as_array()).map_or(0, Vec::<Value>::len)
}
