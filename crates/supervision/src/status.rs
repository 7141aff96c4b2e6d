//! Status of a supervision tree.

use std::fmt;

use serde::Serialize;

/// A tree and its children at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TreeStatus {
    /// Name of the tree.
    pub name: String,
    /// Children in order of start. Those of a nested tree are named `tree/child`.
    pub children: Vec<ChildStatus>,
}

/// Status of one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildStatus {
    /// Name of the child.
    pub name: String,
    /// Kind of child.
    pub kind: ChildKind,
    /// Its current state.
    pub state: ChildState,
    /// Describes that it shows no sign of life; `None` while it does.
    pub stuck: Option<String>,
    /// Restarts since the process began.
    pub restarts: u64,
    /// How its last life ended.
    pub last_exit: Option<String>,
}

/// Kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// An actor with messages.
    Actor,
    /// A task, which measures or watches and has no messages.
    Task,
    /// A nested tree.
    Tree,
}

/// State of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Not started yet.
    Starting,
    /// Alive.
    Running,
    /// Fallen; waits for its back-off.
    BackingOff,
    /// Ended and not to be restarted.
    Stopped,
    /// Given up, because it was restarted too often.
    GaveUp,
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Stopped => "stopped",
            Self::GaveUp => "gave_up",
        })
    }
}
