//! Polls a director at low cost, and keeps its facts when the director does not answer.
//!
//! ```text
//!   each second      GET /events, or GET /tasks  ─> changed names ──────┐
//!   each 10 seconds  GET /locks, GET /deployments ─> all names ─────────┴─> agenda ─> their manifests and instances
//!   all the time     a slow pass over all of them ──────────────────────┘
//!   once in a pass   GET /configs of type runtime, cloud and boshy, and after an event of theirs
//! ```
//!
//! [`Observer`] is pure: it returns the queries to send now, takes the replies in any order, and returns the
//! known facts. [`ask`] sends a query to a director. The owner of both provides the clock and makes no decisions.
//!
//! A deployment is read in these cases: when it is new; when an event, an ended task or a change of `records.json` names
//! it; when its last reading was incomplete (an error, no manifest yet, a conclusion to be confirmed); and in the pass, because not every change
//! is reported. The recording of events can be switched off in a director, which nothing reports. So tasks are
//! requested in addition to events. When a pass finds a change that neither reported, the pass becomes faster until
//! they report changes again.
//!
//! Runtime configs add jobs to a deployment at its next deploy. So once any of them exposes ports, each reading of a
//! deployment also requests the versions that it was deployed with (see `configs`).
//!
//! Where policies follow from links, a reading that was reported, is the first or repeats a failed one requests the
//! links of the deployment as well. When a reading of the pass has found a change, another one follows, which does so.
//!
//! Fail static: a failure changes nothing, and a conclusion that an error would explain is accepted when it is
//! confirmed (see `facts`). A list is accepted only from a client that may read every deployment: any other client gets
//! a part as if it were the whole.
//!
//! Not promised: that a change is seen at once. It is seen within the second in which its event or the end of its task
//! is shown, or by the pass when there was neither.

mod agenda;
mod ask;
mod cadence;
mod clock;
mod configs;
mod events;
mod facts;
mod known;
mod remembering;
mod tasks;
mod watch;
mod witnesses;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use boshy_mesh::{Inventory, Timestamp};
use serde::Serialize;

pub use self::{
    ask::ask,
    clock::ClockReading,
    configs::{AppliedConfigs, ConfigsReading},
    known::Reading,
    watch::Observer,
};
use crate::{
    client::ClientError,
    wire::{DeploymentRow, EndedTask, Event},
};
use boshy_yaml::Limits;

/// What to read, and how often.
#[derive(Clone, Copy, Debug)]
pub struct ObserverSettings {
    /// Period of the list of deployments.
    pub list: Duration,
    /// Period of the request for changes. It costs one request that the director answers from an index, usually with
    /// nothing.
    pub look: Duration,
    /// Time within which every deployment is read, changed or not.
    pub full_pass: Duration,
    /// The same while neither events nor tasks report changes.
    pub full_pass_without_news: Duration,
    /// Time after which a doubtful conclusion has to be confirmed by a second answer.
    pub confirm_after: Duration,
    /// How far back events are requested again, in every period of the list. It must exceed the longest time between
    /// the assignment of an event's id and its visibility.
    pub event_overlap: Duration,
    /// Limits on the cost of a manifest.
    pub limits: Limits,
    /// Whether links are requested. They change when a deployment is deployed, so the pass does not request them.
    pub links: bool,
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
            links: false,
        }
    }
}

/// A query to a director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectorQuery {
    /// Whether the client may read every deployment, and which exist.
    Deployments,
    /// Events later than this second; without it, the newest.
    Events {
        /// Seconds since 1970 by the director's clock.
        after: Option<i64>,
    },
    /// Tasks that have ended.
    Tasks {
        /// Maximum number of tasks.
        limit: u32,
        /// Whether to include those that are not ordered by people.
        of_every_kind: bool,
    },
    /// The latest runtime and cloud configs, and those that are written for the mesh.
    Configs,
    /// Manifest and instances of one deployment.
    Deployment(String),
    /// The same, and the runtime configs that it was deployed with. The given versions are known already.
    DeploymentWithConfigs(String, BTreeSet<u64>),
    /// The same as one of these two, and the links of the deployment.
    WithLinks(Box<DirectorQuery>),
}

/// The reply to a query.
#[derive(Debug)]
pub enum DirectorReply {
    /// To [`DirectorQuery::Deployments`].
    Deployments(Result<Vec<DeploymentRow>, ClientError>),
    /// To [`DirectorQuery::Events`], with the director's clock.
    Events(Result<(Vec<Event>, Option<i64>), ClientError>),
    /// To [`DirectorQuery::Tasks`].
    Tasks {
        /// As in the query.
        limit: u32,
        /// As in the query.
        of_every_kind: bool,
        /// The answer.
        tasks: Result<Vec<EndedTask>, ClientError>,
    },
    /// To [`DirectorQuery::Configs`].
    Configs(ConfigsReading),
    /// To [`DirectorQuery::Deployment`], [`DirectorQuery::DeploymentWithConfigs`] and [`DirectorQuery::WithLinks`].
    Deployment(String, Reading),
}

/// Status of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeploymentStatus {
    /// Name.
    pub name: String,
    /// When manifest and instances were last read without an error.
    pub last_good: Option<Timestamp>,
    /// Error of the last reading, with its place. The facts are then those of an earlier one.
    pub error: Option<String>,
}

/// Known facts at a moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Facts by deployment. The same pointer as long as nothing changes.
    pub inventory: Arc<Inventory>,
    /// When the instances of each deployment were asked for that are known, as time since the observer's start.
    pub readings: Arc<BTreeMap<String, Duration>>,
    /// Every listed deployment, read or not. The same pointer until a deployment is read or the list changes.
    pub deployments: Arc<[DeploymentStatus]>,
    /// Whether every listed deployment has been read, or the reading has failed, once since the start. Before that, a
    /// deployment that is missing in the inventory may exist.
    pub complete: bool,
    /// When the deployments were last listed.
    pub listed: Option<Timestamp>,
    /// Why they could not be listed since, or why no changes are reported.
    pub error: Option<Arc<ClientError>>,
    /// Why configs are unknown, which affects the ports of runtime configs, the networks of cloud configs, and the
    /// configs that are written for the mesh.
    pub config_error: Option<Arc<ClientError>>,
}

impl DirectorReply {
    fn is_silence(&self) -> bool {
        let silent = |error: &ClientError| error.is_silence();
        match self {
            Self::Deployments(answer) => answer.as_ref().is_err_and(silent),
            Self::Events(answer) => answer.as_ref().is_err_and(silent),
            Self::Tasks { tasks, .. } => tasks.as_ref().is_err_and(silent),
            Self::Configs(ConfigsReading { runtime, cloud, mesh }) => {
                [runtime, cloud, mesh].into_iter().all(|configs| configs.as_ref().is_err_and(silent))
            }
            Self::Deployment(_, Reading { manifest, instances, .. }) => {
                manifest.as_ref().is_err_and(silent) && instances.as_ref().is_err_and(silent)
            }
        }
    }
}
