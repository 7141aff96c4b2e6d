//! The life of a VM after it has booted: orders, deaths and the clock go to [`Jobs`], whose actions are carried out.

use std::{
    fs::{self, File},
    io,
    os::unix::{net::UnixStream as StdUnixStream, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use nix::{
    errno::Errno,
    sys::{
        signal::killpg,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    get::get,
    jobs::{Action, Jobs},
    line,
    protocol::{JobSpec, JobStatus, Order, Report, VmSpec},
};
use crate::error::{Doing, LabError};

const PATH: &str = "/var/vcap/packages/boshy/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Keeps the jobs of a booted VM alive until it is told to shut down or the keeper is gone.
pub(super) fn keep_alive(control: StdUnixStream, spec: &VmSpec) -> Result<(), LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the VM's event loop".to_owned())?;
    runtime.block_on(live(control, &spec.jobs)).doing(|| "running the VM".to_owned())
}

async fn live(control: StdUnixStream, specs: &[JobSpec]) -> io::Result<()> {
    control.set_nonblocking(true)?;
    let (orders, mut reports) = UnixStream::from_std(control)?.into_split();
    let mut orders = BufReader::new(orders).lines();
    let mut deaths = signal(SignalKind::child())?;
    let (answers, mut answered) = mpsc::channel(16);
    let mut jobs = Jobs::new(specs.iter().map(|spec| spec.name.clone()), Instant::now());
    let mut shown: Vec<JobStatus> = Vec::new();
    let mut ending = false;
    loop {
        let due = jobs.due(Instant::now());
        carry_out(due, &mut jobs, specs);
        let status = jobs.status();
        if status != shown {
            shown.clone_from(&status);
            reports.write_all(&line(&Report::Jobs(status))?).await?;
        }
        if ending && jobs.all_down() {
            return Ok(());
        }
        let next_due = jobs.next_due().map(tokio::time::Instant::from_std);
        tokio::select! {
            order = orders.next_line() => {
                let Some(order) = order? else { return Ok(()) };
                match serde_json::from_str(&order)? {
                    Order::Job { job, action } => {
                        let actions = jobs.command(&job, action, Instant::now());
                        carry_out(actions, &mut jobs, specs);
                    }
                    Order::Get { id, port, path } => {
                        let answers = answers.clone();
                        tokio::spawn(async move {
                            let answer = get(port, &path).await;
                            // Fails only when the VM is ending, and with it the question.
                            let _ = answers.send(Report::Got { id, answer }).await;
                        });
                    }
                    Order::ShutDown => {
                        ending = true;
                        let actions = jobs.stop_all(Instant::now());
                        carry_out(actions, &mut jobs, specs);
                    }
                    Order::Build(_) | Order::Boot => return Err(io::Error::other("the keeper's order came out of turn")),
                }
            }
            Some(report) = answered.recv() => reports.write_all(&line(&report)?).await?,
            _ = deaths.recv() => reap(&mut jobs),
            () = until(next_due) => {}
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn carry_out(actions: Vec<Action>, jobs: &mut Jobs, specs: &[JobSpec]) {
    for action in actions {
        match action {
            Action::Spawn(position) => match spawn(&specs[position]) {
                Ok(pid) => jobs.spawned(position, pid),
                Err(error) => jobs.not_spawned(position, format!("cannot start: {error}"), Instant::now()),
            },
            // The group may be gone already; its death is then on its way here.
            Action::Signal(pid, signal) => drop(killpg(Pid::from_raw(pid), signal)),
        }
    }
}

/// Starts a job as the leader of a process group, so that a signal reaches what it started in turn.
fn spawn(spec: &JobSpec) -> io::Result<i32> {
    let (program, arguments) = spec
        .command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp")])
        .envs(spec.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(log(&spec.name, "stdout")?)
        .stderr(log(&spec.name, "stderr")?)
        .process_group(0)
        .spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

fn log(job: &str, stream: &str) -> io::Result<File> {
    let directory = Path::new("/var/vcap/sys/log").join(job);
    fs::create_dir_all(&directory)?;
    File::options().create(true).append(true).open(directory.join(format!("{job}.{stream}.log")))
}

/// Process 1 inherits every orphan, so all children are waited for, not only the jobs.
fn reap(jobs: &mut Jobs) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => jobs.died(pid.as_raw(), format!("exit status {code}"), Instant::now()),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                jobs.died(pid.as_raw(), format!("signal {signal}"), Instant::now());
            }
            Err(Errno::EINTR) => {}
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
