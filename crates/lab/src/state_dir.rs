//! Where a lab keeps what outlives a system call: the control socket, the keeper's log, and each VM's `/var/vcap`.
//!
//! ```text
//! STATE/lock               held by the keeper as long as it lives
//! STATE/mark               makes a directory ours, so that nothing else is ever cleared
//! STATE/keeper.json        what the keeper was started with
//! STATE/keeper.sock        control
//! STATE/keeper.log
//! STATE/vms/DEPLOYMENT/GROUP/INDEX/{root,vcap}
//! ```
//!
//! The kernel frees the lock however the keeper ends, so a lock that can be taken means that the rest is left over.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use crate::{
    error::{Doing, LabError},
    name::InstanceName,
};

const LOCK: &str = "lock";
const MARK: &str = "mark";

/// A lab's directory on the host.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// The directory asked for, or the usual one: `/run/boshy-lab` for root, `$XDG_RUNTIME_DIR/boshy-lab` for others, and
    /// where there is no such directory, one below `/tmp` that carries the user's number.
    pub(crate) fn new(asked: Option<&Path>) -> Result<Self, LabError> {
        let usual = || match std::env::var_os("XDG_RUNTIME_DIR") {
            _ if geteuid().is_root() => PathBuf::from("/run/boshy-lab"),
            Some(runtime) if !runtime.is_empty() => Path::new(&runtime).join("boshy-lab"),
            _ => PathBuf::from(format!("/tmp/boshy-lab-{}", geteuid())),
        };
        let path = asked.map_or_else(usual, Path::to_path_buf);
        Ok(Self(std::path::absolute(&path).doing(|| format!("finding the state directory {}", path.display()))?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("keeper.sock")
    }

    pub(crate) fn keeper_log(&self) -> PathBuf {
        self.0.join("keeper.log")
    }

    pub(crate) fn keeper_settings(&self) -> PathBuf {
        self.0.join("keeper.json")
    }

    /// The VM's own directory.
    pub(crate) fn vm(&self, name: &InstanceName) -> PathBuf {
        self.0.join("vms").join(&name.deployment).join(&name.group).join(name.index.to_string())
    }

    /// What the VM sees as `/var/vcap`.
    pub(crate) fn vcap(&self, name: &InstanceName) -> PathBuf {
        self.vm(name).join("vcap")
    }

    /// Takes the directory for a new lab, and clears what an earlier one left. `None` when a lab runs here.
    pub(crate) fn claim(&self) -> Result<Option<File>, LabError> {
        self.create()?;
        let path = self.0.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .doing(|| format!("opening {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).doing(|| format!("locking {}", path.display())),
        }
        self.clear(&[LOCK, MARK])?;
        Ok(Some(lock))
    }

    /// Removes the directory of a lab that is gone. Answers whether there was one.
    pub(crate) fn remove(&self) -> Result<bool, LabError> {
        if !self.0.join(MARK).exists() {
            return Ok(false);
        }
        self.clear(&[])?;
        fs::remove_dir(&self.0).doing(|| format!("removing {}", self.0.display()))?;
        Ok(true)
    }

    fn create(&self) -> Result<(), LabError> {
        let doing = || format!("making the state directory {}", self.0.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).doing(doing)?;
        let owner = fs::metadata(&self.0).doing(doing)?.uid();
        if owner != geteuid().as_raw() {
            return Err(LabError::Refused(format!(
                "the state directory {} belongs to user {owner}; choose another with --state-dir",
                self.0.display()
            )));
        }
        let mark = self.0.join(MARK);
        if mark.exists() {
            return Ok(());
        }
        if fs::read_dir(&self.0).doing(doing)?.next().is_some() {
            return Err(LabError::Refused(format!(
                "{} holds files that are not a lab's; choose an empty directory with --state-dir",
                self.0.display()
            )));
        }
        fs::write(&mark, "boshy lab\n").doing(|| format!("writing {}", mark.display()))
    }

    fn clear(&self, keep: &[&str]) -> Result<(), LabError> {
        let doing = || format!("clearing the state directory {}", self.0.display());
        for entry in fs::read_dir(&self.0).doing(doing)? {
            let entry = entry.doing(doing)?;
            if keep.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let path = entry.path();
            let removed = if entry.file_type().doing(doing)?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.doing(|| format!("removing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Empties a directory, making it when it is not there.
pub(crate) fn fresh_directory(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(path),
    }
    .doing(|| format!("emptying {}", path.display()))
}

#[cfg(test)]
#[path = "state_dir_tests.rs"]
mod tests;
