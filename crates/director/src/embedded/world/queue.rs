//! What is to be done by a worker: tasks that take time, in a director with VMs.

use std::sync::Arc;

use boshy_mesh::Timestamp;

use super::{TaskId, World};
use crate::embedded::{DirectorError, stores::Upload};

/// A task for a worker.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct Job {
    pub(in crate::embedded) task: TaskId,
    pub(in crate::embedded) user: String,
    pub(in crate::embedded) deployment: String,
    pub(in crate::embedded) work: Work,
}

/// What a task does.
#[derive(Clone, Debug)]
pub(in crate::embedded) enum Work {
    Deploy(Box<DeployOrder>),
    Delete { force: bool },
    Isolated(IsolatedOrder),
    Agents { only_vms: bool },
    Logs { group: String, instance: String },
    Upload(UploadOrder),
}

/// Something to be taken into the stores.
#[derive(Clone, Debug)]
pub(in crate::embedded) enum UploadOrder {
    Release { tarball: Arc<Vec<u8>>, upload: Upload },
    ReleaseAt(String),
    Stemcell(Arc<Vec<u8>>),
    StemcellAt(String),
}

/// A deploy, or a change of state that converges.
#[derive(Clone, Debug, Default)]
pub(in crate::embedded) struct DeployOrder {
    pub(in crate::embedded) text: String,
    pub(in crate::embedded) recreate: bool,
    /// Makes VMs anew whose agents do not answer.
    pub(in crate::embedded) fix: bool,
    pub(in crate::embedded) dry_run: bool,
    pub(in crate::embedded) skip_drain: SkipDrain,
    pub(in crate::embedded) canaries: Option<String>,
    pub(in crate::embedded) max_in_flight: Option<String>,
    /// Versions of configs to use; the latest when not given.
    pub(in crate::embedded) configs: Option<ConfigIds>,
    pub(in crate::embedded) converge: Option<Converge>,
}

/// Ids of the configs that a deployment was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) struct ConfigIds {
    pub(in crate::embedded) cloud: Vec<String>,
    pub(in crate::embedded) runtime: Vec<String>,
}

/// A wanted state of some instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::embedded) struct Converge {
    pub(in crate::embedded) target: Target,
    /// None for all.
    pub(in crate::embedded) group: Option<String>,
    /// Uuid or index; none for all of the group.
    pub(in crate::embedded) instance: Option<String>,
}

/// What `state=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) enum Target {
    Started,
    Stopped,
    Detached,
    Restart,
    Recreate,
}

impl Target {
    pub(in crate::embedded) fn parse(text: &str) -> Option<Self> {
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

/// Whose drain scripts are not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) enum SkipDrain {
    #[default]
    None,
    All,
    Groups(Vec<String>),
}

impl SkipDrain {
    /// `true`, `*` or names with commas between them.
    pub(in crate::embedded) fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("" | "false") => Self::None,
            Some("true" | "*") => Self::All,
            Some(groups) => Self::Groups(groups.split(',').map(|group| group.trim().to_owned()).collect()),
        }
    }

    pub(in crate::embedded) fn drains(&self, group: &str) -> bool {
        match self {
            Self::None => true,
            Self::All => false,
            Self::Groups(groups) => !groups.iter().any(|skipped| skipped == group),
        }
    }
}

/// An action on one instance, without regard to the manifest.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct IsolatedOrder {
    pub(in crate::embedded) action: Action,
    pub(in crate::embedded) group: String,
    /// Uuid or index.
    pub(in crate::embedded) instance: String,
    pub(in crate::embedded) hard: bool,
    pub(in crate::embedded) skip_drain: bool,
}

/// What is done with one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) enum Action {
    Start,
    Stop,
    Restart,
    Recreate,
}

impl Action {
    pub(in crate::embedded) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "restart" => Self::Restart,
            "recreate" => Self::Recreate,
            _ => return None,
        })
    }

    pub(in crate::embedded) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Recreate => "recreate",
        }
    }
}

impl Work {
    /// What `GET /tasks` calls it.
    fn description(&self, deployment: &str) -> String {
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

    /// Whether only one task at a time may do it to a deployment.
    pub(in crate::embedded) fn locks(&self) -> bool {
        matches!(self, Self::Deploy(_) | Self::Delete { .. } | Self::Isolated(_))
    }
}

impl World {
    /// A task that is done at once and has nothing to say but how it ended.
    pub(in crate::embedded) fn at_once(
        &mut self,
        description: &str,
        user: &str,
        outcome: Result<(), DirectorError>,
        now: Timestamp,
    ) -> TaskId {
        let task = self.journal.queue_task(description, true, None, user);
        self.journal.start_task(task, now);
        match outcome {
            Ok(()) => self.journal.end_task(task, "", now),
            Err(error) => self.journal.fail_task(task, &error, now),
        }
        task
    }

    /// Queues a task for a worker. Without a deployment its name is empty.
    pub(in crate::embedded) fn enqueue(&mut self, deployment: &str, user: &str, work: Work) -> TaskId {
        let listed = !matches!(work, Work::Agents { .. });
        let task = self.journal.queue_task(
            &work.description(deployment),
            listed,
            Some(deployment).filter(|name| !name.is_empty()),
            user,
        );
        self.queue.push(Job { task, user: user.to_owned(), deployment: deployment.to_owned(), work });
        task
    }

    /// Hands over what was queued since the last time.
    pub(in crate::embedded) fn take_queue(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.queue)
    }
}
