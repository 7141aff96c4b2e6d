//! The BOSH agent's actions: apply, start and stop, one at a time.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use boshy_lab_director::ApplySpec;
use tokio::sync::{Mutex, watch};

use super::{
    apply,
    children::Children,
    get::get,
    jobs::Snapshot,
    layout::{self, VCAP},
    processes,
    protocol::{Answer, JobState, What},
    scripts,
    state::agent_state,
    supervisor::{Supervisor, Told},
    users::Vcap,
};
use crate::error::LabError;

/// How long a process has to run before it counts as running. One that cannot find its settings ends sooner.
const SETTLED: Duration = Duration::from_millis(300);

/// The BOSH agent of a VM.
pub(super) struct Agent {
    pub(super) children: Children,
    pub(super) supervisor: Supervisor,
    pub(super) vcap: Vcap,
    pub(super) hostname: String,
    pub(super) address: Option<Ipv4Addr>,
    /// Held by the single action that may change jobs and processes.
    pub(super) acting: Mutex<()>,
}

impl Agent {
    /// Carries out an order.
    pub(super) async fn carry_out(&self, what: What) -> Result<Answer, String> {
        match what {
            What::Build(_) | What::Boot { .. } => Err("the keeper's order came out of turn".to_owned()),
            What::Apply(spec) => self.apply(&spec).await.map(|notes| Answer::Done { notes }),
            What::Start { patience } => self.start(patience).await.map(done),
            What::Stop { drain } => self.stop(drain).await.map(done),
            What::State => Ok(Answer::State(self.state())),
            What::SyncDns(records) => {
                layout::put_records(&records, &self.hostname, self.address, self.vcap).map(done).map_err(chain)
            }
            What::Job { process, action } => self.supervisor.one(process, action).await.map(done),
            What::Get { port, path } => get(port, &path).await.map(|(status, body)| Answer::Got { status, body }),
            What::ShutDown => {
                self.supervisor.tell(Told::StopAll);
                self.all_down().await;
                Ok(done(()))
            }
        }
    }

    /// Starts what monit starts when a VM boots, from what is on disk.
    pub(super) async fn resume(&self) -> Result<(), String> {
        if layout::is_stopped() {
            return Ok(());
        }
        let watched = processes::on_disk(Path::new(VCAP))?;
        self.supervisor.watch(watched).await?;
        self.supervisor.tell(Told::StartAll);
        Ok(())
    }

    async fn apply(&self, spec: &ApplySpec) -> Result<Vec<String>, String> {
        let _acting = self.acting.lock().await;
        apply::apply(Path::new(VCAP), spec, self.vcap).map_err(chain)
    }

    async fn start(&self, patience: Duration) -> Result<(), String> {
        let _acting = self.acting.lock().await;
        let jobs = applied_jobs()?;
        scripts::run_all(&self.children, &jobs, "pre-start").await?;
        layout::set_stopped(false).map_err(chain)?;
        self.supervisor.watch(processes::on_disk(Path::new(VCAP))?).await?;
        self.supervisor.tell(Told::StartAll);
        self.all_running(patience).await?;
        scripts::run_all(&self.children, &jobs, "post-start").await
    }

    async fn stop(&self, drain: bool) -> Result<(), String> {
        let _acting = self.acting.lock().await;
        let jobs = applied_jobs()?;
        self.supervisor.tell(Told::UnmonitorAll);
        scripts::run_all(&self.children, &jobs, "pre-stop").await?;
        if drain {
            scripts::drain_all(&self.children, &jobs).await?;
        }
        self.supervisor.tell(Told::StopAll);
        self.all_down().await;
        layout::set_stopped(true).map_err(chain)?;
        write_health(&self.supervisor.seen().borrow());
        scripts::run_all(&self.children, &jobs, "post-stop").await
    }

    fn state(&self) -> boshy_lab_director::AgentState {
        agent_state(&self.supervisor.seen().borrow(), layout::is_stopped(), Instant::now())
    }

    async fn all_down(&self) {
        let down = |snapshots: &Vec<Snapshot>| snapshots.iter().all(|one| one.status.state == JobState::Stopped);
        // The supervisor handles this message after the earlier ones. An error means that the VM is ending.
        let _ = self.supervisor.one(String::new(), super::protocol::JobAction::Kill).await;
        let _ = self.supervisor.seen().wait_for(down).await;
    }

    async fn all_running(&self, patience: Duration) -> Result<(), String> {
        let mut seen = self.supervisor.seen();
        match tokio::time::timeout(patience, settle(&mut seen)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(missing(&seen.borrow(), patience)),
        }
    }
}

/// Waits until all processes have run for a while.
async fn settle(seen: &mut watch::Receiver<Vec<Snapshot>>) {
    loop {
        let ready = {
            let snapshots = seen.borrow_and_update();
            let since = snapshots.iter().map(|one| one.since.filter(|_| one.monitored)).collect::<Option<Vec<_>>>();
            since.map(|since| since.into_iter().max().map(|latest| latest + SETTLED))
        };
        let settled = async {
            match ready {
                Some(Some(at)) => tokio::time::sleep_until(at.into()).await,
                Some(None) => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = seen.changed() => if changed.is_err() { std::future::pending().await },
            () = settled => return,
        }
    }
}

fn missing(snapshots: &[Snapshot], patience: Duration) -> String {
    let describe = |one: &Snapshot| {
        let how = one.status.last_exit.as_deref().map(|how| format!(", last {how}")).unwrap_or_default();
        format!("{} of job {} is {}{how}", one.status.name, one.status.job, one.status.state.as_str())
    };
    let unwell = snapshots.iter().filter(|one| one.status.state != JobState::Running || !one.monitored);
    let unwell: Vec<_> = unwell.map(describe).collect();
    format!("not all processes run after {} s: {}", patience.as_secs(), unwell.join("; "))
}

/// The applied jobs, by their folders.
fn applied_jobs() -> Result<Vec<String>, String> {
    let jobs = Path::new(VCAP).join("jobs");
    let failed = |error| format!("reading {}: {error}", jobs.display());
    let mut names = Vec::new();
    for job in std::fs::read_dir(&jobs).map_err(failed)? {
        names.extend(job.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes the state of the processes to `health.json`.
pub(super) fn write_health(snapshots: &[Snapshot]) {
    if let Err(error) = layout::write_health(super::state::job_state(snapshots, layout::is_stopped())) {
        tracing::warn!(error = error.chain(), "cannot tell the state of the VM");
    }
}

fn done((): ()) -> Answer {
    Answer::Done { notes: Vec::new() }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn chain(error: LabError) -> String {
    error.chain()
}
