//! Work for a worker: what a task does that takes time, in a director with VMs.

use std::sync::Arc;

use super::TaskId;
use crate::stores::Upload;

/// A task for a worker.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) task: TaskId,
    pub(crate) user: String,
    pub(crate) deployment: String,
    pub(crate) work: Work,
}

/// Work of a task.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Deploy(Box<DeployOrder>),
    Delete { force: bool },
    Isolated(IsolatedOrder),
    Agents { only_vms: bool },
    Logs { group: String, instance: String },
    Upload(UploadOrder),
}

/// An upload to the stores.
#[derive(Clone, Debug)]
pub(crate) enum UploadOrder {
    Release { tarball: Arc<Vec<u8>>, upload: Upload },
    ReleaseAt(String),
    Stemcell(Arc<Vec<u8>>),
    StemcellAt(String),
}

/// A deploy, or a change of state that converges.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeployOrder {
    pub(crate) text: String,
    pub(crate) recreate: bool,
    /// Whether to recreate VMs whose agents do not answer.
    pub(crate) fix: bool,
    pub(crate) dry_run: bool,
    pub(crate) skip_drain: SkipDrain,
    pub(crate) canaries: Option<String>,
    pub(crate) max_in_flight: Option<String>,
    /// Versions of configs to use; `None` for the latest.
    pub(crate) configs: Option<ConfigIds>,
    pub(crate) converge: Option<Converge>,
}

/// Ids of the configs of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigIds {
    pub(crate) cloud: Vec<String>,
    pub(crate) runtime: Vec<String>,
}

/// A wanted state of some instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Converge {
    pub(crate) target: Target,
    /// Instance group; `None` for all.
    pub(crate) group: Option<String>,
    /// UUID or index; `None` for all of the group.
    pub(crate) instance: Option<String>,
}

/// Value of `state=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Started,
    Stopped,
    Detached,
    Restart,
    Recreate,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "started" => Self::Started,
            "stopped" => Self::Stopped,
            "detached" => Self::Detached,
            "restart" => Self::Restart,
            "recreate" => Self::Recreate,
            _ => return None,
        })
    }
}

/// Groups whose drain scripts are not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SkipDrain {
    #[default]
    None,
    All,
    Groups(Vec<String>),
}

impl SkipDrain {
    /// Parses `true`, `*` or names separated by commas.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("" | "false") => Self::None,
            Some("true" | "*") => Self::All,
            Some(groups) => Self::Groups(groups.split(',').map(|group| group.trim().to_owned()).collect()),
        }
    }

    pub(crate) fn drains(&self, group: &str) -> bool {
        match self {
            Self::None => true,
            Self::All => false,
            Self::Groups(groups) => !groups.iter().any(|skipped| skipped == group),
        }
    }
}

/// An action on one instance, regardless of the manifest.
#[derive(Clone, Debug)]
pub(crate) struct IsolatedOrder {
    pub(crate) action: Action,
    pub(crate) group: String,
    /// UUID or index.
    pub(crate) instance: String,
    pub(crate) hard: bool,
    pub(crate) skip_drain: bool,
}

/// Action on one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Recreate,
}

impl Action {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "recreate" => Self::Recreate,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Recreate => "recreate",
        }
    }
}

impl Work {
    /// Its description in `GET /tasks`.
    pub(super) fn description(&self, deployment: &str) -> String {
        match self {
            Self::Deploy(_) => "create deployment".to_owned(),
            Self::Delete { .. } => format!("delete deployment {deployment}"),
            Self::Isolated(order) => format!("{} instance", order.action.as_str()),
            Self::Agents { .. } => "retrieve vm-stats".to_owned(),
            Self::Logs { .. } => "fetch logs".to_owned(),
            Self::Upload(UploadOrder::Release { .. } | UploadOrder::ReleaseAt(_)) => "create release".to_owned(),
            Self::Upload(UploadOrder::Stemcell(_) | UploadOrder::StemcellAt(_)) => "create stemcell".to_owned(),
        }
    }

    /// Whether it needs the lock of its deployment.
    pub(crate) fn locks(&self) -> bool {
        matches!(self, Self::Deploy(_) | Self::Delete { .. } | Self::Isolated(_))
    }
}
