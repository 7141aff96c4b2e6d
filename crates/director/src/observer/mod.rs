//! Reads a director again and again, cheaply, and keeps what it knows when the director does not answer.
//!
//! ```text
//!   round:  GET /deployments  ─> which there are ─┐
//!           GET /events       ─> which changed ───┴─> due ─> manifest + instances of those only
//! ```
//!
//! In steady state a round is these two requests. A deployment is read when it is new, when an event names it, when its last reading left
//! something to be desired (an error, no manifest yet, an emptiness), and in a slow full pass, because not everything emits an
//! event. Recording events can be switched off in a director; nothing tells so but that there never is one. Then,
//! and while events cannot be read, full passes come at a shorter period and are the only news.
//!
//! Fail static: a failed reading changes nothing, and what would wipe facts (no deployments at all, no instances, no manifest any
//! more) is believed only when it is seen twice. Half of a deployment may be newer than the other: a bad manifest does not keep
//! fresh instances away.
//!
//! Not promised: a change is seen at once. It is seen in the first round after the director shows it, or with the next full
//! pass when there was no event.

mod events;
mod facts;

use std::{sync::Arc, time::Duration};

use boshy_mesh::{Inventory, Timestamp};
use futures::StreamExt;
use serde::Serialize;

use self::{
    events::{EventLog, News},
    facts::{Facts, Reading},
};
use crate::{
    client::{ClientError, DirectorClient},
    yaml::Limits,
};

/// Deployments read at the same time.
const CONCURRENT_READINGS: usize = 4;
/// Deployments in one round about which the director may stay silent before the round is left: one that is too slow must not keep
/// the others away, but a director that went down must not be asked a thousand times.
const MAX_SILENT: usize = 3;

/// How often to read what.
#[derive(Clone, Copy, Debug)]
pub struct ObserverSettings {
    /// Period of reading every deployment, changed or not.
    pub full_pass: Duration,
    /// The same while there are no events to go by. Costs two requests per deployment each time.
    pub full_pass_without_events: Duration,
    /// How far back events are asked for again. Must exceed the longest time between an event's number and its appearance.
    pub event_overlap: Duration,
    /// What a manifest may cost.
    pub limits: Limits,
}

impl Default for ObserverSettings {
    fn default() -> Self {
        Self {
            full_pass: Duration::from_secs(300),
            full_pass_without_events: Duration::from_secs(60),
            event_overlap: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
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

/// What is known after a round.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Facts, by name of the deployment. The same pointer as long as nothing changes.
    pub inventory: Arc<Inventory>,
    /// Every deployment that is listed, read or not.
    pub deployments: Vec<DeploymentStatus>,
    /// Whether every listed deployment was read or refused once since the start. Before that, what is missing in the inventory
    /// may exist.
    pub complete: bool,
    /// Why events could not be read in this round.
    pub events_error: Option<Arc<ClientError>>,
}

/// Reads one director.
pub struct Observer {
    facts: Facts,
    events: EventLog,
}

impl Observer {
    /// An observer that knows nothing yet.
    pub fn new(settings: ObserverSettings) -> Self {
        let overlap = i64::try_from(settings.event_overlap.as_secs()).unwrap_or(i64::MAX / 4);
        Self { facts: Facts::new(settings), events: EventLog::new(overlap) }
    }

    /// An observer that begins with facts of an earlier life, so that a deployment that cannot be read just now is not
    /// taken for one that is gone.
    pub fn resuming(settings: ObserverSettings, inventory: Arc<Inventory>) -> Self {
        Self { facts: Facts::resuming(settings, inventory), ..Self::new(settings) }
    }

    /// One round.
    ///
    /// # Errors
    /// When the deployments cannot be listed. What is known stays, see [`Observer::known`].
    pub async fn observe(&mut self, client: &DirectorClient, now: Timestamp) -> Result<Observation, ClientError> {
        let listed = client.deployments().await?;
        if !self.facts.list(&listed) {
            return Ok(self.known());
        }
        // Events before readings: what happens meanwhile is an event of the next round.
        let events = client.events(self.events.after()).await;
        let news = events.as_ref().map_or_else(|_| News::default(), |events| self.events.take(events));
        let events_work = events.is_ok() && self.events.has_seen_any();
        let due = self.facts.due(&news, events_work, now);
        self.read(client, due, now).await;
        Ok(Observation { events_error: events.err().map(Arc::new), ..self.known() })
    }

    /// What is known without asking.
    pub fn known(&mut self) -> Observation {
        Observation {
            inventory: self.facts.inventory(),
            deployments: self.facts.statuses(),
            complete: self.facts.is_complete(),
            events_error: None,
        }
    }

    async fn read(&mut self, client: &DirectorClient, due: Vec<String>, now: Timestamp) {
        let readings = due.into_iter().map(|name| async move {
            // In this order instances are at least as new as the manifest that tells their groups.
            let manifest = client.manifest(&name).await;
            let instances = client.instances(&name).await;
            (name, Reading { manifest, instances })
        });
        let mut readings = futures::stream::iter(readings).buffer_unordered(CONCURRENT_READINGS);
        let mut silent = 0;
        while let Some((name, reading)) = readings.next().await {
            silent += usize::from(reading.is_silence());
            self.facts.take(&name, reading, now);
            if silent >= MAX_SILENT {
                return;
            }
        }
    }
}

impl Reading {
    fn is_silence(&self) -> bool {
        let silence = |error: &ClientError| error.is_silence();
        self.manifest.as_ref().is_err_and(silence) || self.instances.as_ref().is_err_and(silence)
    }
}
