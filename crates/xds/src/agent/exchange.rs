//! Connects a VM's relay with its environment: the local ADS server, DNS, the disk and the pilot.
//!
//! ```text
//!   PilotStream ── StreamEvent ─────> Exchange ──> Outlets: served, names, stored, status
//!   AckStates ── ack_states_changed() ──>│  └────> RequestToPilot, to the open stream
//!   the disk ─── kept() ────────────────>│
//!   identity ─── hold() ────────────────>│
//!   the clock ── time() ────────────────>'
//! ```
//!
//! It has no I/O and no task. Its owner (an actor) passes it one input at a time.

use std::{sync::Arc, time::Duration};

use err_report::Report;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{debug, info, warn};

use super::{
    ExchangeError, Outlets, StreamEvent,
    commit::{Commit, Released},
    relay::{Nack, Relay, RelayEvent, Step},
};
use crate::{AckStates, MeshTold, Secrets, clock, session::client::RequestToPilot};

/// Number of rejections shown with their texts. For all of them, only the number is shown.
const NACKS_SHOWN: usize = 20;

/// Envoy acknowledges thousands of resources in hundreds of messages, and each evaluation goes through all resources
/// that are not accepted. A pause of this many times the last evaluation lets answers gather, so that evaluations never
/// take more than a fifth of the time. After a single change the pause is microseconds.
const REST: u32 = 4;

/// See the module's documentation.
#[derive(Debug)]
pub struct Exchange {
    relay: Relay,
    commit: Commit,
    ack_states: AckStates,
    outlets: Outlets,
    /// Sender to the pilot, while a stream is open or being opened.
    upstream: Option<mpsc::Sender<RequestToPilot>>,
}

impl Exchange {
    /// Publishes the relay's initial state.
    pub fn new(relay: Relay, ack_states: AckStates, outlets: Outlets) -> Self {
        let published = Arc::clone(&outlets.names.borrow());
        let commit = Commit::new(Arc::clone(&outlets.stored.borrow()), published);
        let mut exchange = Self { relay, commit, ack_states, outlets, upstream: None };
        exchange.publish_resources();
        exchange.outlets.status.send_modify(|status| {
            status.pilot = None;
            status.since = clock::now().0;
        });
        exchange.settle(true, Vec::new());
        exchange.kept();
        exchange
    }

    /// When [`Exchange::time`] has to be called at the latest.
    pub fn deadline(&self) -> Option<std::time::Instant> {
        self.relay.deadline()
    }

    /// Handles an event of a stream to a pilot.
    pub fn heard(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Opening { upstream, digests } => {
                self.commit.forget_answers();
                self.upstream = Some(upstream);
                let requests = self.relay.opened(digests);
                self.send(requests);
                self.show_unanswered();
            }
            StreamEvent::Open { pilot, told } => {
                info!(%pilot, "stream to the pilot is open");
                self.connected(Some(pilot.to_string()), told);
            }
            StreamEvent::Received(message) => {
                let now = Instant::now().into_std();
                let step = match message {
                    Ok(response) => self.relay.receive(response, now, &self.ack_states),
                    Err(malformed) => Step::refusing(malformed),
                };
                self.perform(step);
            }
            StreamEvent::Ended { lived, error } => self.ended(lived, &error),
        }
    }

    /// Envoy answered, connected or disconnected. Returns how long to let answers gather before the next evaluation.
    pub fn ack_states_changed(&mut self) -> Duration {
        let started = Instant::now();
        self.time();
        started.elapsed() * REST
    }

    /// Handles the passing of time.
    pub fn time(&mut self) {
        let step = self.relay.reconsider(Instant::now().into_std(), &self.ack_states);
        self.perform(step);
    }

    /// Serves these secrets to Envoy from now on.
    pub fn hold(&mut self, secrets: &Secrets) {
        let step = self.relay.hold(secrets, Instant::now().into_std(), &self.ack_states);
        self.perform(step);
    }

    /// Handles a change of [`Outlets::kept`].
    pub fn kept(&mut self) {
        let released = self.commit.release(&self.outlets.kept.borrow().clone());
        self.release(released);
    }

    fn ended(&mut self, lived: Duration, error: &ExchangeError) {
        let cause = Report::new(error).to_string();
        let known = lived.is_zero() && self.outlets.status.borrow().last_error.as_ref() == Some(&cause);
        if known {
            debug!(error = cause, "still no stream to the pilot");
        } else {
            warn!(error = cause, remedy = error.remedy(), "no stream to the pilot; what is known stays");
        }
        self.upstream = None;
        self.commit.forget_answers();
        self.connected(None, None);
        self.outlets.status.send_modify(|status| {
            status.last_error = Some(cause);
            status.last_remedy = Some(error.remedy());
        });
        self.show_unanswered();
    }

    fn perform(&mut self, step: Step) {
        let Step { names, served, upstream, events } = step;
        for change in &names {
            let event = if change.answered { "name leads to its service" } else { "name leads nowhere any more" };
            info!(name = %change.host, vip = %change.vip, "{event}");
        }
        // Names are removed before their listeners; names that are added wait for the disk.
        self.settle(!names.is_empty(), upstream);
        if served {
            self.publish_resources();
        }
        events.into_iter().for_each(report);
        self.show_progress();
    }

    /// Passes the new state to the disk, and what depends on it to [`Commit`].
    fn settle(&mut self, names: bool, upstream: Vec<RequestToPilot>) {
        let names = names.then(|| self.relay.answered());
        // A request that is not an answer does not depend on the disk.
        let (answers, questions) = upstream.into_iter().partition(RequestToPilot::is_answer);
        self.send(questions);
        let kept = self.outlets.kept.borrow().clone();
        let released = self.commit.change(self.relay.stored(), names, answers, &kept);
        self.outlets.stored.send_if_modified(|stored| {
            let changed = !Arc::ptr_eq(stored, self.commit.state());
            if changed {
                stored.clone_from(self.commit.state());
            }
            changed
        });
        self.release(released);
    }

    fn release(&mut self, Released { names, answers }: Released) {
        if let Some(names) = names {
            self.outlets.names.send_replace(names);
        }
        self.send(answers);
        self.show_unanswered();
    }

    /// Sends messages to the pilot. Without a pilot they are dropped; the next stream starts from the held resources
    /// instead.
    fn send(&self, requests: Vec<RequestToPilot>) {
        let Some(upstream) = &self.upstream else { return };
        for request in requests {
            // There is room, because the stream reads only while there is. A stream that has ended drops messages.
            if let Err(mpsc::error::TrySendError::Full(_)) = upstream.try_send(request) {
                warn!("a message to the pilot was lost, because too many are on their way");
            }
        }
    }

    fn publish_resources(&self) {
        replace(&self.outlets.served, Arc::clone(self.relay.served()));
    }

    fn show_unanswered(&self) {
        replace(&self.outlets.unanswered, self.relay.unanswered() + self.commit.waiting());
    }

    fn show_progress(&self) {
        self.outlets.status.send_if_modified(|status| {
            let before = status.clone();
            status.names = self.relay.counts();
            status.known = self.relay.known().collect();
            status.versions.clone_from(self.relay.versions());
            status.nack_count = self.relay.nacks().count();
            status.nacks = self.relay.nacks().take(NACKS_SHOWN).collect();
            before != *status
        });
    }

    fn connected(&self, pilot: Option<String>, told: Option<MeshTold>) {
        self.outlets.status.send_if_modified(|status| {
            let changed = status.pilot != pilot || (told.is_some() && status.told != told);
            if changed {
                status.pilot = pilot;
                status.since = clock::now().0;
                status.told = told.or(status.told.take());
            }
            changed
        });
    }
}

fn report(event: RelayEvent) {
    match event {
        RelayEvent::Malformed(malformed) => {
            warn!(type_url = malformed.type_url, error = %malformed, "refused a response of the pilot");
        }
        RelayEvent::Unanswered { kind, resources } => {
            warn!(?kind, resources, "the proxy did not answer in time; acknowledged to the pilot without it");
        }
        RelayEvent::Nacked(Nack { kind, name, version, reason, .. }) => {
            warn!(?kind, %name, %version, %reason, "the proxy refused a resource; the last accepted version stays, and it is tried again");
        }
        RelayEvent::Recovered { kind, name } => {
            info!(?kind, %name, "the proxy accepted a resource that it had refused");
        }
    }
}

fn replace<T: PartialEq>(outlet: &watch::Sender<T>, value: T) {
    outlet.send_if_modified(|current| {
        let changed = *current != value;
        if changed {
            *current = value;
        }
        changed
    });
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
