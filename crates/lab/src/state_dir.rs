//! A lab's directory: the control socket, the keeper's log, and each VM's `/var/vcap`.
//!
//! ```text
//! STATE/mark               marks the directory as the lab's, so that no other one is ever cleared
//! STATE/keeper.json        settings of the keeper
//! STATE/keeper.sock        control
//! STATE/keeper.log         locked as long as a process of the lab lives
//! STATE/director.json      how to reach the director, with its secret
//! STATE/releases/          the director's releases
//! STATE/packages/          compiled, by fingerprint
//! STATE/vms/CID/{root,vcap}
//! STATE/disks/INSTANCE     /var/vcap/store of instances without a VM
//! ```
//!
//! The log is the lock, because it is the one file that every process of a lab inherits. The kernel releases it however
//! they end. So a lock that can be taken means that everything else in the directory is left over.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

use crate::error::{Doing, LabError};

const LOG: &str = "keeper.log";
const MARK: &str = "mark";

/// A lab's directory on the host.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// The given directory or the default: `/run/boshy-lab` for root, `$XDG_RUNTIME_DIR/boshy-lab` for other users, and
    /// without that variable a directory below `/tmp` with the user's number in its name.
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
        self.0.join(LOG)
    }

    pub(crate) fn keeper_settings(&self) -> PathBuf {
        self.0.join("keeper.json")
    }

    /// File with the access data of the director.
    pub(crate) fn access(&self) -> PathBuf {
        self.0.join("director.json")
    }

    /// The director's storage of releases.
    pub(crate) fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// Compiled packages.
    pub(crate) fn packages(&self) -> PathBuf {
        self.0.join("packages")
    }

    /// Persistent disk of an instance while it has no VM.
    pub(crate) fn disk(&self, instance: &str) -> PathBuf {
        self.0.join("disks").join(instance)
    }

    /// Directory of the VM with this cid.
    pub(crate) fn vm(&self, cid: &str) -> PathBuf {
        self.0.join("vms").join(cid)
    }

    /// The VM's `/var/vcap`.
    pub(crate) fn vcap(&self, cid: &str) -> PathBuf {
        self.vm(cid).join("vcap")
    }

    /// Claims the directory for a new lab and clears what an earlier one left. Returns the log, which is the lock;
    /// `None` when a lab is running here.
    pub(crate) fn claim(&self) -> Result<Option<File>, LabError> {
        self.create()?;
        let path = self.keeper_log();
        let doing = || format!("opening {}", path.display());
        let lock = File::options().create(true).append(true).open(&path).doing(doing)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).doing(|| format!("locking {}", path.display())),
        }
        self.clear(&[LOG, MARK])?;
        lock.set_len(0).doing(doing)?;
        Ok(Some(lock))
    }

    /// Removes the directory of a lab that has ended. Returns whether there was one.
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

/// Empties a directory, or creates it.
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
