use super::*;

const OVERLAP: Duration = Duration::from_secs(60);

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

fn named(report: &ChangeReport) -> Vec<&str> {
    report.deployments.keys().map(String::as_str).collect()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_touches_a_deployment_names_it_and_nothing_else_does() {
    for (object_type, action, urgency) in [
        ("deployment", "update", Some(Urgency::Now)),
        ("deployment", "delete", Some(Urgency::Now)),
        ("instance", "create", Some(Urgency::Soon)),
        ("vm", "delete", Some(Urgency::Soon)),
        ("lock", "release", Some(Urgency::Now)),
        ("lock", "acquire", None),
        ("alert", "create", None),
        ("config/mesh", "create", None),
        ("errand", "run", None),
    ] {
        let report = EventLog::new(OVERLAP).take(&[event(1, 100, object_type, action, Some("shop"))], None, at(0));
        assert_eq!(report.deployments.get("shop").copied(), urgency, "{object_type} {action}");
    }
    assert_eq!(named(&EventLog::new(OVERLAP).take(&[event(1, 100, "lock", "release", None)], None, at(0))), [""; 0]);
}

#[test]
fn the_end_of_a_deploy_is_more_urgent_than_its_steps() {
    let events = [
        event(3, 100, "vm", "create", Some("a")),
        event(2, 100, "lock", "release", Some("a")),
        event(1, 99, "vm", "create", Some("a")),
    ];
    assert_eq!(EventLog::new(OVERLAP).take(&events, None, at(0)).deployments["a"], Urgency::Now);
}

#[test]
fn a_known_event_is_no_news_and_a_late_one_is() {
    let mut log = EventLog::new(OVERLAP);
    log.take(&[event(5, 100, "vm", "create", Some("a"))], Some(101), at(0));
    assert_eq!((log.after(), log.shortly_after()), (Some(39), Some(94)));
    let late = [event(5, 100, "vm", "create", Some("a")), event(4, 99, "vm", "create", Some("b"))];
    assert_eq!(named(&log.take(&late, Some(101), at(0))), ["b"]);
    assert_eq!(named(&log.take(&late, Some(101), at(0))), [""; 0]);
}

#[test]
fn the_window_moves_with_the_directors_clock_though_nothing_happens() {
    for clock in [true, false] {
        let mut log = EventLog::new(OVERLAP);
        let clock = |second: i64| clock.then_some(second);
        log.take(&[event(5, 1_000, "vm", "create", Some("a"))], clock(1_000), at(0));
        log.take(&[], clock(1_100), at(100));
        assert_eq!(log.after(), Some(1_039));
        log.take(&[], clock(2_000), at(1_000));
        assert_eq!(log.after(), Some(1_939));
        assert!(log.known.is_empty());
    }
}

#[test]
fn a_question_reaches_back_to_the_last_answer_however_long_ago_that_was() {
    let mut log = EventLog::new(OVERLAP);
    log.take(&[event(5, 1_000, "vm", "create", Some("a"))], Some(1_000), at(0));
    // There is no answer for an hour.
    assert_eq!(log.after(), Some(939));
    let missed = [event(6, 1_500, "lock", "release", Some("b"))];
    assert_eq!(named(&log.take(&missed, Some(4_600), at(3_600))), ["b"]);
}

#[test]
fn an_event_of_a_time_to_come_hides_none() {
    let mut log = EventLog::new(OVERLAP);
    log.take(&[event(5, 4_000_000_000, "alert", "create", None)], Some(1_000), at(0));
    assert_eq!(log.after(), Some(939));
    let next = [event(6, 1_010, "vm", "create", Some("a")), event(5, 4_000_000_000, "alert", "create", None)];
    assert_eq!(named(&log.take(&next, Some(1_010), at(10))), ["a"]);
}

#[test]
fn a_clock_that_is_set_back_hides_none_and_something_may_have_been_missed() {
    let mut log = EventLog::new(OVERLAP);
    log.take(&[event(5, 10_000, "vm", "create", Some("a"))], Some(10_000), at(0));
    assert!(!log.take(&[], Some(9_998), at(1)).missed_some, "whole seconds");
    assert!(log.take(&[], Some(6_400), at(2)).missed_some);
    assert_eq!(log.after(), Some(6_339));
    let report = log.take(&[event(6, 6_400, "vm", "create", Some("b"))], Some(6_403), at(5));
    assert_eq!((named(&report), report.missed_some), (vec!["b"], false));
}

#[test]
fn an_id_that_is_given_again_is_another_event() {
    let mut log = EventLog::new(OVERLAP);
    log.take(&[event(5, 100, "vm", "create", Some("a"))], Some(100), at(0));
    assert_eq!(named(&log.take(&[event(5, 130, "vm", "create", Some("b"))], Some(130), at(30))), ["b"]);
}

#[test]
fn a_full_page_of_new_events_means_that_some_were_missed() {
    let page = |from: u32| (from..from + 200).map(|id| event(id, 100, "vm", "create", None)).collect::<Vec<_>>();
    let mut log = EventLog::new(OVERLAP);
    assert!(!log.take(&page(0)[..199], None, at(0)).missed_some);
    assert!(log.take(&page(500), None, at(1)).missed_some);
    assert!(!log.take(&page(600), None, at(2)).missed_some, "half of it was known");
}

#[test]
fn no_number_is_too_odd() {
    for odd in [i64::MIN, -1, i64::MAX] {
        let mut log = EventLog::new(OVERLAP);
        log.take(&[event(1, odd, "vm", "create", Some("a"))], None, at(0));
        log.take(&[event(2, odd, "vm", "create", Some("a"))], Some(odd), at(u64::MAX));
        let _ = (log.after(), log.shortly_after());
    }
}

proptest::proptest! {
    /// Events become visible up to a minute after their time, and so possibly after newer ones.
    #[test]
    fn every_event_is_news_once_as_long_as_it_is_not_later_than_the_overlap(
        lags in proptest::collection::vec(0..60_i64, 1..150),
        every in 1..20_i64,
        says_its_clock: bool,
    ) {
        let mut log = EventLog::new(OVERLAP);
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
            let clock = says_its_clock.then_some(now);
            heard.extend(log.take(&page, clock, at(u64::try_from(now).unwrap())).deployments.into_keys());
        }
        heard.sort();
        let mut expected: Vec<_> = (0..lags.len()).map(|id| format!("d{id}")).collect();
        expected.sort();
        proptest::prop_assert_eq!(heard, expected);
    }
}
