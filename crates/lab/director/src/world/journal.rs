//! Tasks and events: the director's work and its records.

use std::borrow::Cow;

use boshy_mesh::Timestamp;
use serde_json::{Value, json};

use crate::DirectorError;
use boshy_director::wire::{Event, Task, TaskError, TaskEvent, TaskState};

/// Number of a task.
pub type TaskId = u64;

/// A task with its output.
#[derive(Clone, Debug)]
pub(in super::super) struct TaskRecord {
    pub(in super::super) task: Task,
    /// Whether it is listed with `verbose=1`.
    pub(in super::super) listed: bool,
    pub(in super::super) error: Option<DirectorError>,
    pub(in super::super) event_output: String,
    pub(in super::super) result_output: String,
}

#[derive(Debug)]
pub(in super::super) struct Journal {
    pub(in super::super) record_events: bool,
    last_event: u64,
    pub(in super::super) events: Vec<Event>,
    pub(in super::super) tasks: Vec<TaskRecord>,
}

/// The fields common to every event of a task.
#[derive(Clone, Debug)]
pub(crate) struct Scribe {
    pub(crate) task: TaskId,
    pub(crate) user: String,
    pub(crate) deployment: String,
    pub(crate) now: Timestamp,
}

/// A step of a task, as named in its event output.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) stage: Cow<'static, str>,
    pub(crate) tags: Vec<String>,
    pub(crate) total: usize,
    pub(crate) index: usize,
    pub(crate) name: String,
}

/// State of a step.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    Started,
    /// Percentage, and the present work.
    At(u32, &'static str),
    Finished,
    Failed(String),
}

impl Scribe {
    fn event(&self, action: &str, object_type: &str, object_name: Option<String>) -> Event {
        Event {
            timestamp: i64::try_from(self.now.0).unwrap_or(i64::MAX),
            user: self.user.clone(),
            action: action.to_owned(),
            object_type: object_type.to_owned(),
            object_name,
            task: Some(self.task.to_string()),
            deployment: Some(self.deployment.clone()),
            context: json!({}),
            ..Event::default()
        }
    }

    pub(crate) fn deployment(&self, action: &str) -> Event {
        self.event(action, "deployment", Some(self.deployment.clone()))
    }

    pub(crate) fn lock(&self, action: &str) -> Event {
        self.event(action, "lock", Some(format!("lock:deployment:{}", self.deployment)))
    }

    /// The event of a lock that does not belong to one deployment.
    pub(crate) fn foreign_lock(&self, action: &str, name: String) -> Event {
        Event { deployment: None, ..self.event(action, "lock", Some(name)) }
    }

    pub(crate) fn instance(&self, action: &str, instance: &str) -> Event {
        let event = self.event(action, "instance", Some(instance.to_owned()));
        Event { instance: Some(instance.to_owned()), ..event }
    }

    pub(crate) fn vm(&self, action: &str, cid: Option<String>, instance: &str) -> Event {
        Event { instance: Some(instance.to_owned()), ..self.event(action, "vm", cid) }
    }

    fn progress(&self, step: &Step, progress: Progress) -> TaskEvent {
        let (state, progress, data) = match progress {
            Progress::Started => ("started", 0, None),
            Progress::At(percent, status) => ("in_progress", percent, Some(json!({"status": status}))),
            Progress::Finished => ("finished", 100, None),
            Progress::Failed(error) => ("failed", 100, Some(json!({"error": error}))),
        };
        TaskEvent::Progress {
            time: i64::try_from(self.now.0).unwrap_or(i64::MAX),
            stage: step.stage.clone().into_owned(),
            tags: step.tags.clone(),
            total: u32::try_from(step.total).unwrap_or(u32::MAX),
            task: step.name.clone(),
            index: u32::try_from(step.index).unwrap_or(u32::MAX),
            state: state.to_owned(),
            progress,
            data,
        }
    }
}

impl Journal {
    pub(super) fn new(record_events: bool) -> Self {
        Self { record_events, last_event: 0, events: Vec::new(), tasks: Vec::new() }
    }

    /// Records an event and returns its id.
    pub(crate) fn record(&mut self, event: Event) -> String {
        self.last_event += 1;
        let id = self.last_event.to_string();
        if self.record_events {
            self.events.push(Event { id: id.clone(), ..event });
        }
        id
    }

    /// Records an event that belongs to no task.
    pub(crate) fn note(&mut self, user: &str, action: &str, object_type: &str, name: &str, now: Timestamp) {
        self.record(Event {
            timestamp: i64::try_from(now.0).unwrap_or(i64::MAX),
            user: user.to_owned(),
            action: action.to_owned(),
            object_type: object_type.to_owned(),
            object_name: Some(name.to_owned()),
            context: json!({}),
            ..Event::default()
        });
    }

    /// Records start and end of an operation that takes no time here.
    pub(crate) fn pair(&mut self, start: Event, end: Event) {
        let parent_id = Some(self.record(start));
        self.record(Event { parent_id, ..end });
    }

    pub(super) fn begin_task(
        &mut self,
        description: &str,
        listed: bool,
        deployment: &str,
        user: &str,
        now: Timestamp,
    ) -> TaskId {
        let id = self.queue_task(description, listed, Some(deployment), user);
        self.start_task(id, now);
        id
    }

    /// A task that waits for a worker.
    pub(crate) fn queue_task(
        &mut self,
        description: &str,
        listed: bool,
        deployment: Option<&str>,
        user: &str,
    ) -> TaskId {
        let id = self.tasks.len() as u64 + 1;
        let task = Task {
            id,
            state: TaskState::Queued,
            description: description.to_owned(),
            timestamp: None,
            started_at: None,
            result: None,
            user: user.to_owned(),
            deployment: deployment.map(str::to_owned),
            context_id: String::new(),
        };
        let (event_output, result_output) = (String::new(), String::new());
        self.tasks.push(TaskRecord { task, listed, error: None, event_output, result_output });
        id
    }

    /// A worker takes a task, unless it has been cancelled in the meantime.
    pub(crate) fn start_task(&mut self, id: TaskId, now: Timestamp) {
        if let Some(record) = self.task_mut(id) {
            record.task.started_at = i64::try_from(now.0).ok();
            if record.task.state == TaskState::Queued {
                record.task.state = TaskState::Processing;
            }
        }
    }

    /// Cancels a task. Returns whether that was still possible.
    pub(crate) fn cancel_task(&mut self, id: TaskId) -> bool {
        let record = self.task_mut(id);
        let open = record.filter(|record| matches!(record.task.state, TaskState::Queued | TaskState::Processing));
        open.map(|record| record.task.state = TaskState::Cancelling).is_some()
    }

    pub(crate) fn is_cancelling(&self, id: TaskId) -> bool {
        self.task(id).is_some_and(|record| record.task.state == TaskState::Cancelling)
    }

    /// Ends a cancelled task.
    pub(crate) fn end_cancelled(&mut self, id: TaskId, now: Timestamp) {
        let error = DirectorError::new(400, 10_001, format!("Task {id} cancelled"));
        self.fail_task(id, &error, now);
        self.close(id, TaskState::Cancelled, "task cancelled".to_owned(), now);
    }

    pub(in super::super) fn task(&self, id: TaskId) -> Option<&TaskRecord> {
        self.tasks.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut TaskRecord> {
        self.tasks.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(crate) fn end_task(&mut self, id: TaskId, result: impl Into<String>, now: Timestamp) {
        self.close(id, TaskState::Done, result.into(), now);
    }

    pub(crate) fn fail_task(&mut self, id: TaskId, error: &DirectorError, now: Timestamp) {
        let time = i64::try_from(now.0).unwrap_or(i64::MAX);
        let body = TaskError { code: error.code, message: error.description.clone() };
        self.append_event_line(id, &TaskEvent::Failure { time, error: body });
        if let Some(record) = self.task_mut(id) {
            record.error = Some(error.clone());
        }
        self.close(id, TaskState::Error, error.description.clone(), now);
    }

    fn close(&mut self, id: TaskId, state: TaskState, result: String, now: Timestamp) {
        if let Some(record) = self.task_mut(id) {
            record.task.state = state;
            record.task.timestamp = i64::try_from(now.0).ok();
            record.task.result = Some(result);
        }
    }

    pub(crate) fn set_result_output(&mut self, id: TaskId, output: String) {
        if let Some(record) = self.task_mut(id) {
            record.result_output = output;
        }
    }

    /// One stage of a task with its steps.
    pub(crate) fn stage(
        &mut self,
        scribe: &Scribe,
        stage: impl Into<Cow<'static, str>>,
        tags: &[&str],
        steps: &[String],
    ) {
        let stage = stage.into();
        for (index, name) in steps.iter().enumerate() {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let step = Step { stage: stage.clone(), tags, total: steps.len(), index: index + 1, name: name.clone() };
            self.progress(scribe, &step, Progress::Started);
            self.progress(scribe, &step, Progress::Finished);
        }
    }

    /// One line of a task's event output.
    pub(crate) fn progress(&mut self, scribe: &Scribe, step: &Step, progress: Progress) {
        self.append_event_line(scribe.task, &scribe.progress(step, progress));
    }

    fn append_event_line(&mut self, id: TaskId, event: &TaskEvent) {
        let line = serde_json::to_value(event).unwrap_or(Value::Null).to_string();
        if let Some(record) = self.task_mut(id) {
            record.event_output.push_str(&line);
            record.event_output.push('\n');
        }
    }
}
