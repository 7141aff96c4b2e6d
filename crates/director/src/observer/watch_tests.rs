//! The observer against a director made of values, in time that is counted rather than waited for.

use std::{cell::Cell, collections::BTreeMap};

use super::*;
use crate::{
    client::{Cause, Operation, TransportError},
    wire::{ErrorBody, InstanceRow},
};

/// What a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);
/// The director's clock when the observer begins.
const EPOCH: i64 = 1_795_446_868;

/// Answers as a director does.
struct Fake {
    ports: BTreeMap<String, u16>,
    events: Vec<Event>,
    tasks: Vec<EndedTask>,
    records_events: bool,
    keeps_tasks: bool,
    may_read_all: bool,
    takes: fn(&Question) -> Duration,
}

/// An observer, its director, and what is under way between them.
struct Sim {
    observer: Observer,
    director: Fake,
    now: Duration,
    wall: Cell<u64>,
    under_way: Vec<(Duration, Question)>,
    asked: BTreeMap<&'static str, usize>,
    most_readings: usize,
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn error(operation: Operation, cause: Cause) -> ClientError {
    ClientError { operation, cause }
}

fn too_late(operation: Operation) -> ClientError {
    error(operation, Cause::Transport(TransportError::Timeout(TIMEOUT)))
}

fn name_of(question: &Question) -> &'static str {
    match question {
        Question::Deployments => "list",
        Question::Events { .. } => "events",
        Question::Tasks { .. } => "tasks",
        Question::Deployment(_) => "reading",
    }
}

impl Fake {
    fn deploy(&mut self, name: &str, port: u16, now: Duration) {
        self.ports.insert(name.to_owned(), port);
        let id = self.tasks.len() as u64 + 1;
        if self.keeps_tasks {
            let description = "create deployment".to_owned();
            self.tasks.push(EndedTask { id, description, deployment: Some(name.to_owned()) });
        }
        if self.records_events {
            self.events.push(Event {
                id: (self.events.len() + 1).to_string(),
                timestamp: EPOCH + i64::try_from(now.as_secs()).unwrap(),
                object_type: "lock".to_owned(),
                action: "release".to_owned(),
                task: Some(id.to_string()),
                deployment: Some(name.to_owned()),
                ..Event::default()
            });
        }
    }

    fn answer(&self, question: Question, now: Duration) -> Answer {
        let in_time = (self.takes)(&question) < TIMEOUT;
        let answered = |operation: Operation| if in_time { Ok(()) } else { Err(too_late(operation)) };
        let clock = EPOCH + i64::try_from(now.as_secs()).unwrap();
        match question {
            Question::Deployments => Answer::Deployments(answered(Operation::Deployments).and_then(|()| self.list())),
            Question::Events { after } => {
                let later = self.events.iter().rev().filter(|event| after.is_none_or(|after| event.timestamp > after));
                let events = later.take(200).cloned().collect();
                Answer::Events(answered(Operation::Events).map(|()| (events, Some(clock))))
            }
            Question::Tasks { limit, of_every_kind } => {
                let tasks = self.tasks.iter().rev().take(limit as usize).cloned().collect();
                Answer::Tasks { limit, of_every_kind, tasks: answered(Operation::Tasks).map(|()| tasks) }
            }
            Question::Deployment(name) => {
                let manifest = answered(Operation::Manifest(name.clone())).and_then(|()| self.manifest(&name));
                let instances = answered(Operation::Instances(name.clone())).map(|()| vec![instance()]);
                Answer::Deployment(name, Reading { manifest, instances })
            }
        }
    }

    fn list(&self) -> Result<Vec<DeploymentRow>, ClientError> {
        let says = "Require one of the scopes: bosh.admin, bosh.read".to_owned();
        let lacking = || error(Operation::Rights, Cause::Unauthorized(Some(says)));
        let row = |name: &String| DeploymentRow { name: name.clone(), ..DeploymentRow::default() };
        if self.may_read_all { Ok(self.ports.keys().map(row).collect()) } else { Err(lacking()) }
    }

    fn manifest(&self, name: &str) -> Result<Option<String>, ClientError> {
        let body = ErrorBody { code: 70_000, description: "no such deployment".to_owned() };
        let gone = || error(Operation::Manifest(name.to_owned()), Cause::Status { status: 404, error: Some(body) });
        let port = self.ports.get(name).ok_or_else(gone)?;
        Ok(Some(format!(
            "instance_groups: [{{name: web, jobs: [{{name: app, expose_ports: [{{name: http, number: {port}}}]}}]}}]"
        )))
    }
}

fn instance() -> InstanceRow {
    InstanceRow {
        job: "web".into(),
        index: Some(0),
        id: "uuid".into(),
        ips: vec!["10.0.0.1".into()],
        expects_vm: true,
        ..InstanceRow::default()
    }
}

impl Sim {
    /// With so many deployments, each of which exposes port 1.
    fn with(count: usize, takes: fn(&Question) -> Duration) -> Self {
        let mut director = Fake {
            ports: BTreeMap::new(),
            events: Vec::new(),
            tasks: Vec::new(),
            records_events: true,
            keeps_tasks: true,
            may_read_all: true,
            takes,
        };
        for number in 0..count {
            director.deploy(&format!("d{number:04}"), 1, Duration::ZERO);
        }
        Self {
            observer: Observer::new(ObserverSettings::default()),
            director,
            now: Duration::ZERO,
            wall: Cell::new(1_000_000),
            under_way: Vec::new(),
            asked: BTreeMap::new(),
            most_readings: 0,
        }
    }

    /// Read once, and so late that what was told in the beginning is no news.
    fn settled(count: usize, takes: fn(&Question) -> Duration) -> Self {
        let mut sim = Self::with(count, takes);
        sim.runs_until(seconds(3_600), |sim| sim.observer.known().complete);
        let later = sim.now + seconds(120);
        sim.runs_until(later, |_| false);
        sim.asked.clear();
        sim.most_readings = 0;
        sim
    }

    fn moment(&self) -> Moment {
        Moment { elapsed: self.now, wall: Timestamp(self.wall.get()) }
    }

    fn tick(&mut self) {
        self.now += TICK;
        let (done, under_way) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, _)| *at <= self.now);
        self.under_way = under_way;
        let done: Vec<(Duration, Question)> = done;
        for (_, question) in done {
            let answer = self.director.answer(question, self.now);
            self.observer.take(answer, self.moment());
        }
        for question in self.observer.due(self.moment()) {
            *self.asked.entry(name_of(&question)).or_default() += 1;
            self.under_way.push((self.now + (self.director.takes)(&question).min(TIMEOUT), question));
        }
        let readings = self.under_way.iter().filter(|(_, question)| name_of(question) == "reading").count();
        self.most_readings = self.most_readings.max(readings);
    }

    /// Runs until something holds, and says how long that took; none when it does not.
    fn runs_until(&mut self, deadline: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> Option<Duration> {
        let begun = self.now;
        while self.now < deadline {
            self.tick();
            if holds(self) {
                return Some(self.now - begun);
            }
        }
        None
    }

    fn port(&mut self, name: &str) -> Option<u16> {
        let inventory = self.observer.known().inventory;
        let deployment = inventory.deployments.iter().find(|deployment| deployment.name == name)?;
        Some(deployment.groups.first()?.jobs.first()?.ports.first()?.number)
    }

    /// Deploys and says how long it took until that was seen.
    fn sees_a_deploy(&mut self, name: &str, port: u16) -> Option<Duration> {
        self.director.deploy(name, port, self.now);
        let deadline = self.now + seconds(600);
        self.runs_until(deadline, |sim| sim.port(name) == Some(port))
    }

    fn error(&mut self) -> Option<String> {
        self.observer.known().error.map(|error| err_report::Report::new(error.as_ref()).to_string())
    }
}

fn quick(_: &Question) -> Duration {
    Duration::from_millis(20)
}

/// As a director with a thousand deployments and slow tables.
fn slow_tables(question: &Question) -> Duration {
    match question {
        Question::Deployment(_) => Duration::from_millis(800),
        _ => Duration::from_millis(50),
    }
}

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
    let reread =
        |sim: &Sim| sim.under_way.iter().any(|(_, question)| *question == Question::Deployment("d0001".into()));
    let deadline = sim.now + seconds(5);
    let took = sim.runs_until(deadline, |sim| reread(sim)).unwrap();
    assert!(took <= seconds(1) + TICK * 3, "{took:?}");
    let until = sim.now + seconds(60);
    sim.runs_until(until, |_| false);
    assert!(sim.asked["list"] >= listed_before + 5, "the list is asked for meanwhile");
}

#[test]
fn deployments_that_are_never_answered_hold_up_no_other() {
    fn five_are_silent(question: &Question) -> Duration {
        match question {
            Question::Deployment(name) if name.as_str() < "d0005" => TIMEOUT * 2,
            _ => Duration::from_millis(50),
        }
    }
    let mut sim = Sim::with(40, five_are_silent);
    let took = sim.runs_until(seconds(300), |sim| sim.observer.known().complete).unwrap();
    assert!(took < seconds(70), "they are refused after the time-out, and the others do not wait for that: {took:?}");
    for port in 2..20 {
        // They have news as well.
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
fn known_events_are_not_fetched_again_and_again() {
    let mut sim = Sim::settled(3, quick);
    sim.sees_a_deploy("d0001", 2).unwrap();
    let until = sim.now + seconds(120);
    sim.runs_until(until, |_| false);
    let Question::Events { after } = sim.events_question() else { unreachable!() };
    let newest = sim.director.events.last().unwrap().timestamp;
    assert!(after.unwrap() > newest, "asked after {after:?}, the newest is of {newest}");
}

impl Sim {
    fn events_question(&mut self) -> Question {
        loop {
            self.tick();
            let asked = self.under_way.iter().find(|(_, question)| name_of(question) == "events");
            if let Some((_, question)) = asked {
                return question.clone();
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
        let (moment, next_at) = (sim.moment(), sim.observer.next_at(sim.moment()));
        let answers_wake_it = !sim.under_way.is_empty();
        assert!(answers_wake_it || next_at <= moment.elapsed + seconds(10), "{next_at:?}");
        if next_at > moment.elapsed + TICK {
            assert_eq!(sim.observer.due(moment), [], "nothing is due before it says so");
        }
        sim.tick();
    }
}
