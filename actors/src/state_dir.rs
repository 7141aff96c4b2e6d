//! The pilot's state directory, which only one pilot may use.
//!
//! Two pilots with one lease file would overwrite each other's leases. The claim is a lock (`flock`) on a file in the
//! directory, which the kernel releases when the process ends for any reason. On a local disk it holds between all
//! processes of the machine. Over NFS, Linux makes it a lock of the server, which holds between machines as long as the
//! server supports locks (NFSv4, or NFSv3 with `lockd`; not with the mount options `nolock` and `local_lock`). The
//! claim of a machine that has gone ends with the server's lease, usually after 90 s. Where no lock is available, the
//! pilot continues and reports it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use boshy_web::status::Lack;
use err_report::Report;
use nix::libc;
use tracing::warn;

use crate::{StartError, clock};

/// A directory that is reserved for this pilot as long as this value lives.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The open, and therefore locked, lock file.
    lock: Option<File>,
    /// Why another pilot may use the directory as well.
    unclaimed: Option<Lack>,
}

impl StateDir {
    /// Claims a directory, and creates it if it is missing.
    ///
    /// # Errors
    /// When another pilot has claimed it, or something else is in place of the directory or the lock file.
    pub(crate) fn claim(directory: &Path) -> Result<Self, StartError> {
        let path = directory.join("lock");
        let locked = open(directory, &path).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        });
        match locked {
            Ok(Some(file)) => Ok(Self { path: directory.to_owned(), lock: Some(file), unclaimed: None }),
            Ok(None) => Err(StartError::StateDirInUse { directory: directory.to_owned(), lock: path }),
            Err(error) if is_of_the_disk(&error) => {
                Ok(Self { path: directory.to_owned(), lock: None, unclaimed: Some(unclaimed(&path, &error)) })
            }
            Err(source) => Err(StartError::StateDir { directory: directory.to_owned(), source }),
        }
    }

    /// Removes the incomplete files of an earlier process. Without the lock, another pilot may be writing them.
    pub(crate) async fn sweep(&self) {
        if self.lock.is_some() {
            boshy_state::sweep(&self.path).await;
        }
    }

    /// The note for operators, if any.
    pub(crate) fn lack(&self) -> Option<Lack> {
        self.unclaimed.clone()
    }
}

fn open(directory: &Path, path: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    // Opening a FIFO in its place does not block.
    let file = OpenOptions::new().create(true).write(true).mode(0o640).custom_flags(libc::O_NONBLOCK).open(path)?;
    boshy_state::must_be_regular(&file.metadata()?)?;
    Ok(file)
}

/// Whether the error concerns the disk and not its content. The stored state can then still be served, and the lock be
/// taken at the next start.
fn is_of_the_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, Unsupported};
    let kinds = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, Unsupported];
    kinds.contains(&error.kind()) || matches!(error.raw_os_error(), Some(libc::EIO | libc::ENOLCK))
}

fn unclaimed(path: &Path, error: &io::Error) -> Lack {
    let reason = format!("{} cannot be locked: {}", path.display(), Report::new(error));
    let remedy = "Make the directory writable, on a disk that knows locks, and start the pilot again; until then make sure \
                  that no other pilot uses it.";
    warn!(reason, remedy, "doing without");
    Lack { what: "state_dir", since: clock::now().0, reason, remedy: remedy.to_owned() }
}

#[cfg(test)]
#[path = "state_dir_tests.rs"]
mod tests;
