//! A VM from outside: its first process, and the socket to it.

use std::{
    collections::HashMap,
    io,
    net::Ipv4Addr,
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
    name::InstanceName,
    netlink,
    vm::protocol::{Answer, JobStatus, Order, Report, VmSpec, What, line},
};

/// Time for a VM to end its processes; a single one may take 20 s.
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(30);

type Questions = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Answer, String>>>>>;

/// Definition of a VM, valid also for a reboot.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) cid: String,
    pub(super) name: InstanceName,
    pub(super) spec: VmSpec,
}

impl Facts {
    /// Its address on the first network.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.spec.interfaces.first().map_or(Ipv4Addr::UNSPECIFIED, |(_, address)| address.addr())
    }
}

/// A VM that has booted.
pub(super) struct Vm {
    /// Pid of its first process in the keeper's PID namespace.
    pub(super) pid: u32,
    orders: mpsc::Sender<Order>,
    jobs: watch::Receiver<Vec<JobStatus>>,
    questions: Questions,
    next: AtomicU64,
}

impl Vm {
    /// Boots a VM: its first process, its interfaces on `bridge` (whose ends there are named `port` and a number), its
    /// root. `over` is called when the VM has ended for any reason.
    pub(super) async fn boot(
        boshy: &Path,
        facts: &Facts,
        reboot: bool,
        (bridge, port): (&str, &str),
        over: impl FnOnce(u32) + Send + 'static,
    ) -> Result<Self, LabError> {
        let (mut child, control) = spawn(boshy)?;
        let (reports, writer) = control.into_split();
        let reports = BufReader::new(reports).lines();
        let pid = child.id().ok_or_else(|| LabError::Refused("its first process ended at once".to_owned()))?;
        let (orders, to_give) = mpsc::channel(16);
        let (status, jobs) = watch::channel(Vec::new());
        let questions = Questions::default();
        let answers = Arc::clone(&questions);
        let ports: Vec<String> =
            (0..facts.spec.interfaces.len()).map(|position| format!("{port}.{position}")).collect();
        let plugged = ports.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(writer, reports, to_give, &status, &answers).await {
                tracing::warn!(%error, "lost a VM");
            }
            // Pending requests learn that there will be no answer.
            answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            // When process 1 ends, every process of the VM ends.
            let _ = child.start_kill();
            let _ = child.wait().await;
            unplug(&plugged);
            drop(status);
            over(pid);
        });
        let vm = Self { pid, orders, jobs, questions, next: AtomicU64::new(0) };
        vm.carries_out(What::Build(facts.spec.clone())).await?;
        for (name, (interface, address)) in ports.iter().zip(&facts.spec.interfaces) {
            netlink::create_pair(name, bridge, (interface, *address), pid)?;
        }
        vm.carries_out(What::Boot { reboot }).await?;
        Ok(vm)
    }

    /// Current state of its processes.
    pub(super) fn jobs(&self) -> Vec<JobStatus> {
        self.jobs.borrow().clone()
    }

    /// State of its processes as a channel, which closes when the VM has ended.
    pub(super) fn watch_jobs(&self) -> watch::Receiver<Vec<JobStatus>> {
        self.jobs.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.jobs.has_changed().is_err()
    }

    /// Sends an order and waits for its result.
    pub(super) async fn ask(&self, what: What) -> Result<Answer, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        if self.orders.send(Order { id, what }).await.is_err() {
            self.questions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        answered.await.unwrap_or_else(|_| Err("the VM has ended".to_owned()))
    }

    /// Sends an order whose result is only whether it was carried out, and notes about it.
    pub(super) async fn carries_out(&self, what: What) -> Result<Vec<String>, LabError> {
        match self.ask(what).await.map_err(LabError::Refused)? {
            Answer::Done { notes } => Ok(notes),
            Answer::State(_) | Answer::Got { .. } => Err(out_of_turn()),
        }
    }

    /// `GET http://127.0.0.1:PORT/PATH` inside the VM.
    pub(super) async fn get(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        match self.ask(What::Get { port, path: path.to_owned() }).await? {
            Answer::Got { status, body } => Ok((status, body)),
            Answer::Done { .. } | Answer::State(_) => Err(out_of_turn().to_string()),
        }
    }

    /// Ends its processes and then the VM.
    pub(super) async fn shut_down(&self) {
        let mut jobs = self.jobs.clone();
        let ended = async {
            // The VM ends after its last answer, which may be lost.
            let _ = self.ask(What::ShutDown).await;
            while jobs.changed().await.is_ok() {}
        };
        if tokio::time::timeout(SHUT_DOWN_PATIENCE, ended).await.is_err() {
            tracing::warn!(pid = self.pid, "a VM does not stop, killing it");
            let pid = nix::unistd::Pid::from_raw(self.pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// Removes a VM's interfaces. The kernel keeps a network namespace after its last process for as long as something
/// refers to it, and answers what arrives there: under the addresses of the VM that has them by then.
fn unplug(ports: &[String]) {
    for port in ports {
        if let Err(error) = netlink::delete(port) {
            tracing::warn!(%error, "a VM that has ended keeps an interface");
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
    // A thread can set the namespace of its future children, and only once. So each start uses a new thread.
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
    status: &watch::Sender<Vec<JobStatus>>,
    questions: &Questions,
) -> Result<(), LabError> {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => {
                    let doing = || "giving an order to a VM".to_owned();
                    writer.write_all(&line(&order).doing(doing)?).await.doing(doing)?;
                }
                None => return Ok(()),
            },
            report = reports.next_line() => {
                let doing = || "reading a VM's report".to_owned();
                let Some(report) = report.doing(doing)? else { return Ok(()) };
                match serde_json::from_str(&report).doing(doing)? {
                    Report::Jobs(jobs) => drop(status.send_replace(jobs)),
                    Report::Done { id, result } => {
                        let asked = questions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                        // The requester may have stopped waiting.
                        asked.map(|asked| asked.send(result));
                    }
                }
            }
        }
    }
}

fn out_of_turn() -> LabError {
    LabError::Refused("the VM's answer came out of turn".to_owned())
}
