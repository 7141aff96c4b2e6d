//! Controls a lab through the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    jumps,
    manifests::{self, Service},
    process::{self, Running},
    wait::within,
};

/// Time for any condition. Most take a second or two; a machine under load takes longer.
const PATIENCE: Duration = Duration::from_secs(45);
/// The VM of the control plane.
pub(crate) const PILOT_VM: &str = "bosh-pilot/0";
/// Names of jobs in the lab.
pub(crate) const PILOT: &str = "bosh-pilot";
pub(crate) const AGENT: &str = "virtual-ip-agent";
pub(crate) const ENVOY: &str = "bosh-envoy";
pub(crate) const HTTPBIN: &str = "example-httpbin";

/// The release that labs use, built once for all tests of this process. Each process has its own, because another one
/// may use another Envoy.
static RELEASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix("istio-").and_then(|rest| rest.strip_suffix(".tgz"));
        if maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists()) {
            // Another process that starts now may have removed it already.
            let _ = fs::remove_file(entry.path());
        }
    }
    let path = folder.join(format!("istio-{}.tgz", std::process::id()));
    Lab::nowhere().succeeds(["release", path.to_str().unwrap()]);
    path
});

/// A lab in its own directory, taken down with the value.
pub(crate) struct Lab {
    home: TempDir,
}

impl Lab {
    /// A directory for a lab, without one.
    pub(crate) fn nowhere() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The sample deployment, ready.
    pub(crate) fn up() -> Self {
        Self::with(&manifests::SAMPLE)
    }

    /// The deployment of a manifest, ready.
    pub(crate) fn with(manifest: &str) -> Self {
        Self::with_all(&[manifest])
    }

    /// The deployments of several manifests, ready.
    pub(crate) fn with_all(manifests: &[&str]) -> Self {
        Self::nowhere().comes_up(manifests, &[])
    }

    /// The same, whose VMs have wall clocks that can jump.
    pub(crate) fn with_clocks(manifests: &[&str]) -> Self {
        let lab = Self::nowhere();
        let library = jumps::library(lab.home.path());
        lab.comes_up(manifests, &["--preload", library.to_str().unwrap()])
    }

    fn comes_up(self, manifests: &[&str], more: &[&str]) -> Self {
        let lab = self;
        let mut up = ["up", "--test-hooks", "--release", RELEASE.to_str().unwrap()].map(str::to_owned).to_vec();
        up.extend(more.iter().copied().map(str::to_owned));
        for (number, manifest) in manifests.iter().enumerate() {
            let file = lab.file(&format!("manifest-{number}.yml"), manifest);
            up.extend(["--manifest".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        lab.succeeds(up);
        lab
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `boshy lab ARGUMENTS` for this lab.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(named_by("BOSHY_BIN", "the boshy binary, such as target/debug/boshy"));
        let envoy = named_by("BOSHY_ENVOY", "Envoy's program, such as .cache/envoy-1.40.0/envoy");
        command.arg("lab").args(arguments).stdin(Stdio::null());
        command.env("BOSHY_LAB_STATE_DIR", self.state()).env("BOSHY_LAB_ENVOY", envoy);
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn succeeds<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let mut command = self.command(arguments);
        let output = command.output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
        stdout
    }

    /// Standard error of a command that must fail.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{output:?}");
        text(&output.stderr)
    }

    /// Output of a shell command in a VM, which must succeed.
    pub(crate) fn sh(&self, vm: &str, script: &str) -> String {
        self.succeeds(["exec", vm, "--", "sh", "-c", script])
    }

    /// Whether a shell command in a VM succeeds.
    pub(crate) fn holds(&self, vm: &str, script: &str) -> bool {
        self.run(["exec", vm, "--", "sh", "-c", script]).status.success()
    }

    /// Whether a request from a VM to a service is answered, at its name or at another host.
    pub(crate) fn answers(&self, vm: &str, host: &str, service: Service) -> bool {
        self.holds(vm, &format!("curl -sf --max-time 5 http://{host}:{}/ip", service.port))
    }

    /// A shell command that runs in a VM until it is dropped.
    pub(crate) fn keeps_running(&self, vm: &str, script: &str) -> Running {
        Running::start(self.command(["exec", vm, "--", "sh", "-c", script]))
    }

    pub(crate) fn deploys(&self, manifest: &str) -> &Self {
        let file = self.file("changed.yml", manifest);
        self.succeeds(["deploy", file.to_str().unwrap()]);
        self
    }

    pub(crate) fn deletes(&self, deployment: &str) -> &Self {
        self.succeeds(["delete", deployment]);
        self
    }

    /// A development release of the version.
    pub(crate) fn release(&self, version: &str) -> PathBuf {
        let path = self.home.path().join(format!("istio-{version}.tgz"));
        self.succeeds(["release", "--as", version, path.to_str().unwrap()]);
        path
    }

    /// Standard output of the BOSH CLI, which must succeed.
    pub(crate) fn bosh<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let cli = named_by("BOSHY_BOSH", "the BOSH CLI, such as .cache/bosh-7.9.12/bosh");
        let script = r#"eval "$1"; shift; exec "$@""#;
        let mut command = Command::new("bash");
        command.args(["-c", script, "bosh", &self.succeeds(["env"])]).arg(cli).arg("--non-interactive").args(arguments);
        let output = command.env("HOME", self.home.path()).stdin(Stdio::null()).output().unwrap();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
        stdout
    }

    pub(crate) fn stops(&self, vm: &str, job: &str) -> &Self {
        self.succeeds(["stop", vm, job]);
        self
    }

    pub(crate) fn starts(&self, vm: &str, job: &str) -> &Self {
        self.succeeds(["start", vm, job]);
        self
    }

    /// Kills a job and waits until it runs again.
    pub(crate) fn kills(&self, vm: &str, job: &str) -> &Self {
        let before = self.restarts(vm, job);
        self.succeeds(["kill", vm, job]);
        self.eventually(&format!("{job} of {vm} runs again"), || {
            let status = self.status();
            let now = job_of(&status, vm, job);
            now["state"] == "running" && now["restarts"].as_u64() > Some(before)
        })
    }

    /// Ends all processes of a VM at once, as a power cut does. `boshy lab reboot` boots it again.
    pub(crate) fn switches_off(&self, vm: &str) -> &Self {
        let namespace = self.sh(vm, "readlink /proc/self/ns/net");
        process::send("KILL", process::first_in(Path::new(namespace.trim())));
        self.eventually(&format!("{vm} is off"), || vm_of(&self.status(), vm)["alive"] == false)
    }

    /// Makes an actor panic and waits until it is restarted.
    pub(crate) fn panics(&self, vm: &str, actor: &str) -> &Self {
        let address = operations(vm);
        let look = || self.get(vm, "/status").map(|status| actor_of(&status, actor).clone()).unwrap_or_default();
        let before = look()["restarts"].as_u64().unwrap();
        // The actor that serves this request may be the one that panics: there need not be an answer.
        self.run(["exec", vm, "--", "curl", "-s", "-X", "POST", &format!("{address}/debug/panic/{actor}")]);
        self.eventually(&format!("{actor} of {vm} lives again"), || {
            let now = look();
            now["state"] == "running" && now["restarts"].as_u64() > Some(before)
        })
    }

    /// `boshy lab status`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.succeeds(["status", "--json"])).unwrap()
    }

    /// Number of restarts of a job.
    pub(crate) fn restarts(&self, vm: &str, job: &str) -> u64 {
        job_of(&self.status(), vm, job)["restarts"].as_u64().unwrap()
    }

    /// The VMs that are part of the mesh, as `GROUP/INDEX`.
    pub(crate) fn vms(&self) -> Vec<String> {
        let status = self.status();
        let names = status["vms"].as_array().unwrap().iter().map(short_name);
        names.filter(|name| !is_pilot(name)).collect()
    }

    /// Address of a VM.
    pub(crate) fn address(&self, vm: &str) -> String {
        string(&vm_of(&self.status(), vm)["ip"])
    }

    /// Virtual IPs by host name, from the pilot's status.
    pub(crate) fn vips(&self) -> BTreeMap<String, String> {
        let status = self.status();
        let services = status["services"].as_array().unwrap().iter();
        services.map(|service| (string(&service["hostname"]), string(&service["vip"]))).collect()
    }

    /// The `/status` of a VM's pilot or agent; `None` while it does not answer.
    pub(crate) fn get(&self, vm: &str, path: &str) -> Option<Value> {
        let url = format!("{}{path}", operations(vm));
        let output = self.run(["exec", vm, "--", "curl", "-sS", "--max-time", "5", &url]);
        serde_json::from_slice(&output.stdout).ok()
    }

    pub(crate) fn pilot(&self) -> Value {
        self.get(PILOT_VM, "/status").unwrap_or_default()
    }

    /// The log of a job.
    pub(crate) fn log(&self, vm: &str, job: &str) -> String {
        self.succeeds(["logs", vm, job])
    }

    /// Endpoints of a service in a VM's Envoy, as `IP:PORT`, also those to which tunnels lead.
    pub(crate) fn endpoints(&self, vm: &str, host: &str) -> BTreeSet<String> {
        let output = self.run(["exec", vm, "--", "curl", "-s", "--max-time", "5", "http://127.0.0.1:8001/clusters"]);
        let ours = ["out", "mtls"].map(|way| format!("{way}.{host}|"));
        let clusters = text(&output.stdout);
        let lines = clusters.lines().filter(|line| ours.iter().any(|ours| line.starts_with(ours)));
        // CLUSTER::ADDRESS::KEY::VALUE; lines about the cluster itself have no address.
        let addresses = lines.filter_map(|line| line.split("::").nth(1)).filter(|field| field.contains(':'));
        addresses.map(str::to_owned).collect()
    }

    /// Number of connections from a VM to a service for which its Envoy found no usable endpoint.
    pub(crate) fn stranded(&self, vm: &str, service: Service) -> u64 {
        let url = "http://127.0.0.1:8001/stats?filter=(connect_attempts_exceeded|none_healthy)$";
        let statistics = self.succeeds(["exec", vm, "--", "curl", "-sS", "--max-time", "5", url]);
        let ours = format!("cluster.out.{}|", service.host);
        let lines = statistics.lines().filter(|line| line.starts_with(&ours));
        lines.map(|line| line.rsplit_once(": ").unwrap().1.parse::<u64>().unwrap()).sum()
    }

    /// Waits until every VM's agent is connected to the pilot and has accepted all resources, with none rejected.
    pub(crate) fn is_in_agreement(&self) -> &Self {
        let vms = self.vms();
        self.eventually("every proxy has accepted what it was sent", || {
            let pilot = self.pilot();
            let agents = pilot["proxies"].as_array().map(Vec::as_slice).unwrap_or_default();
            agents.len() == vms.len() && agents.iter().all(accepted)
        });
        self.eventually("every Envoy has accepted what it was sent", || {
            vms.iter().all(|vm| {
                let agent = self.get(vm, "/status").unwrap_or_default();
                agent["ready"] == true && agent["envoy"]["refusing"] == 0
            })
        })
    }

    /// Waits for a condition.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn() -> bool) -> &Self {
        within(PATIENCE, what, holds);
        self
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shows_trouble();
        }
        // A test of `down` has done it already, which is not an error.
        let _ = self.command(["down"]).stderr(Stdio::null()).status();
        process::none_below(&self.state());
    }
}

impl Lab {
    /// Warnings and errors in the jobs' logs, for the output of a failed test.
    fn shows_trouble(&self) {
        let Ok(vms) = fs::read_dir(self.state().join("vms")) else { return };
        for vm in vms.flatten() {
            let pattern = "WARN\\|ERROR\\|panicked\\|critical";
            let logs = Command::new("grep").args(["-rh", pattern]).arg(vm.path()).output();
            let logs = logs.map(|output| text(&output.stdout)).unwrap_or_default();
            let lines: Vec<&str> = logs.lines().collect();
            let tail = &lines[lines.len().saturating_sub(12)..];
            eprintln!("{}:\n  {}", vm.path().display(), tail.join("\n  "));
        }
    }
}

/// The program that an environment variable names. It is required, because a skipped test proves nothing.
pub(crate) fn named_by(variable: &str, what: &str) -> PathBuf {
    let path = env::var_os(variable).unwrap_or_else(|| panic!("set {variable} to {what}"));
    PathBuf::from(&path).canonicalize().unwrap_or_else(|error| panic!("{variable} names {path:?}: {error}"))
}

/// Address of a VM's pilot or agent for operators.
fn operations(vm: &str) -> &'static str {
    if is_pilot(vm) { "http://127.0.0.1:8080" } else { "http://127.0.0.1:15020" }
}

/// Whether a VM is one of the control plane.
fn is_pilot(vm: &str) -> bool {
    vm.starts_with("bosh-pilot/")
}

fn short_name(vm: &Value) -> String {
    format!("{}/{}", vm["group"].as_str().unwrap(), vm["index"])
}

fn vm_of<'a>(status: &'a Value, vm: &str) -> &'a Value {
    let mut vms = status["vms"].as_array().unwrap().iter();
    vms.find(|known| short_name(known) == vm).unwrap_or_else(|| panic!("no VM {vm}"))
}

fn job_of<'a>(status: &'a Value, vm: &str, job: &str) -> &'a Value {
    let mut jobs = vm_of(status, vm)["jobs"].as_array().unwrap().iter();
    jobs.find(|known| known["name"] == job).unwrap_or_else(|| panic!("no job {job}"))
}

fn actor_of<'a>(status: &'a Value, actor: &str) -> &'a Value {
    let mut children = status["actors"]["children"].as_array().unwrap().iter();
    children.find(|child| child["name"] == actor).unwrap_or_else(|| panic!("no actor {actor}"))
}

/// The names of a role's actors.
pub(crate) fn actors(status: &Value) -> Vec<String> {
    status["actors"]["children"].as_array().unwrap().iter().map(|child| string(&child["name"])).collect()
}

/// Whether a proxy has accepted the latest version of each type.
fn accepted(proxy: &Value) -> bool {
    let types = proxy["types"].as_object().unwrap();
    !types.is_empty() && types.values().all(|sent| sent["rejected"].is_null() && sent["accepted"] == sent["sent"])
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
