//! Mount operations whose errors name the path.
//!
//! In a user namespace the kernel locks mounts together and does not allow flags to be dropped. So every bind is
//! recursive, and every remount repeats the existing flags.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{chdir, pivot_root},
};

use crate::error::{Doing, LabError};

/// Makes mounts private: later mounts propagate neither to the parent namespace nor from it.
pub(super) fn make_own() -> Result<(), LabError> {
    propagate(MsFlags::MS_PRIVATE)
}

/// Shares mounts with those namespaces below that follow them.
pub(super) fn share() -> Result<(), LabError> {
    propagate(MsFlags::MS_SHARED)
}

/// Later mounts of the parent namespace propagate to this one, and not the other way, as runc has it by default.
pub(super) fn follow() -> Result<(), LabError> {
    propagate(MsFlags::MS_SLAVE)
}

fn propagate(how: MsFlags) -> Result<(), LabError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | how, None::<&str>)
        .doing(|| "setting how the mounts of a namespace propagate".to_owned())
}

/// Changes the root. The old root ends up on top of the new one and is detached.
pub(super) fn pivot(root: &Path) -> Result<(), LabError> {
    let doing = || format!("moving into {}", root.display());
    chdir(root).doing(doing)?;
    pivot_root(".", ".").doing(doing)?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "letting go of the old root".to_owned())?;
    chdir("/").doing(doing)
}

pub(super) fn file_system(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<(), LabError> {
    mount(Some(kind), at, Some(kind), flags, Some(options)).doing(|| format!("mounting {kind} on {}", at.display()))
}

pub(super) fn bind(from: &Path, to: &Path) -> Result<(), LabError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .doing(|| format!("binding {} to {}", from.display(), to.display()))
}

pub(super) fn read_only(at: &Path) -> Result<(), LabError> {
    restrict(at, MsFlags::MS_RDONLY)
}

/// Adds flags to those of a mount.
pub(super) fn restrict(at: &Path, added: MsFlags) -> Result<(), LabError> {
    let doing = || format!("restricting the mount {}", at.display());
    let present = statvfs(at).doing(doing)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | added;
    for (there, keep) in [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        flags.set(keep, flags.contains(keep) || present.contains(there));
    }
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).doing(doing)
}

pub(super) fn make_directory(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).doing(|| format!("making {}", path.display()))
}

pub(super) fn make_file(path: &Path) -> Result<(), LabError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match fs::File::create_new(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).doing(|| format!("making {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn copy_link(from: &Path, to: &Path) -> Result<(), LabError> {
    let target = fs::read_link(from).doing(|| format!("reading the link {}", from.display()))?;
    symlink(target, to).doing(|| format!("making the link {}", to.display()))
}

pub(super) fn link(target: &str, at: &Path) -> Result<(), LabError> {
    symlink(target, at).doing(|| format!("making the link {}", at.display()))
}
