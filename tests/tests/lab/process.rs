//! Processes of the host, from `/proc`.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::wait::within;

/// Time for processes to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A command that runs until it is dropped, which sends SIGTERM and waits for its end.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// A command whose output is read.
    pub(crate) fn telling(mut command: Command) -> (Self, impl Read) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        (Self(child), output)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends SIGTERM and returns its exit status.
    pub(crate) fn ends_by(&mut self, signal: &str) -> Option<i32> {
        send(signal, self.id());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() > deadline {
                let _ = self.0.kill().and_then(|()| self.0.wait());
                panic!("process {} does not end by SIG{signal}", self.id());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        } else if matches!(self.0.try_wait(), Ok(None)) {
            self.ends_by("TERM");
        }
    }
}

/// Sends a signal to a process, which must exist.
pub(crate) fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{signal}"), process.to_string()]).status().unwrap();
    assert!(sent.success(), "process {process} is not there");
}

/// Processes and namespaces of a lab on the host.
pub(crate) struct Traces {
    state: PathBuf,
    keeper: u32,
    processes: BTreeSet<u32>,
    namespaces: BTreeSet<PathBuf>,
}

impl Traces {
    /// Those of the running lab in this directory.
    pub(crate) fn of(state: &Path) -> Self {
        let keeper = *keepers(state).first().expect("a lab has a keeper");
        let processes: BTreeSet<u32> =
            all().into_iter().filter(|process| ancestors(*process).contains(&keeper)).collect();
        let namespaces = processes.iter().flat_map(|process| namespaces(*process)).collect::<BTreeSet<_>>();
        let shared = namespaces_of_this_process();
        let namespaces = namespaces.difference(&shared).cloned().collect();
        Self { state: state.to_owned(), keeper, processes, namespaces }
    }

    pub(crate) fn keeper(&self) -> u32 {
        self.keeper
    }

    /// Number of processes and namespaces.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.processes.len(), self.namespaces.len())
    }

    /// Waits until every process, and therefore every namespace, is gone.
    pub(crate) fn vanish(&self) -> &Self {
        let is_trace = |process: &u32| {
            self.processes.contains(process) || namespaces(*process).any(|own| self.namespaces.contains(&own))
        };
        within(PATIENCE, "no process is left of the lab, or in a namespace of the lab", || {
            !all().iter().any(|process| alive(*process) && is_trace(process))
        });
        self
    }

    /// Asserts that nothing is left in the file system either.
    pub(crate) fn leave_no_file(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.state.to_str().unwrap()), "{mounts}");
        assert!(!self.state.exists(), "{} is left", self.state.display());
    }
}

/// Asserts that a lab in this directory has left no process.
pub(crate) fn none_below(state: &Path) {
    let left = keepers(state);
    if !thread::panicking() {
        assert!(left.is_empty(), "keeper {left:?} of {} is left", state.display());
    }
}

fn keepers(state: &Path) -> Vec<u32> {
    let wanted = format!("keeper\0--state-dir\0{}", state.display());
    let is_keeper = |process: &u32| {
        alive(*process)
            && fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.contains(&wanted))
    };
    all().into_iter().filter(is_keeper).collect()
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process and its ancestors.
fn ancestors(process: u32) -> Vec<u32> {
    let parent = |process: &u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok().filter(|parent| *parent != 0)
    };
    std::iter::successors(Some(process), parent).collect()
}

/// The first process of a VM, by a namespace as `/proc/PID/ns` shows it: its parent is in another one.
pub(crate) fn first_in(namespace: &Path) -> u32 {
    let is_in = |process: &u32| namespaces(*process).any(|own| own == namespace);
    let is_first = |process: &u32| is_in(process) && ancestors(*process).get(1).is_some_and(|parent| !is_in(parent));
    all().into_iter().find(is_first).expect("a VM has a first process")
}

fn namespaces(process: u32) -> impl Iterator<Item = PathBuf> {
    ["net", "mnt", "pid"].into_iter().filter_map(move |kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok())
}

fn namespaces_of_this_process() -> BTreeSet<PathBuf> {
    namespaces(std::process::id()).collect()
}

/// Whether a process exists and is not a zombie.
fn alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}
