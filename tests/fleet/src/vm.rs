//! The agent of one VM in a process of its own, and what is done to it and measured.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use boshy_tests::{Http, Papers};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    course::{CHANGES, Course},
    figures::Figures,
    process::{self, PATIENCE, Process},
    site::Site,
};

/// The address of its VM, which provides no service.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15020);
/// A work of an agent is all that it does in this time: what it keeps on its disk follows what it learns.
const WINDOW: Duration = Duration::from_secs(3);

/// Its settings and its disk. It has no Envoy, and writes no rules into the kernel.
struct Vm {
    boshy: PathBuf,
    disk: TempDir,
    process: Option<Process>,
}

impl Course<'_> {
    /// Without other agents, so that nothing else runs beside this one.
    pub(crate) async fn with_an_agent(&mut self, boshy: &Path, papers: Option<&Papers>) -> anyhow::Result<()> {
        self.restarts().await?;
        let mut vm = Vm::new(boshy, papers, self.pilots[0].xds)?;
        self.note(vm.starts("the agent: first sync", self.site.services()).await?);
        // The first seconds have work that comes once.
        sleep(WINDOW).await;
        let idle = vm.cpu_of_window().await?;
        let changes: [(_, fn(&mut Site) -> _); 2] =
            [("the agent: one instance more", Site::grows), ("the agent: one service more", Site::gains_a_service)];
        for (work, change) in changes {
            for _ in 0..CHANGES {
                change(&mut self.site)?;
                let cpu = vm.cpu_of_window().await?.saturating_sub(idle);
                self.note(Figures::of(work).cpu(cpu).memory(process::memory(vm.pid()?)?));
            }
        }
        self.pilots[0].kill();
        vm.process = None;
        self.note(vm.starts("the agent: a start from its disk, no pilot", self.site.services()).await?);
        Ok(())
    }
}

impl Vm {
    fn new(boshy: &Path, papers: Option<&Papers>, pilot: SocketAddr) -> anyhow::Result<Self> {
        let disk = TempDir::new()?;
        let scheme = if papers.is_some() { "https" } else { "http" };
        let mut settings = json!({
            "node": {"ip": ADDRESS},
            "pilots": [format!("{scheme}://{pilot}")],
            "vip_range": "169.254.128.0/17",
            "state_dir": disk.path().join("state"),
            "dns": {"listen": "127.0.0.1:15053"},
            "http": {"listen": HTTP},
            "ads_socket": disk.path().join("ads.sock"),
            "envoy": {"mode": "absent", "peer_timeout": "0s"},
            "netfilter": {"backend": "none"},
        });
        if let Some(papers) = papers {
            let files = papers.client();
            settings["pilot_tls"] = json!({
                "certificate_file": files.certificate, "private_key_file": files.private_key, "ca_file": files.ca,
            });
        }
        fs::write(disk.path().join("agent.yml"), settings.to_string())?;
        Ok(Self { boshy: boshy.to_owned(), disk, process: None })
    }

    /// Starts it, and waits until it answers this number of names.
    async fn starts(&mut self, work: &'static str, names: usize) -> anyhow::Result<Figures> {
        let (begun, http) = (Instant::now(), Http::new(HTTP));
        let process = self.process.insert(Process::start(&self.boshy, "agent", self.disk.path())?);
        let answered =
            || http.get("/status").ok().and_then(|reply| Some(reply.json()["names"]["answered"].as_object()?.len()));
        while answered() != Some(names) {
            let log = || process::log(self.disk.path());
            ensure!(begun.elapsed() < PATIENCE, "the agent answers {:?} of {names} names: {}", answered(), log());
            ensure!(!process.has_ended(), "the agent ended: {}", log());
            sleep(Duration::from_millis(50)).await;
        }
        let took = begun.elapsed();
        sleep(WINDOW).await;
        let pid = self.pid()?;
        Ok(Figures::of(work).cpu(process::cpu(pid)?).until(took, took).memory(process::memory(pid)?))
    }

    async fn cpu_of_window(&self) -> anyhow::Result<Duration> {
        let pid = self.pid()?;
        let cpu = process::cpu(pid)?;
        sleep(WINDOW).await;
        Ok(process::cpu(pid)? - cpu)
    }

    /// The agent is the child of a process that holds its sockets.
    fn pid(&self) -> anyhow::Result<Pid> {
        let parent = self.process.as_ref().context("the agent was not started")?.pid();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let agent = children.split_whitespace().next().context("the agent is not running")?;
        Ok(Pid::from_raw(agent.parse()?))
    }
}
