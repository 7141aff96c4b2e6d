//! What a supervision tree shows of itself.

use std::fmt;

use serde::Serialize;

/// A tree and its children at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TreeStatus {
    /// Name of the tree.
    pub name: String,
    /// Children in order of start; those of a nested tree stand under its name, `tree/child`.
    pub children: Vec<ChildStatus>,
}

/// One child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ChildKind,
    /// What it does now.
    pub state: ChildState,
    /// That it shows no life, in words; `None` while it does.
    pub stuck: Option<String>,
    /// Restarts since the process began.
    pub restarts: u64,
    /// How its last life ended.
    pub last_exit: Option<String>,
}

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildKind {
    /// It takes messages.
    Actor,
    /// It measures or watches, and takes none.
    Task,
    /// It is a tree of its own.
    Tree,
}

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Not begun yet.
    Starting,
    /// Alive.
    Running,
    /// Fallen, waiting for its back-off.
    BackingOff,
    /// Ended and not to be restarted.
    Stopped,
    /// Given up: restarted too often.
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
