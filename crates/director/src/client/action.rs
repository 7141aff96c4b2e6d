//! What only an operator's client requests.

use std::{fmt, path::PathBuf};

/// Operation of a request that only an operator's client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// `GET /releases`.
    Releases,
    /// `GET /tasks/:id` and its output.
    Task(TaskId),
    /// `POST /releases` with a file.
    UploadRelease(PathBuf),
    /// `POST /deployments`.
    Deploy,
    /// `DELETE /deployments/:name`.
    DeleteDeployment(String),
}

impl fmt::Display for OperatorAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Releases => f.write_str("cannot list the releases"),
            Self::Task(id) => write!(f, "cannot read task {id}"),
            Self::UploadRelease(file) => write!(f, "cannot upload the release {}", file.display()),
            Self::Deploy => f.write_str("cannot deploy"),
            Self::DeleteDeployment(name) => write!(f, "cannot delete deployment {name:?}"),
        }
    }
}

/// Id of a task of one director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TaskId {
    /// Parses the path to which a director redirects: `/tasks/:id`.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        path.strip_prefix("/tasks/")?.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_the_path_of_the_redirect() {
        assert_eq!(TaskId::from_path("/tasks/27"), Some(TaskId(27)));
        for other in ["/tasks/", "/tasks/27/output", "/tasks/-1", "/task/27", "/login", ""] {
            assert_eq!(TaskId::from_path(other), None, "{other}");
        }
    }
}
