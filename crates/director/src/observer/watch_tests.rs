//! Tests the observer with a simulated director in virtual time.

use super::*;

#[path = "watch_configs_tests.rs"]
mod configs;
#[path = "watch_links_tests.rs"]
mod links;
#[path = "simulated_tests.rs"]
mod simulated;

use self::simulated::*;

#[test]
fn a_steady_state_costs_a_look_each_second_and_a_list_every_ten_at_any_size() {
    for count in [1, 1_000] {
        let mut sim = Sim::settled(count, quick);
        let until = sim.now + seconds(60);
        sim.runs_until(until, |_| false);
        let asked = |what: &str| sim.asked.get(what).copied().unwrap_or_default();
        assert!((57..=61).contains(&asked("events")), "{:?}", sim.asked);
        assert!((5..=7).contains(&asked("list")) && (5..=7).contains(&asked("tasks")), "{:?}", sim.asked);
        assert!(asked("reading") <= count / 5 + 1, "the pass in five minutes: {:?}", sim.asked);
        assert!(sim.most_readings <= 4, "{}", sim.most_readings);
    }
}

#[test]
fn a_change_is_seen_within_two_seconds() {
    let mut sim = Sim::settled(50, quick);
    for port in 2..20 {
        let took = sim.sees_a_deploy("d0007", port).unwrap();
        assert!(took <= seconds(2), "{took:?}");
        let pause = sim.now + Duration::from_millis(u64::from(port) * 370);
        sim.runs_until(pause, |_| false);
    }
    let took = sim.sees_a_deploy("a-new-one", 5).unwrap();
    assert!(took <= seconds(2), "{took:?}");
}

#[test]
fn a_change_is_seen_within_two_seconds_also_during_a_full_pass_and_the_pass_is_few_at_a_time() {
    let mut sim = Sim::settled(300, slow_tables);
    for port in 2..12 {
        let took = sim.sees_a_deploy("d0200", port).unwrap();
        assert!(took <= seconds(2), "{took:?}");
        let pause = sim.now + seconds(7);
        sim.runs_until(pause, |_| false);
    }
    assert!(sim.most_readings <= agenda_bound(), "{}", sim.most_readings);
}

/// Two of the pass, and the one that has changed.
fn agenda_bound() -> usize {
    3
}

#[test]
fn a_change_is_seen_within_two_seconds_also_while_everything_is_read_for_the_first_time() {
    let mut sim = Sim::with(300, slow_tables);
    sim.observer = Observer::resuming(ObserverSettings::default(), Arc::default());
    sim.runs_until(seconds(20), |_| false);
    let listed_before = sim.asked["list"];
    sim.director.deploy("d0001", 9, sim.now);
    let reread = |sim: &Sim| sim.under_way.iter().any(|(_, query)| *query == DirectorQuery::Deployment("d0001".into()));
    let deadline = sim.now + seconds(5);
    let took = sim.runs_until(deadline, |sim| reread(sim)).unwrap();
    assert!(took <= seconds(1) + TICK * 3, "{took:?}");
    let until = sim.now + seconds(60);
    sim.runs_until(until, |_| false);
    assert!(sim.asked["list"] >= listed_before + 5, "the list is asked for meanwhile");
}

#[test]
fn deployments_that_are_never_answered_hold_up_no_other() {
    fn five_are_silent(query: &DirectorQuery) -> Duration {
        match query {
            DirectorQuery::Deployment(name) if name.as_str() < "d0005" => TIMEOUT * 2,
            _ => Duration::from_millis(50),
        }
    }
    let mut sim = Sim::with(40, five_are_silent);
    let took = sim.runs_until(seconds(300), |sim| sim.observer.known().complete).unwrap();
    assert!(took < seconds(70), "they are refused after the time-out, and the others do not wait for that: {took:?}");
    for port in 2..20 {
        // They are reported as well.
        (0..5).for_each(|number| sim.director.deploy(&format!("d{number:04}"), port, sim.now));
        let took = sim.sees_a_deploy("d0020", port).unwrap();
        assert!(took <= seconds(2), "{took:?}");
    }
    let silent = sim.observer.known().deployments[0].error.clone().unwrap();
    assert!(silent.contains("timed out after 30s"), "{silent}");
    assert_eq!(sim.error(), None, "the director answers");
}

#[test]
fn without_events_the_tasks_that_end_tell_what_changes() {
    let mut sim = Sim::with(20, quick);
    sim.director.records_events = false;
    sim.director.events.clear();
    sim.runs_until(seconds(100), |sim| sim.observer.known().complete);
    for port in 2..20 {
        let took = sim.sees_a_deploy("d0007", port).unwrap();
        assert!(took <= seconds(2), "{took:?}");
        let pause = sim.now + Duration::from_millis(u64::from(port) * 370);
        sim.runs_until(pause, |_| false);
    }
}

#[test]
fn events_that_are_switched_off_are_found_out_by_the_first_change() {
    let mut sim = Sim::settled(20, quick);
    sim.sees_a_deploy("d0007", 7).unwrap();
    sim.director.records_events = false;
    let took = sim.sees_a_deploy("d0007", 2).unwrap();
    assert!(took <= seconds(11), "the old events are trusted still: {took:?}");
    let until = sim.now + seconds(4);
    sim.runs_until(until, |_| false);
    for port in 3..20 {
        let took = sim.sees_a_deploy("d0007", port).unwrap();
        assert!(took <= seconds(2), "{took:?}");
    }
    sim.director.records_events = true;
    let took = sim.sees_a_deploy("d0007", 99).unwrap();
    assert!(took <= seconds(2), "{took:?}");
}

#[test]
fn when_passes_find_what_nobody_told_they_come_at_the_shorter_period_until_somebody_tells_something() {
    let mut sim = Sim::settled(20, quick);
    (sim.director.records_events, sim.director.keeps_tasks) = (false, false);
    let took = sim.sees_a_deploy("d0007", 2).unwrap();
    assert!(took <= seconds(301), "{took:?}");
    let until = sim.now + seconds(20);
    sim.runs_until(until, |_| false);
    for port in 3..9 {
        let took = sim.sees_a_deploy("d0007", port).unwrap();
        assert!(took <= seconds(64), "{took:?}");
    }
    (sim.director.records_events, sim.director.keeps_tasks) = (true, true);
    sim.sees_a_deploy("d0007", 99).unwrap();
    sim.asked.clear();
    let until = sim.now + seconds(300);
    sim.runs_until(until, |_| false);
    assert!(sim.asked["reading"] <= 23, "{:?}", sim.asked);
}

#[test]
fn a_client_that_sees_less_costs_nothing_that_is_known_and_the_right_is_named() {
    let mut sim = Sim::settled(5, quick);
    sim.director.may_read_all = false;
    let until = sim.now + seconds(200);
    sim.runs_until(until, |_| false);
    assert_eq!(sim.observer.known().inventory.deployments.len(), 5);
    let error = sim.error().unwrap();
    assert!(error.contains("needs the scope bosh.read") && error.contains("Require one of the scopes"), "{error}");
    sim.director.may_read_all = true;
    let until = sim.now + seconds(101);
    sim.runs_until(until, |_| false);
    assert_eq!(sim.error(), None);

    let mut fresh = Sim::with(5, quick);
    fresh.director.may_read_all = false;
    assert_eq!(fresh.runs_until(seconds(200), |sim| sim.observer.known().complete), None, "it is never ready");
}

#[test]
fn the_error_is_shown_after_the_first_silent_request_and_a_silent_director_is_left_alone() {
    let mut sim = Sim::settled(200, quick);
    sim.director.takes = |_| TIMEOUT * 2;
    let deadline = sim.now + seconds(600);
    let took = sim.runs_until(deadline, |sim| sim.error().is_some()).unwrap();
    assert!(took <= TIMEOUT + seconds(1), "{took:?}");
    let until = sim.now + seconds(300);
    sim.runs_until(until, |_| false);
    let readings = sim.asked.get("reading").copied().unwrap_or_default();
    assert!(readings <= 8, "{:?}", sim.asked);
    assert_eq!(sim.observer.known().inventory.deployments.len(), 200);
    sim.director.takes = quick;
    let took = sim.sees_a_deploy("d0007", 2).unwrap();
    assert!(took <= TIMEOUT + seconds(11), "{took:?}");
    let until = sim.now + seconds(5);
    sim.runs_until(until, |_| false);
    assert_eq!(sim.error(), None);
}

#[test]
fn what_records_json_names_is_read_at_once_and_not_again_for_each_of_its_changes() {
    let mut sim = Sim::settled(9, quick);
    (sim.director.records_events, sim.director.keeps_tasks) = (false, false);
    let until = sim.now + seconds(30);
    sim.runs_until(until, |_| false);
    for (name, asked) in [("d0007", "reading"), ("brand-new", "list")] {
        sim.asked.clear();
        for _ in 0..8 {
            sim.observer.recorded(&BTreeSet::from([name.to_owned()]), sim.clocks());
            let until = sim.now + seconds(1);
            sim.runs_until(until, |_| false);
        }
        assert!(sim.asked[asked] >= 1, "{:?}", sim.asked);
    }
    assert!(sim.asked.get("reading").copied().unwrap_or_default() <= 3, "{:?}", sim.asked);
}

#[test]
fn known_events_are_not_fetched_again_and_again() {
    let mut sim = Sim::settled(3, quick);
    sim.sees_a_deploy("d0001", 2).unwrap();
    let until = sim.now + seconds(120);
    sim.runs_until(until, |_| false);
    let DirectorQuery::Events { after } = sim.events_question() else { unreachable!() };
    let newest = sim.director.events.last().unwrap().timestamp;
    assert!(after.unwrap() > newest, "asked after {after:?}, the newest is of {newest}");
}

impl Sim {
    fn events_question(&mut self) -> DirectorQuery {
        loop {
            self.tick();
            let asked = self.under_way.iter().find(|(_, query)| name_of(query) == "events");
            if let Some((_, query)) = asked {
                return query.clone();
            }
        }
    }
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing() {
    let mut sim = Sim::settled(20, quick);
    for wall in [0, 4_000_000_000, 1_000, u64::MAX] {
        sim.wall.set(wall);
        (sim.director.records_events, sim.director.keeps_tasks) = (false, false);
        let port = u16::try_from(wall % 1_000).unwrap() + 7;
        let took = sim.sees_a_deploy("d0007", port).unwrap();
        assert!(took <= seconds(301), "full passes go on: {took:?}");
    }
}

#[test]
fn it_says_when_it_is_to_be_asked_again() {
    let mut sim = Sim::settled(3, quick);
    for _ in 0..1_000 {
        let (moment, next_at) = (sim.clocks(), sim.observer.next_at(sim.clocks()));
        let answers_wake_it = !sim.under_way.is_empty();
        assert!(answers_wake_it || next_at <= moment.elapsed + seconds(10), "{next_at:?}");
        if next_at > moment.elapsed + TICK {
            assert_eq!(sim.observer.due(moment), [], "nothing is due before it says so");
        }
        sim.tick();
    }
}
