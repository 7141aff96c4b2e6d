//! What the director's events say about which deployments have changed.
//!
//! Event ids come from a sequence and may become visible out of order, and `after_time` counts whole seconds: so every question reaches back
//! by an overlap, and what is known already is dropped by its id. Time is the director's own, taken from its events, because the clocks of the
//! two machines may differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::Event;

/// How many events one answer holds at most.
const PAGE: usize = 200;

/// The events seen, as far back as the next question reaches.
pub(super) struct EventLog {
    overlap: i64,
    newest: Option<i64>,
    known: BTreeMap<String, i64>,
}

/// What new events say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Deployments to read again.
    pub(super) deployments: BTreeSet<String>,
    /// More happened than one answer holds.
    pub(super) missed_some: bool,
}

impl EventLog {
    pub(super) fn new(overlap: i64) -> Self {
        Self { overlap, newest: None, known: BTreeMap::new() }
    }

    /// The second after which to ask; none to ask for the newest.
    pub(super) fn after(&self) -> Option<i64> {
        self.newest.map(|newest| newest - self.overlap - 1)
    }

    /// Whether the director records events at all: that can be switched off, and then there never is one.
    pub(super) fn has_seen_any(&self) -> bool {
        self.newest.is_some()
    }

    /// Takes an answer to the question that [`EventLog::after`] describes.
    pub(super) fn take(&mut self, events: &[Event]) -> News {
        // The newest known event always answers, unless the director's clock or its table was set back: begin anew.
        let set_back = events.is_empty() && self.newest.is_some();
        if set_back {
            *self = Self::new(self.overlap);
            return News { missed_some: true, ..News::default() };
        }
        let missed_some = events.len() >= PAGE && !events.iter().any(|event| self.known.contains_key(&event.id));
        let new = events.iter().filter(|event| !self.known.contains_key(&event.id));
        let deployments = new.filter(|event| is_change(event)).filter_map(|event| event.deployment.clone()).collect();
        self.remember(events);
        News { deployments, missed_some }
    }

    fn remember(&mut self, events: &[Event]) {
        self.newest = self.newest.max(events.iter().map(|event| event.timestamp).max());
        self.known.extend(events.iter().map(|event| (event.id.clone(), event.timestamp)));
        let reach = self.newest.map_or(i64::MIN, |newest| newest - self.overlap);
        self.known.retain(|_, timestamp| *timestamp >= reach);
    }
}

/// Instances change minutes before the manifest text does; the released lock comes last of all.
fn is_change(event: &Event) -> bool {
    match event.object_type.as_str() {
        "deployment" | "instance" | "vm" => true,
        "lock" => event.action == "release",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u32, timestamp: i64, object_type: &str, action: &str, deployment: Option<&str>) -> Event {
        Event {
            id: id.to_string(),
            timestamp,
            object_type: object_type.into(),
            action: action.into(),
            deployment: deployment.map(str::to_owned),
            ..Event::default()
        }
    }

    fn named(news: &News) -> Vec<&str> {
        news.deployments.iter().map(String::as_str).collect()
    }

    #[test]
    fn what_touches_a_deployment_names_it_and_nothing_else_does() {
        for (object_type, action, changes) in [
            ("deployment", "update", true),
            ("instance", "create", true),
            ("vm", "delete", true),
            ("lock", "release", true),
            ("lock", "acquire", false),
            ("alert", "create", false),
            ("config/mesh", "create", false),
            ("errand", "run", false),
        ] {
            let news = EventLog::new(60).take(&[event(1, 100, object_type, action, Some("shop"))]);
            assert_eq!(named(&news) == ["shop"], changes, "{object_type} {action}");
        }
        assert_eq!(named(&EventLog::new(60).take(&[event(1, 100, "lock", "release", None)])), [""; 0]);
    }

    #[test]
    fn a_known_event_is_no_news_and_a_late_one_is() {
        let mut log = EventLog::new(60);
        log.take(&[event(5, 100, "vm", "create", Some("a"))]);
        assert_eq!(log.after(), Some(39));
        let late = [event(5, 100, "vm", "create", Some("a")), event(4, 99, "vm", "create", Some("b"))];
        assert_eq!(named(&log.take(&late)), ["b"]);
        assert_eq!(named(&log.take(&late)), [""; 0]);
    }

    #[test]
    fn only_what_the_next_question_reaches_is_remembered() {
        let mut log = EventLog::new(60);
        for second in 0..10_000 {
            log.take(&[event(second, i64::from(second), "vm", "create", Some("a"))]);
        }
        assert_eq!(log.known.len(), 61);
        assert_eq!(log.after(), Some(9_999 - 61));
    }

    #[test]
    fn a_full_page_of_new_events_means_that_some_were_missed() {
        let page = |from: u32| (from..from + 200).map(|id| event(id, 100, "vm", "create", None)).collect::<Vec<_>>();
        let mut log = EventLog::new(60);
        assert!(!log.take(&page(0)[..199]).missed_some);
        assert!(log.take(&page(500)).missed_some);
        assert!(!log.take(&page(600)).missed_some, "half of it was known");
    }

    #[test]
    fn no_answer_at_all_after_some_means_a_director_set_back() {
        let mut log = EventLog::new(60);
        assert!(!log.take(&[]).missed_some);
        assert!(!log.has_seen_any());
        log.take(&[event(5, 100, "vm", "create", Some("a"))]);
        assert!(log.take(&[]).missed_some);
        assert_eq!(log.after(), None);
    }

    proptest::proptest! {
        /// Events become visible up to a few seconds after the time they bear, so also behind those already seen.
        #[test]
        fn every_event_is_news_once_as_long_as_it_is_not_later_than_the_overlap(
            lags in proptest::collection::vec(0..60_i64, 1..150),
            every in 1..20_i64,
        ) {
            let mut log = EventLog::new(60);
            let mut heard = Vec::new();
            let last = i64::try_from(lags.len()).unwrap() + 60;
            for now in (0..=last).step_by(usize::try_from(every).unwrap()).chain([last]) {
                let visible = lags.iter().enumerate().filter_map(|(id, lag)| {
                    let second = i64::try_from(id).unwrap();
                    let asked_for = log.after().is_none_or(|after| second > after);
                    let name = format!("d{id}");
                    (second + lag <= now && asked_for)
                        .then(|| event(u32::try_from(id).unwrap(), second, "vm", "create", Some(&name)))
                });
                let page: Vec<Event> = visible.collect();
                heard.extend(log.take(&page).deployments);
            }
            heard.sort();
            let mut expected: Vec<_> = (0..lags.len()).map(|id| format!("d{id}")).collect();
            expected.sort();
            proptest::prop_assert_eq!(heard, expected);
        }
    }
}
