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

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It waits for a worker.
    Queued,
    /// It runs.
    Processing,
    /// It was asked to stop.
    Cancelling,
    /// It was stopped.
    Cancelled,
    /// It succeeded.
    Done,
    /// It failed.
    Error,
    /// It took too long.
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
    /// End in seconds since 1970; null while it waits or runs.
    pub timestamp: Option<i64>,
    /// Start in seconds since 1970.
    pub started_at: Option<i64>,
    /// Text for people.
    pub result: Option<String>,
    /// User who requested it.
    pub user: String,
    /// Deployment it works on.
    pub deployment: Option<String>,
    /// Context id given by the sender.
    pub context_id: String,
}

/// A task that has ended, with the fields that show what it changed.
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
        /// Number of steps in the stage.
        total: u32,
        /// The step.
        task: String,
        /// Its number from 1.
        index: u32,
        /// `started`, `in_progress`, `finished` or `failed`.
        state: String,
        /// Percent.
        progress: u32,
        /// Further data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<serde_json::Value>,
    },
    /// The failure of a task.
    Failure {
        /// Seconds since 1970.
        time: i64,
        /// Reason.
        error: TaskError,
    },
}

/// Reason of a task's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    /// The director's own number.
    pub code: u32,
    /// Text for people.
    pub message: String,
}

/// One row of `GET /locks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// `deployment`, `release`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The locked resource.
    pub resource: Vec<String>,
    /// End of the lock in seconds since 1970, as text.
    pub timeout: String,
    /// The task that holds it.
    pub task_id: String,
}
