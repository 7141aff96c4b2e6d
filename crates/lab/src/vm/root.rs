//! The root file system of a VM: a tmpfs that shows the host's programs read-only and has everything that can be written
//! of its own.
//!
//! Works as root and in a user namespace. There the kernel locks mounts together and refuses to drop their flags, so every
//! bind is recursive and every remount repeats the flags that are there.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd::{chdir, pivot_root},
};

use super::protocol::VmSpec;
use crate::error::{Doing, LabError};

/// What the VM sees of the host's programs and libraries, where the host has it.
const HOST_TREES: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "opt"];
/// Devices that are the same everywhere.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Files of `/etc` that are the VM's own.
const OWN_ETC: [&str; 5] = ["resolv.conf", "nsswitch.conf", "hosts", "hostname", "mtab"];
/// Where `/etc` of the host stands while the VM's is put together.
const HOST_ETC: &str = "tmp/etc";

/// Builds the root and moves into it. The caller has a mount namespace of its own.
pub(super) fn enter(spec: &VmSpec) -> Result<(), LabError> {
    // Nothing that is mounted from here on may reach the keeper's namespace.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .doing(|| "making the VM's mounts its own".to_owned())?;
    let root = &spec.root;
    file_system("tmpfs", root, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    for directory in
        ["proc", "sys", "dev", "etc", "run", "root", "home", "mnt", "tmp/etc", "var/tmp", "var/log", "var/vcap"]
    {
        make_directory(&root.join(directory))?;
    }
    for shared in ["tmp", "var/tmp"] {
        let path = root.join(shared);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777))
            .doing(|| format!("opening {}", path.display()))?;
    }
    link("/run", &root.join("var/run"))?;
    host_trees(root)?;
    etc(root, spec)?;
    devices(root)?;
    file_system("proc", &root.join("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, "")?;
    let sys_flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    file_system("sysfs", &root.join("sys"), sys_flags, "")?;
    bind(&spec.vcap, &root.join("var/vcap"))?;
    for (host, guest) in &spec.programs {
        let guest = root.join("var/vcap/packages").join(guest);
        make_file(&guest)?;
        bind(host, &guest)?;
        read_only(&guest)?;
    }
    pivot(root)
}

fn host_trees(root: &Path) -> Result<(), LabError> {
    for tree in HOST_TREES {
        let (host, guest) = (Path::new("/").join(tree), root.join(tree));
        let Ok(found) = fs::symlink_metadata(&host) else { continue };
        if found.is_symlink() {
            copy_link(&host, &guest)?;
        } else {
            make_directory(&guest)?;
            bind(&host, &guest)?;
            read_only(&guest)?;
        }
    }
    Ok(())
}

/// Each entry of the host's `/etc` is bound by itself, so that a few can be replaced. They are bound from a read-only view
/// of it, whose flags they inherit.
fn etc(root: &Path, spec: &VmSpec) -> Result<(), LabError> {
    let host = root.join(HOST_ETC);
    bind(Path::new("/etc"), &host)?;
    read_only(&host)?;
    let doing = || "reading /etc".to_owned();
    for entry in fs::read_dir(&host).doing(doing)? {
        let entry = entry.doing(doing)?;
        let kind = entry.file_type().doing(doing)?;
        let guest = root.join("etc").join(entry.file_name());
        if OWN_ETC.iter().any(|own| entry.file_name() == *own) {
            continue;
        } else if kind.is_symlink() {
            copy_link(&entry.path(), &guest)?;
        } else if kind.is_dir() {
            make_directory(&guest)?;
            bind(&entry.path(), &guest)?;
        } else if kind.is_file() {
            make_file(&guest)?;
            bind(&entry.path(), &guest)?;
        }
    }
    umount2(&host, MntFlags::MNT_DETACH).doing(|| format!("unmounting {}", host.display()))?;
    fs::remove_dir(&host).doing(|| format!("removing {}", host.display()))?;

    let (hostname, address) = (&spec.hostname, spec.address.addr());
    let own = [
        ("resolv.conf", "nameserver 169.254.0.2\noptions timeout:2 attempts:2\n".to_owned()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n".to_owned(),
        ),
        ("hosts", format!("127.0.0.1 localhost\n::1 localhost\n{address} {hostname}\n")),
        ("hostname", format!("{hostname}\n")),
    ];
    for (name, content) in own {
        let path = root.join("etc").join(name);
        fs::write(&path, content).doing(|| format!("writing {}", path.display()))?;
    }
    link("/proc/self/mounts", &root.join("etc/mtab"))
}

fn devices(root: &Path) -> Result<(), LabError> {
    let dev = root.join("dev");
    for name in DEVICES {
        let guest = dev.join(name);
        make_file(&guest)?;
        bind(&Path::new("/dev").join(name), &guest)?;
    }
    for (name, kind, options) in
        [("pts", "devpts", "newinstance,ptmxmode=0666,mode=620"), ("shm", "tmpfs", "mode=1777")]
    {
        make_directory(&dev.join(name))?;
        file_system(kind, &dev.join(name), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, options)?;
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        link(target, &dev.join(name))?;
    }
    Ok(())
}

/// The old root ends up on top of the new one, and is let go.
fn pivot(root: &Path) -> Result<(), LabError> {
    let doing = || format!("moving into {}", root.display());
    chdir(root).doing(doing)?;
    pivot_root(".", ".").doing(doing)?;
    umount2(".", MntFlags::MNT_DETACH).doing(|| "letting go of the host's root".to_owned())?;
    chdir("/").doing(doing)
}

fn file_system(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<(), LabError> {
    mount(Some(kind), at, Some(kind), flags, Some(options)).doing(|| format!("mounting {kind} on {}", at.display()))
}

fn bind(from: &Path, to: &Path) -> Result<(), LabError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .doing(|| format!("binding {} to {}", from.display(), to.display()))
}

fn read_only(at: &Path) -> Result<(), LabError> {
    let doing = || format!("making {} read-only", at.display());
    let present = statvfs(at).doing(doing)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (there, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        flags.set(keep, present.contains(there));
    }
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).doing(doing)
}

fn make_directory(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path).doing(|| format!("making {}", path.display()))
}

fn make_file(path: &Path) -> Result<(), LabError> {
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

fn copy_link(from: &Path, to: &Path) -> Result<(), LabError> {
    let target = fs::read_link(from).doing(|| format!("reading the link {}", from.display()))?;
    symlink(target, to).doing(|| format!("making the link {}", to.display()))
}

fn link(target: &str, at: &Path) -> Result<(), LabError> {
    symlink(target, at).doing(|| format!("making the link {}", at.display()))
}
