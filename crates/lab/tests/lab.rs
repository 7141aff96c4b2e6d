//! Labs without the mesh, from the outside: real namespaces, real processes, the command line.
//!
//! A lab is made of processes of the program that starts it, which here is this test: called with a command of the lab it
//! carries that out, and tests otherwise.
//!
//! Needs a kernel that lets this user make namespaces; where it does not, these tests fail and say so.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program, which clippy takes for a program only")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use boshy_lab::{LabCommand, LabError, LabSettings, httpbin};
use clap::Parser;
use libtest_mimic::{Arguments, Trial};
use tempfile::TempDir;

#[derive(Parser)]
enum Program {
    #[command(subcommand)]
    Lab(LabCommand),
    Httpbin(httpbin::HttpbinCommand),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|first| first != "lab" && first != "httpbin") {
        return test();
    }
    program(Program::parse()).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}

fn program(program: Program) -> Result<ExitCode, LabError> {
    match program {
        Program::Lab(command) => {
            let boshy = std::env::current_exe().unwrap();
            boshy_lab::run(&command, LabSettings { boshy })
        }
        Program::Httpbin(command) => httpbin::run(&command).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs functions as tests, under their own names.
macro_rules! tests {
    ($($name:ident)*) => {
        fn test() -> ExitCode {
            let tests = vec![$(Trial::test(stringify!($name), || { $name(); Ok(()) })),*];
            libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
        }
    };
}

tests! {
    vms_have_names_addresses_and_roots_of_their_own_and_reach_each_other
    exec_passes_input_output_and_the_exit_status_through
    a_killed_job_comes_back_and_a_stopped_one_stays_down
    names_that_no_job_answers_for_are_refused
    vms_follow_what_is_deployed
    a_rebooted_vm_starts_what_monit_would_and_keeps_its_disk
    a_vm_whose_first_process_dies_is_shown_dead_until_it_is_booted_again
    the_director_is_reached_from_the_host_with_what_env_prints
    a_second_lab_in_the_same_place_is_refused_with_what_to_do
    down_leaves_nothing
    killing_the_keeper_leaves_no_process_and_no_namespace
    a_lab_in_the_foreground_goes_with_its_command
    ctrl_c_takes_a_lab_in_the_foreground_down
}

const TWO_VMS: &str = "
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

/// A lab in a directory of its own, taken down with the test.
struct Lab {
    home: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn up() -> Self {
        let lab = Self::new();
        lab.succeeds(["up", "--empty"]);
        lab.deploys(TWO_VMS);
        lab
    }

    /// Uploads the release of these tests, made of this program, and deploys a manifest.
    fn deploys(&self, manifest: &str) {
        let (release, manifest) = (self.home.path().join("small.tgz"), self.manifest(manifest));
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/release");
        self.succeeds(["release", "--from", from, release.to_str().unwrap()]);
        self.succeeds(["upload-release", release.to_str().unwrap()]);
        self.succeeds(["deploy", manifest.to_str().unwrap()]);
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn manifest(&self, text: &str) -> PathBuf {
        let path = self.home.path().join("manifest.yml");
        fs::write(&path, text).unwrap();
        path
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("lab").args(arguments).env("BOSHY_LAB_STATE_DIR", self.state()).stdin(Stdio::null());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeeds<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Output of a shell command in a VM.
    fn sh(&self, vm: &str, script: &str) -> String {
        self.succeeds(["exec", vm, "--", "bash", "-c", script])
    }

    /// The body of an answer to `GET`, asked inside a VM.
    fn get(&self, vm: &str, address: &str, port: u16) -> String {
        let script = format!(r#"exec 3<>/dev/tcp/{address}/{port}; printf 'GET /get HTTP/1.0\r\n\r\n' >&3; cat <&3"#);
        self.sh(vm, &script)
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds(["status", "--json"])).unwrap()
    }

    /// State and restarts of a job.
    fn job(&self, index: usize, name: &str) -> (String, u64) {
        let status = self.status();
        let jobs = status["vms"][index]["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["name"] == name).unwrap();
        (job["state"].as_str().unwrap().to_owned(), job["restarts"].as_u64().unwrap())
    }

    fn keeper(&self) -> i32 {
        processes(|process| command_line(process).contains(&format!("keeper\0--state-dir\0{}", self.state().display())))
            [0]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.command(["down"]).stderr(Stdio::null()).status();
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen within 20 s");
        thread::sleep(Duration::from_millis(20));
    }
}

fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| wanted(path)).filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn command_line(process: &Path) -> String {
    fs::read_to_string(process.join("cmdline")).unwrap_or_default()
}

fn network(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/net")).ok()
}

fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// A process and all below it.
fn family(root: i32) -> Vec<i32> {
    let descends = |process: i32| std::iter::successors(Some(process), |process| parent(*process)).any(|id| id == root);
    processes(|path| path.file_name().and_then(|name| name.to_str()?.parse().ok()).is_some_and(descends))
}

fn vms_have_names_addresses_and_roots_of_their_own_and_reach_each_other() {
    let lab = Lab::up();
    let vms = lab.status()["vms"].as_array().unwrap().clone();
    let shown: Vec<_> = vms.iter().map(|vm| (vm["ip"].as_str().unwrap(), vm["az"].as_str().unwrap())).collect();
    assert_eq!(shown, [("10.244.0.126", "z1"), ("10.244.0.127", "z2")]);

    let answer = lab.get("web/0", "10.244.0.127", 9001);
    assert!(answer.contains("x-instance: web/1") && answer.contains("\"origin\":\"10.244.0.126\""), "{answer}");

    assert_eq!(lab.sh("web/1", "cat /var/vcap/instance/{name,az,deployment}"), "webz2sample");
    assert_eq!(lab.sh("web/1", "hostname; cat /var/vcap/instance/id").lines().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(lab.sh("web/0", "awk '$2 == \"00000000\"' /proc/net/route"), "", "there is a default route");
    let marker = lab.home.path().join("marker");
    fs::write(&marker, "").unwrap();
    assert_eq!(lab.sh("web/0", &format!("test -e {} || echo hidden", marker.display())), "hidden\n");
    let refused = lab.run(["exec", "web/0", "--", "touch", "/etc/passwd", "/usr/x"]);
    assert!(!refused.status.success(), "a VM can write to the host's files");
}

fn exec_passes_input_output_and_the_exit_status_through() {
    let lab = Lab::up();
    let output = lab.run(["exec", "sample/web/1", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(7), &b"out\n"[..], &b"err\n"[..]));
    assert_eq!(lab.run(["exec", "web/0", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));

    assert_eq!(lab.run(["exec", "web/0", "--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(143));

    let input = lab.manifest("from stdin\n");
    let output = lab.command(["exec", "web/0", "--", "cat"]).stdin(fs::File::open(input).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"from stdin\n");
    let output = lab.command(["exec", "web/0", "--", "env"]).env("KEPT", "yes").env("http_proxy", "http://x").output();
    let environment = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(environment.contains("KEPT=yes") && !environment.contains("http_proxy"), "{environment}");

    assert_eq!(lab.run(["exec", "web/0", "--"]).status.code(), Some(2), "clap's status for wrong usage");
    assert_eq!(lab.fails(["exec", "web/7", "--", "true"]), "there is no VM web/7; there are web/0, web/1\n");
    assert_eq!(lab.fails(["exec", "web/0", "--", "nonesuch"]), "there is no program nonesuch on sample/web/0\n");
}

fn a_killed_job_comes_back_and_a_stopped_one_stays_down() {
    let lab = Lab::up();
    lab.succeeds(["kill", "web/0", "greeter"]);
    eventually("the restart of greeter", || lab.job(0, "greeter") == ("running".to_owned(), 1));
    let before = Instant::now();
    lab.succeeds(["stop", "web/0", "greeter"]);
    assert!(before.elapsed() < Duration::from_secs(10), "SIGTERM did not reach the job");
    assert_eq!(lab.job(0, "greeter"), ("stopped".to_owned(), 1));
    lab.succeeds(["start", "web/0", "greeter"]);
    assert_eq!(lab.job(0, "greeter"), ("running".to_owned(), 1));

    let logs = lab.succeeds(["logs", "web/0", "greeter"]);
    assert_eq!(logs.matches("hello").count(), 3, "{logs}");
    assert!(lab.fails(["kill", "web/0", "nonesuch"]).starts_with("sample/web/0 has no job nonesuch; it has "));
}

fn names_that_no_job_answers_for_are_refused() {
    let lab = Lab::up();
    // A question for `a`, type A, class IN; in the answer the last four bits of the fourth byte are the code.
    let script = r#"exec 3<>/dev/udp/169.254.0.2/53
        printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01' >&3
        timeout 5 dd bs=512 count=1 <&3 2>/dev/null | od -An -tx1 -N4"#;
    assert_eq!(lab.sh("web/0", script).trim(), "12 34 81 85");
}

fn vms_follow_what_is_deployed() {
    let lab = Lab::up();
    let id = |index: usize| lab.status()["vms"][index]["id"].as_str().unwrap().to_owned();
    let first = (id(0), lab.sh("web/0", "stat -c %Y /proc/1; echo kept > /tmp/kept"));
    let three = lab.manifest(&TWO_VMS.replace("instances: 2", "instances: 3"));
    lab.succeeds(["deploy", three.to_str().unwrap()]);
    assert_eq!(lab.status()["vms"].as_array().unwrap().len(), 3);
    assert_eq!(
        (id(0), lab.sh("web/0", "cat /tmp/kept")),
        (first.0, "kept\n".to_owned()),
        "an unchanged VM was made anew"
    );

    let one = lab.manifest(&TWO_VMS.replace("instances: 2", "instances: 1"));
    lab.succeeds(["deploy", one.to_str().unwrap()]);
    assert_eq!(lab.status()["vms"].as_array().unwrap().len(), 1);
    assert!(lab.fails(["exec", "web/1", "--", "true"]).starts_with("there is no VM web/1"));
    lab.succeeds(["delete", "sample"]);
    assert!(lab.status()["vms"].as_array().unwrap().is_empty());
    assert!(lab.fails(["delete", "sample"]).contains("sample"));
    assert!(lab.fails(["deploy", lab.manifest("name: [").to_str().unwrap()]).contains("line 1"));
}

fn a_rebooted_vm_starts_what_monit_would_and_keeps_its_disk() {
    let lab = Lab::up();
    lab.sh("web/0", "echo kept > /var/vcap/store/kept; echo gone > /tmp/gone; echo gone > /var/vcap/sys/run/gone");
    lab.succeeds(["reboot", "web/0"]);
    eventually("the jobs of web/0", || lab.job(0, "web").0 == "running" && lab.job(0, "greeter").0 == "running");
    let left = lab.sh("web/0", "cat /var/vcap/store/kept; ls /tmp/gone /var/vcap/sys/run/gone 2>/dev/null || true");
    assert_eq!(left, "kept\n");
    eventually("an answer of web/0", || {
        lab.run(["exec", "web/1", "--", "bash", "-c", "exec 3<>/dev/tcp/10.244.0.126/9001"]).status.success()
    });
}

fn a_vm_whose_first_process_dies_is_shown_dead_until_it_is_booted_again() {
    let lab = Lab::up();
    let keeper = lab.keeper();
    let first = processes(|path| command_line(path).ends_with("lab\0vm\0"));
    let own = first.into_iter().find(|process| parent(*process) == Some(keeper)).unwrap();
    assert!(Command::new("kill").args(["-9", &own.to_string()]).status().unwrap().success());
    let alive = || lab.status()["vms"].as_array().unwrap().iter().filter(|vm| vm["alive"] == true).count();
    eventually("a dead VM", || alive() == 1);
    let dead = lab.status()["vms"].as_array().unwrap().iter().position(|vm| vm["alive"] == false).unwrap();
    let dead = format!("web/{dead}");
    assert!(lab.succeeds(["status"]).contains(&format!("boshy lab reboot {dead}")));
    assert!(lab.fails(["exec", &dead, "--", "true"]).contains("is not running"));
    lab.succeeds(["reboot", &dead]);
    assert_eq!(alive(), 2);
    lab.succeeds(["exec", &dead, "--", "true"]);
}

fn the_director_is_reached_from_the_host_with_what_env_prints() {
    let lab = Lab::new();
    assert!(lab.fails(["env"]).contains("no lab is running"));
    lab.succeeds(["up", "--empty"]);
    let exports = lab.succeeds(["env"]);
    let script = format!("{exports}\nprintf '%s' \"$BOSH_ENVIRONMENT\"");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    let address = url.strip_prefix("https://").unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{url}");
    std::net::TcpStream::connect(address).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(lab.state().join("director.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let other = Lab::new();
    other.succeeds(["up", "--empty"]);
    assert_ne!(other.succeeds(["env"]), exports, "two labs beside each other are two");
}

fn a_second_lab_in_the_same_place_is_refused_with_what_to_do() {
    let lab = Lab::up();
    let told = lab.fails(["up", "--empty"]);
    assert!(told.contains("already running") && told.contains("boshy lab down"), "{told}");
    lab.succeeds(["status"]);
}

fn down_leaves_nothing() {
    let lab = Lab::up();
    let processes = family(lab.keeper());
    lab.succeeds(["down"]);
    assert!(!lab.state().exists());
    for process in processes {
        assert!(!running(process), "process {process} is left");
    }
    assert!(lab.fails(["status"]).contains("no lab is running"));
    lab.succeeds(["down"]);
}

fn killing_the_keeper_leaves_no_process_and_no_namespace() {
    let lab = Lab::up();
    let keeper = lab.keeper();
    let processes_before = family(keeper);
    let networks: BTreeSet<_> =
        processes_before.iter().filter_map(|id| network(Path::new(&format!("/proc/{id}")))).collect();
    assert!(processes_before.len() >= 9, "keeper, two VMs, three jobs each: {processes_before:?}");
    assert_eq!(networks.len(), 3, "one network of the keeper, one of each VM");
    assert!(Command::new("kill").args(["-9", &keeper.to_string()]).status().unwrap().success());

    eventually("the end of every process", || processes_before.iter().all(|process| !running(*process)));
    let left = processes(|path| network(path).is_some_and(|own| networks.contains(&own)));
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.state().to_str().unwrap()) && !mounts.contains("nsfs"), "{mounts}");

    lab.succeeds(["up", "--empty"]);
}

fn a_lab_in_the_foreground_goes_with_its_command() {
    let lab = Lab::new();
    let mut foreground = lab.command(["up", "--foreground", "--empty"]);
    let mut foreground = foreground.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the lab in the foreground", || lab.run(["env"]).status.success());
    let keeper = lab.keeper();
    foreground.kill().unwrap();
    foreground.wait().unwrap();
    eventually("the end of the keeper", || !running(keeper));
}

fn ctrl_c_takes_a_lab_in_the_foreground_down() {
    let lab = Lab::new();
    let mut foreground = lab.command(["up", "--foreground", "--empty"]);
    let mut foreground = foreground.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the lab in the foreground", || lab.run(["env"]).status.success());
    assert!(Command::new("kill").args(["-INT", &foreground.id().to_string()]).status().unwrap().success());
    assert_eq!(foreground.wait().unwrap().code(), Some(130));
    assert!(!lab.state().exists());
}

/// Whether a process is there and not merely waiting for its parent to look.
fn running(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}
