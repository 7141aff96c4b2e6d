//! A network of its own, which has loopback alone and all addresses of 10.0.0.0/8.

use std::{
    env,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::geteuid,
};

/// Set in the namespace.
const INSIDE: &str = "BOSHY_FLEET_NAMESPACE";

/// Runs this program again in a network namespace. `None` in that namespace, once its addresses are there.
pub(crate) fn enter() -> anyhow::Result<Option<ExitCode>> {
    if env::var_os(INSIDE).is_some() {
        ip("link set lo up")?;
        ip("route add local 10.0.0.0/8 dev lo")?;
        open_many_files()?;
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--"]).arg(env::current_exe()?).args(env::args_os().skip(1)).env(INSIDE, "");
    let status = command.status().context("run unshare (package util-linux)")?;
    Ok(Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
    let status = Command::new("ip").args(arguments.split(' ')).env("PATH", path).stdin(Stdio::null()).status();
    let status = status.context("run ip (package iproute2)")?;
    ensure!(status.success(), "ip {arguments}: {status}");
    Ok(())
}

/// Each agent needs a socket, and so does the pilot for each.
fn open_many_files() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("open many files")
}
