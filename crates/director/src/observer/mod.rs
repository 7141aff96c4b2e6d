//! Reads a director again and again, cheaply, and keeps what it knows when the director does not answer.
//!
//! ```text
//!   each second      GET /events, or GET /tasks  ─> which have changed ─┐
//!   each 10 seconds  GET /locks, GET /deployments ─> which there are ───┴─> agenda ─> manifest + instances of those only
//!   all the time     a slow pass over all of them ──────────────────────┘
//!   once in a pass   GET /configs of type runtime and cloud, and after an event of theirs
//! ```
//!
//! [`Observer`] is pure: it says which [`Question`]s are to be asked now, takes the [`Answer`]s in whatever order they come, and says
//! what is known. [`ask`] puts a question to a director. Who holds both is their clock, and makes no choices.
//!
//! A deployment is read when it is new, when an event or a task that has ended names it, when its last reading left something to be
//! desired (an error, no manifest yet, something to be confirmed), and in the pass, because not everything is told. Recording events can be
//! switched off in a director; nothing tells so. So tasks are asked for beside events, and what a pass finds without either of them
//! makes the pass faster until they tell something again.
//!
//! Runtime configs bring jobs to a deployment at its next deploy. So a deployment that is read is asked for the versions that it has, once
//! any of them exposes ports (see `configs`).
//!
//! Fail static: what fails changes nothing, and what only an error would say is believed when it is said twice (see `facts`). A list
//! is believed only of a client that may read every deployment: any other is shown a part as if it were all.
//!
//! Not promised: a change is seen at once. It is seen within the second in which its event or its task's end is shown, or by the pass
//! when there was neither.

mod agenda;
mod ask;
mod cadence;
mod configs;
mod events;
mod facts;
mod known;
mod news;
mod remembering;
mod tasks;
mod watch;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use boshy_mesh::{Inventory, Timestamp};
use serde::Serialize;

pub use self::{
    ask::ask,
    configs::{AppliedConfigs, ConfigsReading},
    known::Reading,
    watch::Observer,
};
use crate::{
    client::ClientError,
    wire::{DeploymentRow, EndedTask, Event},
};
use boshy_yaml::Limits;

/// How often to read what.
#[derive(Clone, Copy, Debug)]
pub struct ObserverSettings {
    /// Period of the list of deployments.
    pub list: Duration,
    /// Period of the question for what has changed. Costs one request that is answered from an index, with nothing mostly.
    pub look: Duration,
    /// Within which every deployment is read, changed or not.
    pub full_pass: Duration,
    /// The same while neither events nor tasks tell what changes.
    pub full_pass_without_news: Duration,
    /// How long after something that only an error would say a second answer is asked for, and must say the same.
    pub confirm_after: Duration,
    /// How far back events are asked for again, in every period of the list. Must exceed the longest time between an event's number and
    /// its appearance.
    pub event_overlap: Duration,
    /// What a manifest may cost.
    pub limits: Limits,
}

impl Default for ObserverSettings {
    fn default() -> Self {
        Self {
            list: Duration::from_secs(10),
            look: Duration::from_secs(1),
            full_pass: Duration::from_secs(300),
            full_pass_without_news: Duration::from_secs(60),
            confirm_after: Duration::from_secs(3),
            event_overlap: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since the observer began, by a clock that is never set. All waiting goes by it.
    pub elapsed: Duration,
    /// The wall clock, which is only shown to people.
    pub wall: Timestamp,
}

/// Something to ask a director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the client may read every deployment, and which there are.
    Deployments,
    /// Events of a later second than this; without one the newest.
    Events {
        /// Seconds since 1970, by the director's clock.
        after: Option<i64>,
    },
    /// Tasks that have ended.
    Tasks {
        /// How many.
        limit: u32,
        /// Whether also those that no person orders.
        of_every_kind: bool,
    },
    /// The latest runtime and cloud configs.
    Configs,
    /// Manifest and instances of one deployment.
    Deployment(String),
    /// The same, and the runtime configs that it was deployed with; these need not be told.
    DeploymentWithConfigs(String, BTreeSet<u64>),
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Deployments`].
    Deployments(Result<Vec<DeploymentRow>, ClientError>),
    /// To [`Question::Events`], with the director's clock.
    Events(Result<(Vec<Event>, Option<i64>), ClientError>),
    /// To [`Question::Tasks`].
    Tasks {
        /// As in the question.
        limit: u32,
        /// As in the question.
        of_every_kind: bool,
        /// The answer.
        tasks: Result<Vec<EndedTask>, ClientError>,
    },
    /// To [`Question::Configs`].
    Configs(ConfigsReading),
    /// To [`Question::Deployment`] and [`Question::DeploymentWithConfigs`].
    Deployment(String, Reading),
}

/// How well one deployment is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Name.
    pub name: String,
    /// When manifest and instances were last read without an error.
    pub last_good: Option<Timestamp>,
    /// What is wrong with the last reading, with its place. The facts are then those of an earlier one.
    pub error: Option<String>,
}

/// What is known at a moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Facts, by name of the deployment. The same pointer as long as nothing changes.
    pub inventory: Arc<Inventory>,
    /// Every deployment that is listed, read or not.
    pub deployments: Vec<DeploymentStatus>,
    /// Whether every listed deployment was read or refused once since the start. Before that, what is missing in the inventory
    /// may exist.
    pub complete: bool,
    /// When the deployments were last listed.
    pub listed: Option<Timestamp>,
    /// Why they could not be since, or why there are no news.
    pub error: Option<Arc<ClientError>>,
    /// Why configs are not known, which costs the ports that runtime configs expose and what cloud configs tell of addresses.
    pub config_error: Option<Arc<ClientError>>,
}

impl Answer {
    fn is_silence(&self) -> bool {
        let silent = |error: &ClientError| error.is_silence();
        match self {
            Self::Deployments(answer) => answer.as_ref().is_err_and(silent),
            Self::Events(answer) => answer.as_ref().is_err_and(silent),
            Self::Tasks { tasks, .. } => tasks.as_ref().is_err_and(silent),
            Self::Configs(ConfigsReading { runtime, cloud }) => {
                runtime.as_ref().is_err_and(silent) && cloud.as_ref().is_err_and(silent)
            }
            Self::Deployment(_, Reading { manifest, instances, .. }) => {
                manifest.as_ref().is_err_and(silent) && instances.as_ref().is_err_and(silent)
            }
        }
    }
}
