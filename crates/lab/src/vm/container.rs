//! Runs one process of a job as bpm does: the hook, the directories, a mount namespace with a limited view of the VM,
//! the user and the capabilities. Finally it executes the process.
//!
//! This code runs in a process of its own with a single thread. So it can use ordinary calls and end with an ordinary
//! `exec`, which keeps the pid that the VM knows.
//!
//! Not implemented, unlike in bpm: a PID namespace (the processes of a container are ended by their process group), the
//! seccomp filter, and limits of memory and of processes, which need control groups.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::dup2_stdin,
};

use super::{
    bpm_yml::{Process, Volume},
    container_root,
    privileges::Privileges,
    processes::Contained,
    users::Vcap,
};
use crate::error::{Doing, LabError};

/// Reads the process's definition from stdin and executes it. Success is reported only by the end of the connection on
/// stdin, which the kernel closes at `exec`.
pub(crate) fn run() -> Result<(), LabError> {
    let socket = io::stdin().as_fd().try_clone_to_owned().doing(|| "taking the control socket".to_owned())?;
    let mut control = UnixStream::from(socket);
    let Err(error) = contain(&control);
    // The parent process may be gone; the log has the reason as well.
    let _ = control.write_all(error.chain().as_bytes());
    Err(error)
}

fn contain(control: &UnixStream) -> Result<Infallible, LabError> {
    let doing = || "reading which process to run".to_owned();
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line).doing(doing)?;
    let contained: Contained = serde_json::from_str(&line).doing(doing)?;
    let nothing = File::open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    dup2_stdin(&nothing).doing(|| "letting go of stdin".to_owned())?;

    let Contained { job, process } = &contained;
    let vcap = Vcap::here()?;
    let privileges = Privileges::new(vcap, &process.capabilities)?;
    let environment = environment(job, process);
    make_directories(job, process, vcap)?;
    hook(process, &environment)?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)
        .doing(|| "making the container's namespaces".to_owned())?;
    container_root::enter(job, process)?;
    limit_open_files(process)?;
    privileges.keep_only()?;
    let workdir = process.workdir.clone().unwrap_or_else(|| Path::new("/var/vcap/jobs").join(job));
    std::env::set_current_dir(&workdir).doing(|| format!("changing to the directory {}", workdir.display()))?;
    let failure = Command::new(&process.executable).args(&process.args).env_clear().envs(environment).exec();
    Err(failure).doing(|| format!("starting {}", process.executable))
}

/// bpm's environment, overridden by the process's own.
fn environment(job: &str, process: &Process) -> Vec<(OsString, OsString)> {
    let data = format!("/var/vcap/data/{job}");
    let path = format!("/var/vcap/jobs/{job}/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin:.");
    let own = [("TMPDIR", format!("{data}/tmp")), ("LANG", "en_US.UTF-8".to_owned()), ("PATH", path), ("HOME", data)];
    let own = own.map(|(key, value)| (OsString::from(key), OsString::from(value)));
    own.into_iter().chain(process.env.iter().map(|(key, value)| (key.into(), value.into()))).collect()
}

fn make_directories(job: &str, process: &Process, vcap: Vcap) -> Result<(), LabError> {
    let root = Path::new("/var/vcap");
    let mut directories =
        vec![root.join("sys/log").join(job), root.join("sys/run").join(job), root.join("data").join(job).join("tmp")];
    if process.ephemeral_disk {
        directories.push(root.join("data").join(job));
    }
    if process.persistent_disk {
        directories.push(root.join("store").join(job));
    }
    for directory in directories {
        fs::create_dir_all(&directory).doing(|| format!("making {}", directory.display()))?;
        vcap.own(&directory)?;
    }
    for Volume { path, .. } in process.additional_volumes.iter().filter(|volume| !volume.mount_only) {
        if !path.exists() {
            fs::create_dir_all(path).doing(|| format!("making {}", path.display()))?;
        }
        if path.is_dir() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                .doing(|| format!("closing {} to others", path.display()))?;
        }
        vcap.own(path)?;
    }
    Ok(())
}

/// Runs the hook as root on the VM, before every start.
fn hook(process: &Process, environment: &[(OsString, OsString)]) -> Result<(), LabError> {
    let hook: Option<&PathBuf> = process.hooks.pre_start.as_ref().filter(|hook| !hook.as_os_str().is_empty());
    let Some(hook) = hook else { return Ok(()) };
    let status = Command::new(hook)
        .env_clear()
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .status()
        .doing(|| format!("starting the hook {}", hook.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::Refused(format!("the hook {} failed: {status}", hook.display())))
}

/// Limits open files, at most to what this machine allows its root.
fn limit_open_files(process: &Process) -> Result<(), LabError> {
    let Some(asked) = process.limits.open_files else { return Ok(()) };
    let doing = || format!("limiting open files to {asked}");
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).doing(doing)?;
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, asked, asked) {
        Err(nix::errno::Errno::EPERM) if asked > most => most,
        other => return other.doing(doing),
    };
    tracing::warn!(asked, limit, "this machine allows fewer open files than the process asks for");
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).doing(doing)
}
