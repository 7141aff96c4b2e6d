//! Errors in a director's format.

/// An error with which the director refuses a request or fails a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description} (code {code})")]
pub struct DirectorError {
    /// HTTP status of the answer. An error of a task, which has no answer of its own, has the status that the director
    /// defines for its code.
    pub status: u16,
    /// The director's error code.
    pub code: u32,
    /// Text for people.
    pub description: String,
}

impl DirectorError {
    pub(super) fn new(status: u16, code: u32, description: impl Into<String>) -> Self {
        Self { status, code, description: description.into() }
    }

    pub(super) fn no_deployment(name: &str) -> Self {
        Self::new(404, 70_000, format!("Deployment '{name}' doesn't exist"))
    }

    pub(super) fn no_instance(deployment: &str, group: &str, id: &str) -> Self {
        Self::new(404, 70_001, format!("Instance '{deployment}/{group}/{id}' doesn't exist"))
    }

    pub(super) fn no_task(id: &str) -> Self {
        Self::new(404, 10_000, format!("Task {id} not found"))
    }

    pub(super) fn no_config(id: &str) -> Self {
        Self::new(404, 440_012, format!("Config {id} not found"))
    }

    pub(super) fn bad_config(description: impl Into<String>) -> Self {
        Self::new(400, 440_010, description)
    }
}
