//! Tasks and events: what the director did, and what it says about it.

use boshy_mesh::Timestamp;
use serde_json::{Value, json};

use crate::{
    embedded::DirectorError,
    wire::{Event, Task, TaskError, TaskEvent, TaskState},
};

/// Number of a task.
pub type TaskId = u64;

/// A task with its output.
#[derive(Clone, Debug)]
pub(in super::super) struct TaskRecord {
    pub(in super::super) task: Task,
    /// Kind of work, as `verbose=1` filters by it.
    pub(in super::super) listed: bool,
    pub(in super::super) error: Option<DirectorError>,
    pub(in super::super) event_output: String,
    pub(in super::super) result_output: String,
}

#[derive(Debug)]
pub(in super::super) struct Journal {
    record_events: bool,
    last_event: u64,
    pub(in super::super) events: Vec<Event>,
    pub(in super::super) tasks: Vec<TaskRecord>,
}

/// Who does what for which deployment: what every event of a task has in common.
#[derive(Clone, Debug)]
pub(super) struct Scribe {
    pub(super) task: TaskId,
    pub(super) user: String,
    pub(super) deployment: String,
    pub(super) now: Timestamp,
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

    pub(super) fn deployment(&self, action: &str) -> Event {
        self.event(action, "deployment", Some(self.deployment.clone()))
    }

    pub(super) fn lock(&self, action: &str) -> Event {
        self.event(action, "lock", Some(format!("lock:deployment:{}", self.deployment)))
    }

    /// A lock on something that does not belong to one deployment.
    pub(super) fn foreign_lock(&self, action: &str, name: String) -> Event {
        Event { deployment: None, ..self.event(action, "lock", Some(name)) }
    }

    pub(super) fn instance(&self, action: &str, instance: &str) -> Event {
        let event = self.event(action, "instance", Some(instance.to_owned()));
        Event { instance: Some(instance.to_owned()), ..event }
    }

    pub(super) fn vm(&self, action: &str, cid: Option<String>, instance: &str) -> Event {
        Event { instance: Some(instance.to_owned()), ..self.event(action, "vm", cid) }
    }

    fn progress(&self, stage: &str, tags: &[&str], total: usize, task: &str, index: usize) -> [TaskEvent; 2] {
        ["started", "finished"].map(|state| TaskEvent::Progress {
            time: i64::try_from(self.now.0).unwrap_or(i64::MAX),
            stage: stage.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            task: task.to_owned(),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            state: state.to_owned(),
            progress: if state == "finished" { 100 } else { 0 },
            data: None,
        })
    }
}

impl Journal {
    pub(super) fn new(record_events: bool) -> Self {
        Self { record_events, last_event: 0, events: Vec::new(), tasks: Vec::new() }
    }

    /// Records an event and gives its id.
    pub(super) fn record(&mut self, event: Event) -> String {
        self.last_event += 1;
        let id = self.last_event.to_string();
        if self.record_events {
            self.events.push(Event { id: id.clone(), ..event });
        }
        id
    }

    /// Records start and end of something that takes no time here.
    pub(super) fn pair(&mut self, start: Event, end: Event) {
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
        let id = self.tasks.len() as u64 + 1;
        let task = Task {
            id,
            state: TaskState::Processing,
            description: description.to_owned(),
            timestamp: None,
            started_at: i64::try_from(now.0).ok(),
            result: None,
            user: user.to_owned(),
            deployment: Some(deployment.to_owned()),
            context_id: String::new(),
        };
        let (event_output, result_output) = (String::new(), String::new());
        self.tasks.push(TaskRecord { task, listed, error: None, event_output, result_output });
        id
    }

    pub(in super::super) fn task(&self, id: TaskId) -> Option<&TaskRecord> {
        self.tasks.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn task_mut(&mut self, id: TaskId) -> Option<&mut TaskRecord> {
        self.tasks.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(super) fn end_task(&mut self, id: TaskId, result: impl Into<String>, now: Timestamp) {
        self.close(id, TaskState::Done, result.into(), now);
    }

    pub(super) fn fail_task(&mut self, id: TaskId, error: &DirectorError, now: Timestamp) {
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

    pub(super) fn set_result_output(&mut self, id: TaskId, output: String) {
        if let Some(record) = self.task_mut(id) {
            record.result_output = output;
        }
    }

    /// One stage of a task with its steps.
    pub(super) fn stage(&mut self, scribe: &Scribe, stage: &str, tags: &[&str], steps: &[String]) {
        for (index, step) in steps.iter().enumerate() {
            for event in scribe.progress(stage, tags, steps.len(), step, index + 1) {
                self.append_event_line(scribe.task, &event);
            }
        }
    }

    fn append_event_line(&mut self, id: TaskId, event: &TaskEvent) {
        let line = serde_json::to_value(event).unwrap_or(Value::Null).to_string();
        if let Some(record) = self.task_mut(id) {
            record.event_output.push_str(&line);
            record.event_output.push('\n');
        }
    }
}
