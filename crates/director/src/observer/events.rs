//! What the director's events say about which deployments have changed.
//!
//! Event ids come from a sequence and may become visible out of order, and `after_time` counts whole seconds: so every question reaches back
//! by an overlap, and what is known already is dropped by its id. Where a question begins is the director's time at the last answer,
//! because the clocks of the two machines may differ: so what is known is not fetched again for longer than the overlap. Nobody can
//! blind the log by an event that bears a time to come, nor by a clock that is set back.

use std::{collections::BTreeSet, time::Duration};

use super::news::{News, Subject, Urgency};
use crate::wire::Event;

/// How many events one answer holds at most.
const PAGE: usize = 200;
/// How much the director's clock may go back without that anything is said to be missed: it is read in whole seconds.
const JITTER: i64 = 5;

/// The events seen, as far back as the next question reaches.
pub(super) struct EventLog {
    overlap: i64,
    /// The director's time at the last answer.
    answered: Option<i64>,
    /// The director's time by the latest that an event bears, and when it was that.
    newest: Option<(i64, Duration)>,
    known: BTreeSet<(String, i64)>,
}

impl EventLog {
    pub(super) fn new(overlap: Duration) -> Self {
        let overlap = i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX / 4);
        Self { overlap, answered: None, newest: None, known: BTreeSet::new() }
    }

    /// The second after which to ask, reaching back by the overlap; none to ask for the newest.
    pub(super) fn after(&self) -> Option<i64> {
        self.after_by(self.overlap)
    }

    /// The same for a question that is asked often, which may reach back less.
    pub(super) fn shortly_after(&self) -> Option<i64> {
        self.after_by(self.overlap.min(JITTER))
    }

    fn after_by(&self, overlap: i64) -> Option<i64> {
        self.answered.map(|answered| answered.saturating_sub(overlap).saturating_sub(1))
    }

    /// Whether the director has recorded events: that can be switched off, and where it always was there is none.
    pub(super) fn has_seen_any(&self) -> bool {
        self.newest.is_some()
    }

    /// Takes an answer; `clock` is the director's at that moment, in seconds since 1970, if it said it.
    pub(super) fn take(&mut self, events: &[Event], clock: Option<i64>, now: Duration) -> News {
        let is_known = |event: &Event| self.known.contains(&(event.id.clone(), event.timestamp));
        let is_full = events.len() >= PAGE && !events.iter().any(is_known);
        let mut news = News::default();
        for event in events.iter().filter(|event| !is_known(event)) {
            news.configs |= is_of_config(event);
            let Some(name) = &event.deployment else { continue };
            news.named.insert(Subject::Deployment(name.clone()));
            news.named.extend(event.task.as_ref().and_then(|task| task.parse().ok()).map(Subject::Task));
            if let Some(urgency) = urgency(event) {
                let known = news.deployments.entry(name.clone()).or_insert(urgency);
                *known = urgency.max(*known);
            }
        }
        news.missed_some = self.advance(events, clock, now) || is_full;
        let reach = self.after();
        self.known.extend(events.iter().map(|event| (event.id.clone(), event.timestamp)));
        self.known.retain(|(_, timestamp)| reach.is_none_or(|reach| *timestamp > reach));
        news
    }

    /// Moves to the director's present, and says whether that is earlier than it was.
    fn advance(&mut self, events: &[Event], clock: Option<i64>, now: Duration) -> bool {
        // It is at least as late as its newest event and the time since that was seen, unless the event bears a time to come.
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

/// Whether a config that is read has changed, by a newer or an older request. The deletion of one is told by nobody.
fn is_of_config(event: &Event) -> bool {
    matches!(event.object_type.as_str(), "config/runtime" | "config/cloud" | "runtime-config" | "cloud-config")
}

/// Instances change minutes before the manifest text does; the released lock comes last of all.
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
