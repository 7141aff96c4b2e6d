//! Controls a lab through the command line, and checks the kernel's state.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use tempfile::TempDir;

/// The user nobody.
const NOBODY: u32 = 65534;

/// Two VMs with the jobs of the tests' release.
pub(crate) const TWO_VMS: &str = "
name: sample
releases: [{name: small, version: latest}, {name: bosh-dns, version: 1.38.0}]
stemcells: [{alias: default, os: ubuntu-noble, version: latest}]
update: {canaries: 1, max_in_flight: 2, canary_watch_time: 1000-30000, update_watch_time: 1000-30000}
instance_groups:
- name: web
  azs: [z1, z2]
  instances: 2
  vm_type: default
  stemcell: default
  networks: [{name: default}]
  jobs:
  - {name: web, release: small}
  - {name: greeter, release: small}
  - {name: bosh-dns, release: bosh-dns}
";

/// A lab in its own directory, taken down at the end of the test.
pub(crate) struct Lab {
    pub(crate) home: TempDir,
    program: PathBuf,
    user: Option<u32>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), program: std::env::current_exe().unwrap(), user: None }
    }

    /// A lab of an ordinary user: the current one, or the user nobody when the current one is root. The program is
    /// copied to a place where any user can read it.
    pub(crate) fn of_an_ordinary_user() -> Self {
        let mut lab = Self::new();
        if geteuid().is_root() {
            let program = lab.home.path().join("program");
            fs::copy(&lab.program, &program).unwrap();
            chown(lab.home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            (lab.program, lab.user) = (program, Some(NOBODY));
        }
        lab
    }

    pub(crate) fn up() -> Self {
        let lab = Self::new();
        lab.succeeds(["up", "--empty"]);
        lab.deploys(TWO_VMS);
        lab
    }

    /// Uploads the tests' release, made by this program, and deploys a manifest.
    pub(crate) fn deploys(&self, manifest: &str) {
        let (release, manifest) = (self.home.path().join("small.tgz"), self.manifest(manifest));
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release");
        // As the current user, who can read the sources.
        let made = Command::new(&self.program).args(["lab", "release", "--from", from]).arg(&release).status().unwrap();
        assert!(made.success());
        self.succeeds(["upload-release", release.to_str().unwrap()]);
        self.succeeds(["deploy", manifest.to_str().unwrap()]);
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn manifest(&self, text: &str) -> PathBuf {
        let path = self.home.path().join("manifest.yml");
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("lab").args(arguments).env("BOSHY_LAB_STATE_DIR", self.state()).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn succeeds<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Output of a shell command in a VM.
    pub(crate) fn sh(&self, vm: &str, script: &str) -> String {
        self.succeeds(["exec", vm, "--", "bash", "-c", script])
    }

    /// The body of an answer to `GET`, requested inside a VM.
    pub(crate) fn get(&self, vm: &str, address: &str, port: u16) -> String {
        let script = format!(r#"exec 3<>/dev/tcp/{address}/{port}; printf 'GET /get HTTP/1.0\r\n\r\n' >&3; cat <&3"#);
        self.sh(vm, &script)
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(["status", "--json"])).unwrap()
    }

    /// State and restarts of a job.
    pub(crate) fn job(&self, index: usize, name: &str) -> (String, u64) {
        let status = self.status();
        let jobs = status["vms"][index]["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["name"] == name).unwrap();
        (job["state"].as_str().unwrap().to_owned(), job["restarts"].as_u64().unwrap())
    }

    pub(crate) fn keeper(&self) -> i32 {
        processes(|process| command_line(process).contains(&format!("keeper\0--state-dir\0{}", self.state().display())))
            [0]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.command(["down"]).stderr(Stdio::null()).status();
    }
}

pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| wanted(path)).filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

pub(crate) fn command_line(process: &Path) -> String {
    fs::read_to_string(process.join("cmdline")).unwrap_or_default()
}

pub(crate) fn network(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}

pub(crate) fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// A process and all its descendants.
pub(crate) fn family(root: i32) -> Vec<i32> {
    let descends = |process: i32| std::iter::successors(Some(process), |process| parent(*process)).any(|id| id == root);
    processes(|path| path.file_name().and_then(|name| name.to_str()?.parse().ok()).is_some_and(descends))
}

/// Whether a process exists and is not a zombie.
pub(crate) fn running(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}
