//! A VM from outside: its first process, and the socket to it.

use std::{
    collections::HashMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    error::{Doing, LabError},
    facts::VmFacts,
    netlink,
    vm::{
        line,
        protocol::{JobStatus, Order, Report, VmSpec},
    },
};

/// How long a VM may take to stop its jobs; a job alone may take 20 s.
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(25);

type Questions = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<(u16, String), String>>>>>;

/// A VM that has booted.
pub(super) struct Vm {
    pub(super) facts: VmFacts,
    /// Of its first process, in the keeper's PID namespace.
    pub(super) pid: u32,
    orders: mpsc::Sender<Order>,
    jobs: watch::Receiver<Vec<JobStatus>>,
    questions: Questions,
    next_question: AtomicU64,
}

impl Vm {
    /// Makes a VM: its first process, its interface on `bridge` (called `port` at that end), its root. Its jobs are then
    /// being started. `over` is called when the VM has ended, for whatever reason.
    pub(super) async fn create(
        boshy: &Path,
        facts: VmFacts,
        spec: VmSpec,
        (bridge, port): (&str, &str),
        over: impl FnOnce(u32) + Send + 'static,
    ) -> Result<Self, LabError> {
        let (mut child, control) = spawn(boshy)?;
        let (reports, mut writer) = control.into_split();
        let mut reports = BufReader::new(reports).lines();
        let pid = child.id().ok_or_else(|| LabError::Refused("its first process ended at once".to_owned()))?;

        give(&mut writer, &Order::Build(spec)).await?;
        expect(&mut reports, |report| matches!(report, Report::Unshared)).await?;
        netlink::create_pair(port, bridge, "eth0", pid)?;
        give(&mut writer, &Order::Boot).await?;
        expect(&mut reports, |report| matches!(report, Report::Booted)).await?;

        let (orders, to_give) = mpsc::channel(16);
        let (status, jobs) = watch::channel(Vec::new());
        let questions = Questions::default();
        let answers = Arc::clone(&questions);
        tokio::spawn(async move {
            if let Err(error) = converse(writer, reports, to_give, status, &answers).await {
                tracing::warn!(%error, "lost a VM");
            }
            // The end of process 1 is the end of every process of the VM.
            let _ = child.start_kill();
            let _ = child.wait().await;
            over(pid);
        });
        Ok(Self { facts, pid, orders, jobs, questions, next_question: AtomicU64::new(0) })
    }

    /// What its jobs do now.
    pub(super) fn jobs(&self) -> Vec<JobStatus> {
        self.jobs.borrow().clone()
    }

    /// Follows what its jobs do; closed when the VM has ended.
    pub(super) fn watch_jobs(&self) -> watch::Receiver<Vec<JobStatus>> {
        self.jobs.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.jobs.has_changed().is_err()
    }

    /// Gives an order; one that comes too late, to a VM that has ended, is lost.
    pub(super) async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }

    /// `GET http://127.0.0.1:PORT/PATH`, asked inside the VM.
    pub(super) async fn get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        let id = self.next_question.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        self.order(Order::Get { id, port, path: path.to_owned() }).await;
        answered.await.unwrap_or_else(|_| Err("the VM has ended".to_owned()))
    }

    /// Stops the jobs and ends the VM.
    pub(super) async fn shut_down(&self) {
        self.order(Order::ShutDown).await;
        let mut jobs = self.jobs.clone();
        let ended = async { while jobs.changed().await.is_ok() {} };
        if tokio::time::timeout(SHUT_DOWN_PATIENCE, ended).await.is_err() {
            tracing::warn!(vm = %self.facts.name, "the VM does not stop, killing it");
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(self.pid.cast_signed()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

/// Starts `boshy lab vm` as process 1 of a new PID namespace.
fn spawn(boshy: &Path) -> Result<(Child, UnixStream), LabError> {
    let (ours, theirs) = StdUnixStream::pair().doing(|| "making a control socket".to_owned())?;
    ours.set_nonblocking(true).doing(|| "preparing the control socket".to_owned())?;
    let control = UnixStream::from_std(ours).doing(|| "preparing the control socket".to_owned())?;
    let mut command = Command::new(boshy);
    command.args(["lab", "vm"]).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).kill_on_drop(true);
    let runtime = tokio::runtime::Handle::current();
    // The namespace of future children is set for one thread, and can be set once: so a thread lives for each VM's start.
    let starting = std::thread::spawn(move || {
        let _runtime = runtime.enter();
        unshare(CloneFlags::CLONE_NEWPID).map_err(io::Error::from)?;
        command.spawn()
    });
    let child = starting.join().map_err(|_| LabError::Refused("the thread that starts a VM panicked".to_owned()))?;
    Ok((child.doing(|| format!("starting {}", boshy.display()))?, control))
}

async fn converse(
    mut writer: OwnedWriteHalf,
    mut reports: Lines<BufReader<OwnedReadHalf>>,
    mut orders: mpsc::Receiver<Order>,
    status: watch::Sender<Vec<JobStatus>>,
    questions: &Questions,
) -> Result<(), LabError> {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => give(&mut writer, &order).await?,
                None => return Ok(()),
            },
            report = reports.next_line() => {
                let Some(report) = report.doing(|| "reading a VM's report".to_owned())? else { break };
                match read(&report)? {
                    Report::Jobs(jobs) => drop(status.send_replace(jobs)),
                    Report::Got { id, answer } => {
                        let asked = questions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                        // Who asked may have stopped waiting.
                        asked.map(|asked| asked.send(answer));
                    }
                    Report::Failed(reason) => return Err(LabError::Refused(reason)),
                    Report::Unshared | Report::Booted => return Err(out_of_turn()),
                }
            }
        }
    }
    questions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(())
}

async fn give(writer: &mut OwnedWriteHalf, order: &Order) -> Result<(), LabError> {
    let doing = || "giving an order to a VM".to_owned();
    writer.write_all(&line(order).doing(doing)?).await.doing(doing)
}

async fn expect(
    reports: &mut Lines<BufReader<OwnedReadHalf>>,
    wanted: impl Fn(&Report) -> bool,
) -> Result<(), LabError> {
    let report = reports.next_line().await.doing(|| "reading a VM's report".to_owned())?;
    match read(&report.ok_or_else(|| LabError::Refused("the VM's first process ended".to_owned()))?)? {
        Report::Failed(reason) => Err(LabError::Refused(reason)),
        report if wanted(&report) => Ok(()),
        _ => Err(out_of_turn()),
    }
}

fn read(report: &str) -> Result<Report, LabError> {
    serde_json::from_str(report).doing(|| "reading a VM's report".to_owned())
}

fn out_of_turn() -> LabError {
    LabError::Refused("the VM's report came out of turn".to_owned())
}
