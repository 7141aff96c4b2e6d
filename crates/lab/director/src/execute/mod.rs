//! Long-running tasks, carried out on the [`Infrastructure`].
//!
//! ```text
//!   routes ── queue ──> Executor ── one future per task ──> Run ── decides: world::{plan, rollout}, prepare
//!                                                            ├─── orders: Infrastructure
//!                                                            └─── World, for a moment at a time
//! ```
//!
//! One task at a time works on a deployment. Another one waits for the lock as long as a real director would, then
//! fails. The world is never locked while an order is carried out. A task is cancelled between its steps.

mod agents;
mod deletion;
mod deploy;
mod dns;
mod executor;
mod instance;
mod isolated;
mod prepare;
mod run;
mod update;
mod uploads;

use std::{
    sync::{Arc, Mutex, mpsc as std_mpsc},
    time::Duration,
};

use tokio::sync::{OwnedMutexGuard, mpsc};

use self::{
    executor::Executor,
    run::{Halt, Run},
};
use super::{
    DirectorError, Infrastructure,
    server::{Shared, lock, now},
    world::{Job, Work},
};
use crate::release::Renderer;

/// Time that a task waits for the lock of its deployment (director: `with_deployment_lock`).
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Interval at which VMs without the latest DNS records are updated (director: `bosh-director-sync-dns`).
const DNS_INTERVAL: Duration = Duration::from_secs(10);

/// Runs tasks until `stop` is dropped, which also ends running tasks.
pub(super) fn run(
    shared: Arc<Shared>,
    infrastructure: Arc<dyn Infrastructure>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    mut stop: mpsc::Receiver<()>,
    ready: &std_mpsc::Sender<std::io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    let executor =
        Arc::new(Executor { shared, infrastructure, renderer: Renderer::default(), locks: Mutex::default() });
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        let mut tick = tokio::time::interval(DNS_INTERVAL);
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                _ = tick.tick() => {
                    let executor = Arc::clone(&executor);
                    #[expect(clippy::disallowed_methods, reason = "a stage for tests: the next tick does it again")]
                    tokio::task::spawn_local(async move { executor.sync_dns().await });
                }
                Some(job) = jobs.recv() => {
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "a stage for tests: a task that panicked fails the test that waits for it"
                    )]
                    tokio::task::spawn_local(Arc::clone(&executor).perform(job));
                }
            }
        }
    });
    drop(tasks);
    runtime.shutdown_background();
}

impl Executor {
    async fn perform(self: Arc<Self>, job: Job) {
        let run = Run::new(Arc::clone(&self), &job);
        run.with(|world, scribe| world.journal.start_task(scribe.task, scribe.now));
        let result = match self.lock_of(&run, &job).await {
            Ok(guard) => {
                let result = carry_out(&run, job.work).await;
                run.with(|world, scribe| world.release(&scribe.deployment, scribe.task));
                drop(guard);
                result
            }
            Err(halt) => Err(halt),
        };
        run.with(|world, scribe| match result {
            Ok(result) => world.journal.end_task(scribe.task, result, scribe.now),
            Err(Halt::Failed(error)) => world.journal.fail_task(scribe.task, &error, scribe.now),
            Err(Halt::Cancelled) => world.journal.end_cancelled(scribe.task, scribe.now),
        });
    }

    async fn lock_of(&self, run: &Run, job: &Job) -> Result<Option<OwnedMutexGuard<()>>, Halt> {
        run.go_on()?;
        if !job.work.locks() {
            return Ok(None);
        }
        let mutex = Arc::clone(lock(&self.locks).entry(job.deployment.clone()).or_default());
        let Ok(guard) = tokio::time::timeout(LOCK_PATIENCE, mutex.lock_owned()).await else {
            return Err(Halt::Failed(run.with(|world, scribe| {
                let holder = world.locks(now()).into_iter().find(|lock| lock.resource == [scribe.deployment.clone()]);
                let holder = holder.map(|lock| lock.task_id).unwrap_or_default();
                let text = format!(
                    "Failed to acquire lock for lock:deployment:{}. Locking task id is {holder}",
                    scribe.deployment
                );
                DirectorError::new(500, 100, text)
            })));
        };
        run.go_on()?;
        run.with(|world, scribe| world.hold(&scribe.deployment, scribe.task));
        Ok(Some(guard))
    }
}

async fn carry_out(run: &Run, work: Work) -> Result<String, Halt> {
    match work {
        Work::Deploy(order) => deploy::deploy(run, *order).await,
        Work::Delete { force } => deletion::delete(run, force).await,
        Work::Isolated(order) => isolated::act(run, order).await,
        Work::Agents { only_vms } => agents::report(run, only_vms).await,
        Work::Upload(order) => uploads::take(run, order).await,
        Work::Logs { group, instance } => agents::logs(run, &group, &instance).await,
    }
}
