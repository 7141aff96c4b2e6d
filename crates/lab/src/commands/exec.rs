//! `boshy lab exec`: runs a child of this process in the namespaces of a VM, with this process's terminal.
//!
//! The command is a child of the caller and not of the keeper, so that it uses the caller's terminal, job control and
//! open files directly.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};

use crate::{
    client::Client,
    error::{Doing, LabError},
    name::InstanceRef,
    state_dir::StateDir,
};

/// In the order of entry: the first gives the right to enter the others, and the last one hides `/proc`.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Runs a command in a VM and returns its exit status.
pub(super) fn run(state: &StateDir, instance: &InstanceRef, command: &[String]) -> Result<ExitCode, LabError> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| LabError::Usage("give a command to run after --".to_owned()))?;
    let client = Client::connect(state)?;
    let keeper = client.keeper_pid()?;
    let (name, pid) = super::lab::find(client, instance)?;
    enter(keeper, pid)?;
    let mut child = Command::new(program);
    child.args(arguments).current_dir("/").env("HOME", "/root").env("PATH", path());
    // The VM cannot reach the host's proxies, and the host's directories do not exist in it.
    for (key, _) in std::env::vars_os() {
        let text = key.to_string_lossy().to_ascii_lowercase();
        if text.ends_with("_proxy") || ["pwd", "oldpwd", "tmpdir", "xdg_runtime_dir"].contains(&text.as_str()) {
            child.env_remove(&key);
        }
    }
    let child = match child.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LabError::Refused(format!("there is no program {program} on {name}")));
        }
        Err(error) => return Err(error).doing(|| format!("starting {program} on {name}")),
    };
    let status = wait(child)?;
    Ok(ExitCode::from(code(status)))
}

/// Enters the VM's namespaces: the mount namespace at once, the PID namespace for children.
fn enter(keeper: i32, pid: u32) -> Result<(), LabError> {
    // Through the keeper's root, because the VM's process id is valid in the keeper's PID namespace.
    let directory = PathBuf::from(format!("/proc/{keeper}/root/proc/{pid}/ns"));
    let mut entrances = Vec::new();
    for (name, kind) in NAMESPACES {
        let path = directory.join(name);
        if same(&path, &Path::new("/proc/self/ns").join(name))? {
            continue;
        }
        let file = File::open(&path).doing(|| format!("opening the {name} namespace of the VM"))?;
        entrances.push((file, name, kind));
    }
    for (file, name, kind) in entrances {
        setns(file, kind).doing(|| format!("entering the {name} namespace of the VM"))?;
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> Result<bool, LabError> {
    let inode =
        |path: &Path| fs::metadata(path).map(|data| data.ino()).doing(|| format!("looking at {}", path.display()));
    Ok(inode(one)? == inode(other)?)
}

/// The caller's PATH, preceded by the VM's packages and followed by the directories of system programs.
fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("/var/vcap/packages/boshy/bin:{own}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Waits for the child and forwards the signals that should end it. The terminal sends its signals to both processes
/// itself.
fn wait(mut child: Child) -> Result<ExitStatus, LabError> {
    let doing = || "waiting for the command".to_owned();
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        signals.add(signal);
    }
    // Blocked only now, because the child would inherit it. The first check below notices a child that has already
    // ended.
    signals.thread_block().doing(|| "blocking signals".to_owned())?;
    loop {
        if let Some(status) = child.try_wait().doing(doing)? {
            return Ok(status);
        }
        let signal = signals.wait().doing(doing)?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
            // The child may just have ended on its own.
            let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}
