//! Derives changed deployments from the director's events.
//!
//! Event ids come from a sequence and may become visible out of order, and `after_time` counts whole seconds. So every
//! request reaches back by an overlap, and known events are dropped by id. A request starts from the director's time at
//! the last answer, because the clocks of the two machines may differ. So known events are requested again for no
//! longer than the overlap. Neither an event with a time in the future nor a clock that is set back makes the log miss
//! events.

use std::{collections::BTreeSet, time::Duration};

use boshy_mesh::CONFIG_TYPE;

use super::witnesses::{ChangeReport, Subject, Urgency};
use crate::wire::Event;

/// Maximum number of events in an answer.
const PAGE: usize = 200;
/// How far the director's clock may go back without events counting as missed: it is read in whole seconds.
const JITTER: i64 = 5;

/// The events seen, as far back as the next request reaches.
pub(super) struct EventLog {
    overlap: i64,
    /// The director's time at the last answer.
    answered: Option<i64>,
    /// The director's time by the latest event, and when that event was seen.
    newest: Option<(i64, Duration)>,
    known: BTreeSet<(String, i64)>,
}

impl EventLog {
    pub(super) fn new(overlap: Duration) -> Self {
        let overlap = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX / 4);
        Self { overlap, answered: None, newest: None, known: BTreeSet::new() }
    }

    /// The second after which to request events, with the overlap; `None` to request the newest.
    pub(super) fn after(&self) -> Option<i64> {
        self.after_by(self.overlap)
    }

    /// The same for a frequent request, which may reach back less.
    pub(super) fn shortly_after(&self) -> Option<i64> {
        self.after_by(self.overlap.min(JITTER))
    }

    fn after_by(&self, overlap: i64) -> Option<i64> {
        self.answered.map(|answered| answered.saturating_sub(overlap).saturating_sub(1))
    }

    /// Whether the director has ever recorded events. Recording can be switched off; where it always was, there are
    /// none.
    pub(super) fn has_seen_any(&self) -> bool {
        self.newest.is_some()
    }

    /// Handles an answer; `clock` is the director's time at that moment, in seconds since 1970, if given.
    pub(super) fn take(&mut self, events: &[Event], clock: Option<i64>, now: Duration) -> ChangeReport {
        let is_known = |event: &Event| self.known.contains(&(event.id.clone(), event.timestamp));
        let is_full = events.len() >= PAGE && !events.iter().any(is_known);
        let mut report = ChangeReport::default();
        for event in events.iter().filter(|event| !is_known(event)) {
            report.configs |= is_of_config(event);
            let Some(name) = &event.deployment else { continue };
            report.named.insert(Subject::Deployment(name.clone()));
            report.named.extend(event.task.as_ref().and_then(|task| task.parse().ok()).map(Subject::Task));
            if let Some(urgency) = urgency(event) {
                let known = report.deployments.entry(name.clone()).or_insert(urgency);
                *known = urgency.max(*known);
            }
        }
        report.missed_some = self.advance(events, clock, now) || is_full;
        let reach = self.after();
        self.known.extend(events.iter().map(|event| (event.id.clone(), event.timestamp)));
        self.known.retain(|(_, timestamp)| reach.is_none_or(|reach| *timestamp > reach));
        report
    }

    /// Advances to the director's present time. Returns whether that is earlier than before.
    fn advance(&mut self, events: &[Event], clock: Option<i64>, now: Duration) -> bool {
        // The present is at least the time of the newest event plus the time since it was seen, unless that event is
        // dated in the future.
        let passed = |since: Duration| i64::try_from(now.saturating_sub(since).as_secs()).unwrap_or(i64::MAX);
        let before = self.newest.map(|(newest, since)| newest.saturating_add(passed(since)));
        let by_events = before.max(events.iter().map(|event| event.timestamp).max());
        self.newest = by_events.map(|latest| (latest, now));
        let present = clock.into_iter().chain(by_events).min();
        let went_back =
            present.zip(self.answered).is_some_and(|(present, answered)| present < answered.saturating_sub(JITTER));
        self.answered = present;
        went_back
    }
}

/// Whether a config that is read has changed, through a newer or an older route. The deletion of a config causes no
/// event.
fn is_of_config(event: &Event) -> bool {
    match event.object_type.strip_prefix("config/") {
        Some(kind) => ["runtime", "cloud", CONFIG_TYPE].contains(&kind),
        None => matches!(event.object_type.as_str(), "runtime-config" | "cloud-config"),
    }
}

/// Instances change minutes before the manifest's text does; the release of the lock comes last.
fn urgency(event: &Event) -> Option<Urgency> {
    match event.object_type.as_str() {
        "deployment" => Some(Urgency::Now),
        "instance" | "vm" => Some(Urgency::Soon),
        "lock" if event.action == "release" => Some(Urgency::Now),
        _ => None,
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
