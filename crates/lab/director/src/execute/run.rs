//! A running task: its parameters, and how it records its progress.

use std::{borrow::Cow, future::Future, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};

use super::executor::Executor;
use crate::{
    AgentError, DirectorError, Infrastructure,
    server::now,
    world::{Job, Progress, Scribe, Step, World},
};
use boshy_director::wire::Event;

/// Why a task ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    Cancelled,
    Failed(DirectorError),
}

impl From<DirectorError> for Halt {
    fn from(error: DirectorError) -> Self {
        Self::Failed(error)
    }
}

impl Halt {
    /// An order to the CPI that failed.
    pub(super) fn cpi(method: &str, error: &AgentError) -> Self {
        let text = format!("CPI error 'Bosh::Clouds::CloudError' with message '{error}' in '{method}' CPI method");
        Self::Failed(DirectorError::new(500, 100, text))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Cancelled => "Task cancelled".to_owned(),
            Self::Failed(error) => error.description.clone(),
        }
    }
}

/// A running task.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) executor: Arc<Executor>,
    scribe: Scribe,
}

impl Run {
    pub(super) fn new(executor: Arc<Executor>, job: &Job) -> Self {
        let (user, deployment) = (job.user.clone(), job.deployment.clone());
        Self { executor, scribe: Scribe { task: job.task, user, deployment, now: now() } }
    }

    pub(super) fn deployment(&self) -> &str {
        &self.scribe.deployment
    }

    pub(super) fn infrastructure(&self) -> &dyn Infrastructure {
        &*self.executor.infrastructure
    }

    /// Accesses or changes the world, holding its lock briefly.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut World, &Scribe) -> R) -> R {
        let scribe = Scribe { now: now(), ..self.scribe.clone() };
        self.executor.shared.with(|director| act(&mut director.world, &scribe))
    }

    /// Fails when the task was cancelled.
    pub(super) fn go_on(&self) -> Result<(), Halt> {
        let cancelled = self.with(|world, scribe| world.journal.is_cancelling(scribe.task));
        if cancelled { Err(Halt::Cancelled) } else { Ok(()) }
    }

    /// An order to an agent that failed.
    pub(super) fn agent_failed(&self, error: &AgentError) -> Halt {
        let order = self.with(|world, _| world.ids().uuid());
        let text = format!("Action Failed get_task: Task {order} result: {error}");
        Halt::Failed(DirectorError::new(500, 450_001, text))
    }

    pub(super) fn progress(&self, step: &Step, progress: Progress) {
        self.with(|world, scribe| world.journal.progress(scribe, step, progress));
    }

    /// Runs a step and writes its lines of the event output, unless the task was cancelled.
    pub(super) async fn step<T>(&self, step: &Step, work: impl Future<Output = Result<T, Halt>>) -> Result<T, Halt> {
        self.go_on()?;
        self.progress(step, Progress::Started);
        let result = work.await;
        match &result {
            Ok(_) => self.progress(step, Progress::Finished),
            Err(halt) => self.progress(step, Progress::Failed(halt.text())),
        }
        result
    }

    /// Runs an operation and records its start and end as events. The end event may have more details than the start
    /// event.
    pub(super) async fn recorded<T>(
        &self,
        event: impl Fn(&Scribe) -> Event,
        work: impl Future<Output = Result<T, Halt>>,
    ) -> Result<T, Halt> {
        let parent_id = Some(self.with(|world, scribe| world.journal.record(event(scribe))));
        let result = work.await;
        self.with(|world, scribe| {
            let error = result.as_ref().err().map(Halt::text);
            let context = serde_json::json!({});
            world.journal.record(Event { parent_id, error, context, ..event(scribe) })
        });
        result
    }
}

/// A step of a stage without tags.
pub(super) fn step(stage: impl Into<Cow<'static, str>>, total: usize, index: usize, name: impl Into<String>) -> Step {
    Step { stage: stage.into(), tags: Vec::new(), total, index: index + 1, name: name.into() }
}

/// Runs at most `width` at a time. After a failure, none is started, and the running ones are completed; the first
/// failure is returned.
pub(super) async fn in_flight<F>(width: usize, work: impl IntoIterator<Item = F>) -> Result<(), Halt>
where
    F: Future<Output = Result<(), Halt>>,
{
    let (mut waiting, mut running, mut failed) = (work.into_iter(), FuturesUnordered::new(), None);
    loop {
        while failed.is_none() && running.len() < width.max(1) {
            match waiting.next() {
                Some(next) => running.push(next),
                None => break,
            }
        }
        match running.next().await {
            None => return failed.map_or(Ok(()), Err),
            Some(Ok(())) => {}
            Some(Err(halt)) => failed = failed.or(Some(halt)),
        }
    }
}
