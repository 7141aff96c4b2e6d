//! The root file system of a VM: a tmpfs that contains the host's programs read-only, and the VM's own copy of
//! everything writable.
//!
//! It works as root and in a user namespace.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, umount2};

use super::{
    mounts::{bind, copy_link, file_system, link, make_directory, make_file, make_own, pivot, read_only, share},
    users,
};
use crate::error::{Doing, LabError};

/// Definition of a root.
pub(super) struct Root {
    /// Empty directory on which it is mounted.
    pub(super) at: PathBuf,
    /// Directory of the host that becomes `/var/vcap`.
    pub(super) vcap: PathBuf,
    /// Directory of the host that becomes `/var/vcap/data/packages`, read-only.
    pub(super) packages: PathBuf,
    /// A library of the host that every program loads.
    pub(super) preload: Option<PathBuf>,
    pub(super) hostname: String,
    pub(super) address: Option<Ipv4Addr>,
}

/// The host's programs and libraries that the VM sees, where they exist.
pub(super) const HOST_TREES: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "opt"];
/// Devices that are the same everywhere.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Files of `/etc` that are specific to the VM.
const OWN_ETC: [&str; 8] =
    ["resolv.conf", "nsswitch.conf", "hosts", "hostname", "mtab", "passwd", "group", "ld.so.preload"];
/// The VM's copy of the library that every program loads. `/etc` is also what the VM's containers see.
const PRELOADED: &str = "/etc/preloaded.so";
/// Mount point of the host's `/etc` while the VM's is assembled.
const HOST_ETC: &str = "tmp/etc";

/// Builds the root and enters it. The caller has its own mount namespace.
pub(super) fn enter(spec: &Root) -> Result<(), LabError> {
    make_own()?;
    let root = &spec.at;
    file_system("tmpfs", root, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    for directory in
        ["proc", "sys", "dev", "etc", "run", "root", "home/vcap", "mnt", "tmp/etc", "var/tmp", "var/log", "var/vcap"]
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
    let packages = root.join("var/vcap/data/packages");
    make_directory(&packages)?;
    bind(&spec.packages, &packages)?;
    read_only(&packages)?;
    pivot(root)?;
    // As systemd does on a stemcell.
    share()
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

/// Binds each entry of the host's `/etc` separately, so that a few can be replaced. They are bound from a read-only
/// view, whose flags they inherit.
fn etc(root: &Path, spec: &Root) -> Result<(), LabError> {
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

    let read = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).doing(|| format!("reading /etc/{name}"));
    let own = [
        ("resolv.conf", "nameserver 169.254.0.2\noptions timeout:2 attempts:2\n".to_owned()),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n".to_owned(),
        ),
        ("hosts", hosts(&spec.hostname, spec.address)),
        ("hostname", format!("{}\n", spec.hostname)),
        ("passwd", users::passwd(&read("passwd")?)),
        ("group", users::group(&read("group")?)),
    ];
    for (name, content) in own {
        let path = root.join("etc").join(name);
        fs::write(&path, content).doing(|| format!("writing {}", path.display()))?;
    }
    link("/proc/self/mounts", &root.join("etc/mtab"))?;
    let Some(library) = &spec.preload else { return Ok(()) };
    fs::copy(library, root.join(&PRELOADED[1..])).doing(|| format!("copying {}", library.display()))?;
    fs::write(root.join("etc/ld.so.preload"), format!("{PRELOADED}\n")).doing(|| "writing ld.so.preload".to_owned())
}

/// Content of `/etc/hosts` before there are records.
pub(super) fn hosts(hostname: &str, address: Option<Ipv4Addr>) -> String {
    let own = address.map(|address| format!("{address} {hostname}\n")).unwrap_or_default();
    format!("127.0.0.1 localhost\n::1 localhost\n{own}")
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
