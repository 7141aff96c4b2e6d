//! The file system of a process run by bpm.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use nix::mount::MsFlags;

use super::{
    bpm_yml::{Process, Volume},
    mounts::{bind, copy_link, file_system, follow, make_directory, make_file, pivot, read_only, restrict},
    root::HOST_TREES,
};
use crate::error::{Doing, LabError};

/// Where the root is assembled; the VM has nothing there.
const AT: &str = "/mnt";

/// Source of a mount, and its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    from: PathBuf,
    writable: bool,
    executable: bool,
}

/// Enters a root with the mounts that bpm makes. The caller has its own mount namespace.
pub(super) fn enter(job: &str, process: &Process) -> Result<(), LabError> {
    follow()?;
    let root = Path::new(AT);
    file_system("tmpfs", root, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=755")?;
    for tree in HOST_TREES.iter().copied().chain(["etc"]) {
        system_tree(&Path::new("/").join(tree), &root.join(tree))?;
    }
    for tree in ["proc", "sys", "dev"] {
        make_directory(&root.join(tree))?;
        bind(&Path::new("/").join(tree), &root.join(tree))?;
    }
    let kernel = root.join("proc/sys");
    bind(&kernel, &kernel)?;
    read_only(&kernel)?;
    let mut shown = of_job(job, process);
    add_volumes(&mut shown, &process.additional_volumes);
    add_volumes(&mut shown, &expanded(&process.unconfined.unrestricted_volumes)?);
    for (path, shown) in &shown {
        show(root, path, shown)?;
    }
    pivot(root)
}

fn system_tree(from: &Path, to: &Path) -> Result<(), LabError> {
    let Ok(found) = fs::symlink_metadata(from) else { return Ok(()) };
    if found.is_symlink() {
        return copy_link(from, to);
    }
    make_directory(to)?;
    bind(from, to)?;
    read_only(to)
}

/// Ordered by path, so that a path comes after the one that contains it.
fn of_job(job: &str, process: &Process) -> BTreeMap<PathBuf, Shown> {
    let vcap = Path::new("/var/vcap");
    let temporary = vcap.join("data").join(job).join("tmp");
    let shown = |from: &Path, writable| Shown { from: from.to_owned(), writable, executable: !writable };
    let mut all = BTreeMap::new();
    for at in [Path::new("/tmp"), Path::new("/var/tmp"), &temporary] {
        all.insert(at.to_owned(), shown(&temporary, true));
    }
    for path in [vcap.join("data/packages"), vcap.join("packages"), vcap.join("jobs").join(job)] {
        all.insert(path.clone(), shown(&path, false));
    }
    let mut written = vec![vcap.join("sys/log").join(job), vcap.join("sys/run").join(job)];
    if process.ephemeral_disk {
        written.push(vcap.join("data").join(job));
    }
    if process.persistent_disk {
        written.push(vcap.join("store").join(job));
    }
    all.extend(written.into_iter().map(|path| (path.clone(), shown(&path, true))));
    all
}

fn add_volumes(all: &mut BTreeMap<PathBuf, Shown>, volumes: &[Volume]) {
    for volume in volumes {
        let (from, writable, executable) = (volume.path.clone(), volume.writable, volume.allow_executions);
        all.insert(from.clone(), Shown { from, writable, executable });
    }
}

/// The volumes, with a `*` in the last part of a path expanded.
fn expanded(volumes: &[Volume]) -> Result<Vec<Volume>, LabError> {
    let mut all = Vec::new();
    for volume in volumes {
        let pattern = volume.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((start, end)) = pattern.split_once('*') else {
            all.push(volume.clone());
            continue;
        };
        let directory = volume.path.parent().unwrap_or(Path::new("/"));
        if end.contains('*') || directory.to_string_lossy().contains('*') {
            return Err(LabError::Refused(format!(
                "the unrestricted volume {} has more than one *; here one is understood, in the last part of the path",
                volume.path.display()
            )));
        }
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let matching = names
            .filter(|name| name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end));
        all.extend(matching.map(|name| Volume { path: directory.join(name), ..volume.clone() }));
    }
    Ok(all)
}

fn show(root: &Path, at: &Path, shown: &Shown) -> Result<(), LabError> {
    let from = &shown.from;
    let inside = at.strip_prefix("/").unwrap_or(at);
    let to = root.join(inside);
    let kind = fs::metadata(from).doing(|| format!("looking at the volume {}", from.display()))?;
    if kind.is_dir() {
        make_directory(&to)?;
    } else {
        make_file(&to)?;
    }
    bind(from, &to)?;
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    flags.set(MsFlags::MS_RDONLY, !shown.writable);
    flags.set(MsFlags::MS_NOEXEC, !shown.executable);
    restrict(&to, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_sees_its_own_and_what_it_asks_for() {
        let process = Process { ephemeral_disk: true, ..Process::default() };
        let mut shown = of_job("web", &process);
        assert!(shown[Path::new("/var/vcap/data/web")].writable && !shown[Path::new("/var/vcap/data/web")].executable);
        assert!(shown[Path::new("/var/vcap/jobs/web")].executable && !shown[Path::new("/var/vcap/jobs/web")].writable);
        assert_eq!(shown[Path::new("/tmp")].from, Path::new("/var/vcap/data/web/tmp"));
        for hidden in ["/var/vcap/instance", "/var/vcap/jobs", "/var/vcap/store/web"] {
            assert!(!shown.contains_key(Path::new(hidden)), "{hidden}");
        }
        let instance = PathBuf::from("/var/vcap/instance");
        let volume = Volume { path: instance.clone(), writable: false, allow_executions: false, mount_only: true };
        add_volumes(&mut shown, &[volume]);
        assert_eq!(shown[&instance], Shown { from: instance.clone(), writable: false, executable: false });
    }

    #[test]
    fn a_star_stands_for_what_is_there() {
        let home = tempfile::tempdir().unwrap();
        for name in ["a1x", "a2x", "b"] {
            fs::write(home.path().join(name), "").unwrap();
        }
        let volume = |pattern: &str| Volume {
            path: home.path().join(pattern),
            writable: true,
            allow_executions: false,
            mount_only: false,
        };
        let mut found: Vec<_> = expanded(&[volume("a*x"), volume("b")]).unwrap().into_iter().map(|v| v.path).collect();
        found.sort();
        assert_eq!(found, ["a1x", "a2x", "b"].map(|name| home.path().join(name)));
        assert!(expanded(&[volume("*/x*")]).unwrap_err().to_string().contains("more than one *"));
    }
}
