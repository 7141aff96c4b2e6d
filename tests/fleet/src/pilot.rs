//! A pilot in a process of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use boshy_lab_director::Handle;
use boshy_tests::{Http, Papers};
use nix::{time::ClockId, unistd::Pid};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

/// What agents call the pilots. All have the port and one certificate.
pub(crate) const NAME: &str = "https://pilot.boshy.internal:15010";
const PORT: u16 = 15010;
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(120);

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

/// Ends with its value.
struct Process(Child);

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
        let settings = json!({
            "director": {
                "url": director.url(), "ca_cert": director.ca_pem(), "client": credentials.name,
                "client_secret": credentials.secret.expose_secret(), "poll_interval": "1s", "full_read_interval": "1h",
            },
            "vip_range": "169.254.128.0/17",
            "vip_share": 100,
            "leases": if all > 1 { "director" } else { "file" },
            "state_dir": disk.path().join("state"),
            "records": disk.path().join("records.json"),
            "http": {"listen": http},
            "xds": xds,
        });
        fs::write(disk.path().join("pilot.yml"), settings.to_string())?;
        Ok(Self { xds: xds_address, http, boshy: boshy.to_owned(), disk, process: None })
    }

    /// Starts it, and waits until it serves this number of services.
    pub(crate) async fn start(&mut self, services: usize) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.disk.path().join("log"))?;
        // Not even a killed driver leaves a pilot behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.boshy).args(["pilot", "--config"]);
        command.arg(self.disk.path().join("pilot.yml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("run setpriv (package util-linux)")?;
        self.process = Some(Process(child));
        let begun = Instant::now();
        let http = Http::new(self.http);
        let get = |path| http.get(path).ok();
        while get("/readyz").is_none_or(|reply| reply.status != 200) || count(get("/status")) != services {
            ensure!(begun.elapsed() < PATIENCE, "the pilot does not serve {services} services: {}", self.log());
            let running = self.process.as_mut().is_some_and(|process| matches!(process.0.try_wait(), Ok(None)));
            ensure!(running, "the pilot ended: {}", self.log());
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
        let Some(pid) = self.pid()? else { return Ok(Duration::ZERO) };
        Ok(ClockId::pid_cpu_clock_id(pid)?.now()?.into())
    }

    /// Resident memory in octets; zero when it does not run.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let Some(pid) = self.pid()? else { return Ok(0) };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes << 10)
    }

    /// The end of its log.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.disk.path().join("log")).unwrap_or_default();
        text[text.floor_char_boundary(text.len().saturating_sub(2_000))..].to_owned()
    }

    fn pid(&self) -> anyhow::Result<Option<Pid>> {
        let id = self.process.as_ref().map(|process| process.0.id().try_into());
        Ok(id.transpose()?.map(Pid::from_raw))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn count(status: Option<boshy_tests::Reply>) -> usize {
    let status = status.map(|reply| reply.json());
    status.as_ref().and_then(|status| status["services"].as_array()).map_or(0, Vec::<Value>::len)
}
