//! `GET /tasks`, their output, `GET /locks`, and errors.

use serde::{Deserialize, Serialize};

/// `{code, description}`, with most statuses from 400 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The director's own number, such as 70000 for an unknown deployment.
    pub code: u32,
    /// Text for people.
    pub description: String,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waits for a worker.
    Queued,
    /// Runs.
    Processing,
    /// Is to stop.
    Cancelling,
    /// Was stopped.
    Cancelled,
    /// Ended well.
    Done,
    /// Failed.
    Error,
    /// Took too long.
    Timeout,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Number.
    pub id: u64,
    /// State.
    pub state: TaskState,
    /// `create deployment`, ...
    pub description: String,
    /// Seconds since 1970 of its end; null while it waits or runs.
    pub timestamp: Option<i64>,
    /// Seconds since 1970.
    pub started_at: Option<i64>,
    /// Text for people.
    pub result: Option<String>,
    /// Who asked for it.
    pub user: String,
    /// Deployment it works on.
    pub deployment: Option<String>,
    /// What the sender called it.
    pub context_id: String,
}

/// A task that has ended, as far as it matters what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EndedTask {
    /// Number.
    pub id: u64,
    /// `create deployment`, `retrieve vm-stats`, ...
    #[serde(default)]
    pub description: String,
    /// Deployment it worked on.
    #[serde(default)]
    pub deployment: Option<String>,
}

/// One line of a task's output of type `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TaskEvent {
    /// A step.
    Progress {
        /// Seconds since 1970.
        time: i64,
        /// `Creating missing vms`, ...
        stage: String,
        /// Instance group, mostly.
        tags: Vec<String>,
        /// How many steps the stage has.
        total: u32,
        /// The step.
        task: String,
        /// Its number from 1.
        index: u32,
        /// `started`, `in_progress`, `finished` or `failed`.
        state: String,
        /// Percent.
        progress: u32,
        /// More.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<serde_json::Value>,
    },
    /// The end of a failed task.
    Failure {
        /// Seconds since 1970.
        time: i64,
        /// Why.
        error: TaskError,
    },
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// The director's own number.
    pub code: u32,
    /// Text for people.
    pub message: String,
}

/// One line of `GET /locks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// `deployment`, `release`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// What is locked.
    pub resource: Vec<String>,
    /// Seconds since 1970 until which it holds, as text.
    pub timeout: String,
    /// Who holds it.
    pub task_id: String,
}
