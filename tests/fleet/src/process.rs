//! A process of the measured program.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use nix::{time::ClockId, unistd::Pid};

/// How long a start may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Ends with its value.
pub(crate) struct Process(Child);

impl Process {
    /// Runs `boshy ROLE` with the settings `ROLE.yml` of this directory, in which its log is, too.
    pub(crate) fn start(boshy: &Path, role: &str, disk: &Path) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(disk.join("log"))?;
        // Not even a killed driver leaves a process behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(boshy).args([role, "--config"]);
        command.arg(disk.join(role).with_extension("yml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().context("run setpriv (package util-linux)")?))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of a process so far.
pub(crate) fn cpu(pid: Pid) -> anyhow::Result<Duration> {
    Ok(ClockId::pid_cpu_clock_id(pid)?.now()?.into())
}

/// Resident memory of a process in octets.
pub(crate) fn memory(pid: Pid) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes << 10)
}

/// The end of the log in a process's directory.
pub(crate) fn log(disk: &Path) -> String {
    let text = fs::read_to_string(disk.join("log")).unwrap_or_default();
    text[text.floor_char_boundary(text.len().saturating_sub(2_000))..].to_owned()
}
