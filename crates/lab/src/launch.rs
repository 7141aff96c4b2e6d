//! Starts the keeper from the user's shell in three processes.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::signal::SigSet,
    unistd::{getegid, geteuid, setsid},
};

use crate::{
    LabSettings,
    error::{Doing, LabError},
    keeper::{DIRECTOR, KeeperSettings, LISTENING},
    state_dir::StateDir,
};

/// Starts a keeper that outlives this process, and waits until it listens.
pub(crate) fn start_keeper(settings: &LabSettings, state: &StateDir, keeper: &KeeperSettings) -> Result<(), LabError> {
    let Some(log) = state.claim()? else {
        return Err(LabError::Refused(format!(
            "a lab is already running in {}; look at it with `boshy lab status`, add to it with `boshy lab deploy`, or end it with `boshy lab down`",
            state.path().display()
        )));
    };
    let written = serde_json::to_string(keeper).doing(|| "writing down the keeper's settings".to_owned())?;
    let path = state.keeper_settings();
    fs::write(&path, written).doing(|| format!("writing {}", path.display()))?;
    let mut launcher = Command::new(&settings.boshy)
        .args(["lab", "launcher", "--state-dir"])
        .arg(state.path())
        .current_dir("/")
        .stdin(OwnedFd::from(host_listener()?))
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .doing(|| format!("starting {}", settings.boshy.display()))?;
    let mut said = String::new();
    if let Some(stdout) = launcher.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).doing(|| "waiting for the keeper".to_owned())?;
    }
    launcher.wait().doing(|| "waiting for the launcher".to_owned())?;
    if said.trim_end() == LISTENING {
        return Ok(());
    }
    let log = fs::read_to_string(state.keeper_log()).unwrap_or_default();
    Err(LabError::Refused(format!("the lab's keeper did not start; it said:\n{}", log.trim_end())))
}

/// Listens on the usual port of directors when it is free, otherwise on another one.
fn host_listener() -> Result<TcpListener, LabError> {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, DIRECTOR.port()));
    usual
        .or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
            _ => Err(error),
        })
        .doing(|| "listening on 127.0.0.1 for the director".to_owned())
}

/// Creates the namespaces and starts the keeper in them. The keeper inherits this process's listener, log and stdout.
pub(crate) fn launch(settings: &LabSettings, state: &StateDir) -> Result<(), LabError> {
    setsid().doing(|| "leaving the terminal's session".to_owned())?;
    // The client has blocked signals, and every job would inherit that.
    SigSet::all().thread_unblock().doing(|| "unblocking signals".to_owned())?;
    let lab = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    match unshare(lab) {
        Err(Errno::EPERM) => unshare_as_user(lab)?,
        other => other.doing(|| "making the lab's namespaces".to_owned())?,
    }
    Command::new(&settings.boshy)
        .args(["lab", "keeper", "--state-dir"])
        .arg(state.path())
        .spawn()
        .doing(|| format!("starting {}", settings.boshy.display()))?;
    Ok(())
}

/// In a user namespace of its own, an ordinary user is root over the namespaces created with it. One user and one group
/// are mapped, which requires no setuid program.
fn unshare_as_user(lab: CloneFlags) -> Result<(), LabError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | lab).doing(|| {
        "making a user namespace (the kernel may not let ordinary users do so: see user.max_user_namespaces, \
         kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns; or run as root)"
            .to_owned()
    })?;
    for (file, content) in
        [("setgroups", "deny".to_owned()), ("uid_map", format!("0 {user} 1")), ("gid_map", format!("0 {group} 1"))]
    {
        fs::write(format!("/proc/self/{file}"), content).doing(|| format!("writing /proc/self/{file}"))?;
    }
    Ok(())
}
