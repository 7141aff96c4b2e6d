//! Gives orders to a VM, and reads what its jobs print.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Whether a second user is mapped.
pub(crate) fn vcap_is_mapped() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2).unwrap() != "1"
}

/// Starts this program as process 1 of a PID namespace.
pub(crate) fn first_process(arguments: &[&str], stdin: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdin(stdin).stdout(Stdio::piped());
    let starting = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        command.spawn().unwrap()
    });
    starting.join().unwrap()
}

pub(crate) struct Vm {
    pub(crate) child: Child,
    control: UnixStream,
    reports: BufReader<UnixStream>,
    next: u64,
}

impl Vm {
    pub(crate) fn boot(home: &Path, reboot: bool) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let child = first_process(&["lab", "vm"], Stdio::from(OwnedFd::from(theirs)));
        let mut vm = Self { child, reports: BufReader::new(ours.try_clone().unwrap()), control: ours, next: 0 };
        for directory in ["root", "vcap", "packages"] {
            fs::create_dir_all(home.join(directory)).unwrap();
        }
        vm.done(json!({"build": {
            "hostname": "web-0", "interfaces": [],
            "root": home.join("root"), "vcap": home.join("vcap"), "packages": home.join("packages"),
            "instance": {"id": "673e", "name": "web", "az": "z1", "deployment": "shop"},
        }}));
        vm.done(json!({"boot": {"reboot": reboot}}));
        vm
    }

    /// Sends an order and returns its result.
    pub(crate) fn order(&mut self, what: Value) -> Result<Value, String> {
        self.next += 1;
        let mut order = json!({"id": self.next, "what": what}).to_string();
        order.push('\n');
        self.control.write_all(order.as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            self.reports.read_line(&mut line).unwrap();
            let report: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let done = &report["done"];
            if done["id"] == self.next {
                return match done["result"].get("Ok") {
                    Some(answer) => Ok(answer.clone()),
                    None => Err(done["result"]["Err"].as_str().unwrap().to_owned()),
                };
            }
        }
    }

    pub(crate) fn done(&mut self, what: Value) -> Value {
        self.order(what.clone()).unwrap_or_else(|error| panic!("{what}: {error}"))["done"]["notes"].clone()
    }

    pub(crate) fn apply(&mut self, jobs: Value) -> Result<Value, String> {
        self.order(json!({"apply": {"jobs": jobs, "packages": []}}))
    }

    pub(crate) fn start(&mut self) -> Result<Value, String> {
        self.order(json!({"start": {"patience": {"secs": 20, "nanos": 0}}}))
    }

    pub(crate) fn state(&mut self) -> Value {
        self.order(json!("state")).unwrap()["state"].clone()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A job with one process of the same name, which runs a shell script, and with additional files.
pub(crate) fn job(name: &str, script: &str, more: Value, files: &[(&str, &str)]) -> Value {
    let mut process = json!({"name": name, "executable": "/bin/sh", "args": ["-c", script]});
    process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let bpm = json!({"processes": [process]}).to_string();
    let mut all = vec![json!({"path": "config/bpm.yml", "content": bpm})];
    all.extend(files.iter().map(|(path, content)| json!({"path": path, "content": content})));
    let monit = format!(
        "check process {name} with pidfile /var/vcap/sys/run/bpm/{name}/{name}.pid\n\
         start program \"/var/vcap/jobs/bpm/bin/bpm start {name}\"\nstop program \"/var/vcap/jobs/bpm/bin/bpm stop {name}\"\n"
    );
    json!({"name": name, "release": "test", "files": all, "monit": monit})
}

pub(crate) fn read(home: &TempDir, path: &str) -> String {
    let path = home.path().join("vcap").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn log(home: &TempDir, job: &str) -> String {
    read(home, &format!("sys/log/{job}/{job}.stdout.log"))
}

/// Waits for the last line that a process prints when it is done.
pub(crate) fn printed(home: &TempDir, job: &str, last: &str) -> String {
    let path: PathBuf = home.path().join(format!("vcap/sys/log/{job}/{job}.stdout.log"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().any(|line| line == last) {
            return text;
        }
        assert!(Instant::now() < deadline, "{job} has not printed {last}: {text}");
        thread::yield_now();
    }
}
