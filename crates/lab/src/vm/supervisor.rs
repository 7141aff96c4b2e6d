//! Carries out the decisions of [`Jobs`]: one task that owns the processes, and handles to it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            net::UnixStream as StdUnixStream,
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    children::Children,
    jobs::{Action, Jobs, Kept, Snapshot},
    monit::HealthCheck,
    processes::{Program, Watched},
    protocol::{JobAction, line},
    users::Vcap,
};

/// Path of this program in any root.
const SELF: &str = "/proc/self/exe";

/// Interval of health checks, as with BOSH's monit, so that the numbers in monit files have the same effect.
const CYCLE: Duration = Duration::from_secs(10);

/// Messages to the supervisor.
pub(super) enum Told {
    /// Watch these processes from now on; refused while others run.
    Watch(Vec<Watched>, oneshot::Sender<Result<(), String>>),
    StartAll,
    UnmonitorAll,
    StopAll,
    /// A command for one process. The answer is whether there is such a process.
    One(String, JobAction, oneshot::Sender<bool>),
    /// A process has executed its program.
    Ready(i32),
    Died(i32, String),
    /// A health check has finished.
    Asked(i32, bool),
}

/// A handle to the task that owns the processes.
#[derive(Clone)]
pub(super) struct Supervisor {
    tell: mpsc::UnboundedSender<Told>,
    seen: watch::Receiver<Vec<Snapshot>>,
}

impl Supervisor {
    pub(super) fn start(children: Children, vcap: Vcap) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (show, seen) = watch::channel(Vec::new());
        let task = Task { children, vcap, tell: tell.clone(), watched: Vec::new(), jobs: Jobs::default() };
        tokio::spawn(task.run(told, show));
        Self { tell, seen }
    }

    /// The task ends only with this process, so sending cannot fail before that.
    pub(super) fn tell(&self, told: Told) {
        let _ = self.tell.send(told);
    }

    pub(super) async fn watch(&self, watched: Vec<Watched>) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.tell(Told::Watch(watched, answer));
        answered.await.unwrap_or_else(|_| Err("the VM ends".to_owned()))
    }

    pub(super) async fn one(&self, process: String, action: JobAction) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let unknown = format!("monit knows no process {process}");
        self.tell(Told::One(process, action, answer));
        if answered.await.unwrap_or(false) { Ok(()) } else { Err(unknown) }
    }

    /// State of every process as a channel.
    pub(super) fn seen(&self) -> watch::Receiver<Vec<Snapshot>> {
        self.seen.clone()
    }
}

struct Task {
    children: Children,
    vcap: Vcap,
    tell: mpsc::UnboundedSender<Told>,
    watched: Vec<Watched>,
    jobs: Jobs,
}

impl Task {
    async fn run(mut self, mut told: mpsc::UnboundedReceiver<Told>, show: watch::Sender<Vec<Snapshot>>) {
        let mut cycles = interval(CYCLE);
        cycles.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.jobs.due(Instant::now());
            self.carry_out(due);
            let snapshot = self.jobs.snapshot();
            show.send_if_modified(|shown| {
                let changed = *shown != snapshot;
                *shown = snapshot;
                changed
            });
            let next_due = self.jobs.next_due().map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(told) = told.recv() => self.obey(told),
                () = until(next_due) => {}
                _ = cycles.tick() => self.ask_all(),
            }
        }
    }

    fn obey(&mut self, told: Told) {
        let now = Instant::now();
        match told {
            Told::Watch(watched, answer) => drop(answer.send(self.watch(watched))),
            Told::StartAll => self.jobs.start_all(now),
            Told::UnmonitorAll => self.jobs.unmonitor_all(),
            Told::StopAll => {
                let actions = self.jobs.stop_all(now);
                self.carry_out(actions);
            }
            Told::One(process, action, answer) => {
                let actions = self.jobs.command(&process, action, now);
                // The requester may have stopped waiting.
                let _ = answer.send(actions.is_some());
                self.carry_out(actions.unwrap_or_default());
            }
            Told::Ready(pid) => {
                self.jobs.ready(pid, now);
                self.note_pid(pid);
            }
            Told::Asked(pid, is_well) => {
                let action = self.jobs.asked(pid, is_well, now);
                self.carry_out(action.into_iter().collect());
            }
            Told::Died(pid, how) => {
                // bpm's container ends with its first process. The group may be empty.
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                self.forget_pid(pid);
                self.jobs.died(pid, how, now);
            }
        }
    }

    /// Checks every running process that has a health check.
    fn ask_all(&self) {
        for (watched, snapshot) in self.watched.iter().zip(self.jobs.snapshot()) {
            if let (Some(check), Some(pid), Some(_)) = (watched.health.clone(), snapshot.pid, snapshot.since) {
                let tell = self.tell.clone();
                tokio::spawn(async move {
                    let answered = timeout(check.timeout, ask(&check)).await;
                    let _ = tell.send(Told::Asked(pid, matches!(answered, Ok(Ok(true)))));
                });
            }
        }
    }

    fn watch(&mut self, watched: Vec<Watched>) -> Result<(), String> {
        if watched == self.watched {
            return Ok(());
        }
        if !self.jobs.all_down() {
            return Err("processes of the jobs before still run".to_owned());
        }
        let kept = |process: &Watched| Kept {
            name: process.name.clone(),
            job: process.job.clone(),
            shutdown: process.shutdown_signal(),
            patience: process.health.as_ref().map(|check| check.cycles),
        };
        self.jobs = Jobs::new(watched.iter().map(kept));
        self.watched = watched;
        Ok(())
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(position) => match self.spawn(&self.watched[position]) {
                    Ok(pid) => self.jobs.spawned(position, pid),
                    Err(error) => self.jobs.not_spawned(position, format!("cannot start: {error}"), Instant::now()),
                },
                // The process may be gone already; its death is then reported soon.
                Action::Signal(pid, signal) => drop(kill(Pid::from_raw(pid), signal)),
            }
        }
    }

    /// Starts a process as the leader of a group. First this program runs in its place; it reports an error, or nothing
    /// when it executes the process.
    fn spawn(&self, watched: &Watched) -> io::Result<i32> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let (job, name) = (&watched.job, log_name(watched));
        let mut command = Command::new(SELF);
        command.arg("lab").current_dir("/").env_clear().stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
        command.stdout(self.log(job, name, "stdout")?).stderr(self.log(job, name, "stderr")?);
        match &watched.program {
            Program::Contained(contained) => {
                (&ours).write_all(&line(contained)?)?;
                command.arg("bpm");
            }
            Program::BoshDns => {
                command.arg("bosh-dns");
            }
        }
        let (pid, end) = self.children.spawn(&mut command)?;
        drop(command);
        ours.set_nonblocking(true)?;
        let (mut ours, tell) = (UnixStream::from_std(ours)?, self.tell.clone());
        tokio::spawn(async move {
            let mut said = String::new();
            let failed = match ours.read_to_string(&mut said).await {
                Ok(0) => None,
                Ok(_) => Some(said),
                Err(error) => Some(error.to_string()),
            };
            if failed.is_none() {
                let _ = tell.send(Told::Ready(pid));
            }
            let ended = end.await.map_or_else(|_| "ended".to_owned(), |end| end.to_string());
            let _ = tell.send(Told::Died(pid, failed.unwrap_or(ended)));
        });
        Ok(pid)
    }

    fn log(&self, job: &str, process: &str, stream: &str) -> io::Result<File> {
        let directory = Path::new("/var/vcap/sys/log").join(job);
        DirBuilder::new().recursive(true).mode(0o770).create(&directory)?;
        let path = directory.join(format!("{process}.{stream}.log"));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        self.vcap.own(&path).map_err(io::Error::other)?;
        Ok(file)
    }

    fn pid_file(&self, pid: i32) -> Option<PathBuf> {
        let position = self.jobs.snapshot().iter().position(|snapshot| snapshot.pid == Some(pid))?;
        let watched = &self.watched[position];
        Some(Path::new("/var/vcap/sys/run/bpm").join(&watched.job).join(format!("{}.pid", log_name(watched))))
    }

    fn note_pid(&self, pid: i32) {
        let Some(path) = self.pid_file(pid) else { return };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let written = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .and_then(|()| fs::write(&path, pid.to_string()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "cannot write a pid file");
        }
    }

    fn forget_pid(&self, pid: i32) {
        if let Some(path) = self.pid_file(pid) {
            // There is no file until the process is ready.
            let _ = fs::remove_file(path);
        }
    }
}

/// bpm's name of the process.
fn log_name(watched: &Watched) -> &str {
    match &watched.program {
        Program::Contained(contained) => &contained.process.name,
        Program::BoshDns => &watched.name,
    }
}

/// Whether a process answers as expected.
async fn ask(check: &HealthCheck) -> io::Result<bool> {
    let mut socket = UnixStream::connect(&check.socket).await?;
    socket.write_all(check.send.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if String::from_utf8_lossy(&answer).contains(&check.expect) {
            return Ok(true);
        }
        if socket.read_buf(&mut answer).await? == 0 {
            return Ok(false);
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
