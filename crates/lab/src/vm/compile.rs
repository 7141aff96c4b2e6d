//! Compiles a package as the agent of a compilation VM does: `bash -x packaging` as root, without network, in a root
//! with the files of a VM. The result is then added to the compiled packages.
//!
//! Not promised: that a package that compiles here compiles on a stemcell. The programs are the host's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use serde::{Deserialize, Serialize};

use super::root::{self, Root};
use crate::{
    error::{Doing, LabError},
    netlink,
    state_dir::fresh_directory,
};

/// A compilation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Compilation {
    /// Name of the package.
    pub(crate) name: String,
    /// Fingerprint of the package's content.
    pub(crate) fingerprint: String,
    /// Passed to the script as the package's version.
    pub(crate) version: String,
    /// Gzipped tar archive with the sources and the script `packaging`.
    pub(crate) archive: PathBuf,
    /// Fingerprints of the compiled packages that must exist, by name.
    pub(crate) dependencies: BTreeMap<String, String>,
}

/// Bytes of output included in an error.
const TAIL: usize = 4096;
/// Directory of the sources, as on a compilation VM.
const TARGET: &str = "/var/vcap/data/compile";

/// Compiles a package into `STORE/NAME/FINGERPRINT`, unless it exists. Blocks. Two compilations of one package must not
/// run at the same time.
///
/// # Errors
/// When the script fails, with the end of its output; when its namespaces cannot be created.
pub(crate) fn compile(boshy: &Path, store: &Path, compilation: &Compilation) -> Result<PathBuf, LabError> {
    let compiled = store.join(&compilation.name).join(&compilation.fingerprint);
    if compiled.exists() {
        return Ok(compiled);
    }
    let parent = compiled.parent().unwrap_or(store);
    let work = parent.join(format!(".{}", compilation.fingerprint));
    let kept = make(boshy, store, &work, compilation).and_then(|()| {
        let installed = work.join("vcap/packages").join(&compilation.name);
        fs::rename(installed, &compiled).doing(|| format!("keeping {}", compiled.display()))
    });
    let cleared = fs::remove_dir_all(&work).doing(|| format!("removing {}", work.display()));
    kept.and(cleared).map(|()| compiled)
}

/// Compiles below `work`, in a process of its own that all its descendants end with.
fn make(boshy: &Path, store: &Path, work: &Path, compilation: &Compilation) -> Result<(), LabError> {
    let vcap = work.join("vcap");
    let sources = work.join("vcap/data/compile").join(&compilation.name);
    for directory in [work.join("root"), vcap.join("packages").join(&compilation.name), sources.clone()] {
        fresh_directory(&directory)?;
    }
    for (name, fingerprint) in &compilation.dependencies {
        let link = vcap.join("packages").join(name);
        symlink(Path::new("/var/vcap/data/packages").join(name).join(fingerprint), &link)
            .doing(|| format!("linking {}", link.display()))?;
    }
    unpack(&compilation.archive, &sources)?;
    let output = work.join("output");
    let log = File::create(&output).doing(|| format!("making {}", output.display()))?;
    let order = Order {
        root: work.join("root"),
        vcap,
        packages: store.to_owned(),
        name: compilation.name.clone(),
        version: compilation.version.clone(),
    };
    let order = serde_json::to_string(&order).doing(|| "writing down what to compile".to_owned())?;
    let mut command = Command::new(boshy);
    command.args(["lab", "compile"]).stdin(Stdio::piped());
    command.stdout(log.try_clone().doing(|| format!("opening {}", output.display()))?).stderr(log);
    let mut child = first_process(command)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(order.as_bytes()).doing(|| "telling what to compile".to_owned())?;
    }
    let status = child.wait().doing(|| "waiting for a compilation".to_owned())?;
    if status.success() {
        return Ok(());
    }
    let printed = fs::read(&output).unwrap_or_default();
    let tail = String::from_utf8_lossy(&printed[printed.len().saturating_sub(TAIL)..]).into_owned();
    Err(LabError::Refused(format!(
        "compiling the package {} failed: {status}; it printed:\n{}",
        compilation.name,
        tail.trim_end()
    )))
}

/// Starts process 1 of a new PID namespace, so that everything the script leaves running ends with it.
fn first_process(mut command: Command) -> Result<Child, LabError> {
    // A thread can set the namespace of its future children, and only once.
    let starting = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWPID).map_err(io::Error::from)?;
        command.spawn()
    });
    let child =
        starting.join().map_err(|_| LabError::Refused("the thread that starts a process panicked".to_owned()))?;
    child.doing(|| "starting a compilation".to_owned())
}

fn unpack(archive: &Path, into: &Path) -> Result<(), LabError> {
    let doing = || format!("unpacking {}", archive.display());
    let output = Command::new("tar")
        .args(["--no-same-owner", "-xzf"])
        .arg(archive)
        .arg("-C")
        .arg(into)
        .stdin(Stdio::null())
        .output()
        .doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(reason)).doing(doing)
}

/// Input of the compiling process.
#[derive(Serialize, Deserialize)]
struct Order {
    root: PathBuf,
    vcap: PathBuf,
    packages: PathBuf,
    name: String,
    version: String,
}

/// Runs as the compiling process, the first of a PID namespace: enters its own root and executes the script.
pub(crate) fn run() -> Result<(), LabError> {
    let order: Order = serde_json::from_reader(io::stdin().lock()).doing(|| "reading what to compile".to_owned())?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)
        .doing(|| "making the namespaces of a compilation".to_owned())?;
    netlink::set_up("lo")?;
    root::enter(&Root {
        at: order.root,
        vcap: order.vcap,
        packages: order.packages,
        preload: None,
        hostname: "compilation".to_owned(),
        address: None,
    })?;
    let (target, install) = (format!("{TARGET}/{}", order.name), format!("/var/vcap/packages/{}", order.name));
    let nothing = File::open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
    let error = Command::new("bash")
        .args(["-x", "packaging"])
        .current_dir(&target)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .envs([("HOME", "/root"), ("BOSH_PACKAGE_NAME", &order.name), ("BOSH_PACKAGE_VERSION", &order.version)])
        .envs([("BOSH_COMPILE_TARGET", &target), ("BOSH_INSTALL_TARGET", &install)])
        .stdin(nothing)
        .exec();
    Err(error).doing(|| "starting the script packaging".to_owned())
}
