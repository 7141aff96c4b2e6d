//! A simulated director, and an observer that reads it in virtual time.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use boshy_mesh::{CONFIG_TYPE, ConsumedLink, DeploymentLinks};

use super::super::*;
use crate::{
    client::{Cause, Operation, TransportError},
    observer::AppliedConfigs,
    wire::{Config, ErrorBody, InstanceRow},
};

/// The client's time-out.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The director's clock when the observer starts.
pub(super) const EPOCH: i64 = 1_795_446_868;

/// Answers like a director.
pub(super) struct Fake {
    pub(super) ports: BTreeMap<String, u16>,
    pub(super) events: Vec<Event>,
    pub(super) tasks: Vec<EndedTask>,
    pub(super) records_events: bool,
    pub(super) keeps_tasks: bool,
    pub(super) may_read_all: bool,
    /// Runtime configs: all versions with their ids. The latest of each name is in force.
    pub(super) runtime: Vec<Config>,
    pub(super) cloud: String,
    /// Configs that are written for the mesh, the latest versions.
    pub(super) mesh: Vec<Config>,
    pub(super) may_read_configs: bool,
    pub(super) tells_links: bool,
    pub(super) applied: BTreeMap<String, Vec<(u64, String)>>,
    pub(super) takes: fn(&DirectorQuery) -> Duration,
}

/// An observer, its director, and the requests in progress.
pub(super) struct Sim {
    pub(super) observer: Observer,
    pub(super) director: Fake,
    pub(super) now: Duration,
    pub(super) wall: Cell<u64>,
    pub(super) under_way: Vec<(Duration, DirectorQuery)>,
    pub(super) asked: BTreeMap<&'static str, usize>,
    pub(super) most_readings: usize,
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) fn error(operation: Operation, cause: Cause) -> ClientError {
    ClientError { operation, cause }
}

pub(super) fn too_late(operation: Operation) -> ClientError {
    error(operation, Cause::Transport(TransportError::Timeout(TIMEOUT)))
}

pub(super) fn name_of(query: &DirectorQuery) -> &'static str {
    match query {
        DirectorQuery::Deployments => "list",
        DirectorQuery::Events { .. } => "events",
        DirectorQuery::Tasks { .. } => "tasks",
        DirectorQuery::Configs => "configs",
        DirectorQuery::Deployment(_) | DirectorQuery::DeploymentWithConfigs(..) => "reading",
        DirectorQuery::WithLinks(_) => "reading with links",
    }
}

impl Fake {
    pub(super) fn deploy(&mut self, name: &str, port: u16, now: Duration) {
        self.ports.insert(name.to_owned(), port);
        let applied = self.latest().iter().map(|config| (config.id.parse().unwrap(), config.name.clone())).collect();
        self.applied.insert(name.to_owned(), applied);
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

    pub(super) fn answer(&self, query: DirectorQuery, now: Duration) -> DirectorReply {
        let in_time = (self.takes)(&query) < TIMEOUT;
        let answered = |operation: Operation| if in_time { Ok(()) } else { Err(too_late(operation)) };
        let clock = EPOCH + i64::try_from(now.as_secs()).unwrap();
        match query {
            DirectorQuery::Deployments => {
                DirectorReply::Deployments(answered(Operation::Deployments).and_then(|()| self.list()))
            }
            DirectorQuery::Events { after } => {
                let later = self.events.iter().rev().filter(|event| after.is_none_or(|after| event.timestamp > after));
                let events = later.take(200).cloned().collect();
                DirectorReply::Events(answered(Operation::Events).map(|()| (events, Some(clock))))
            }
            DirectorQuery::Tasks { limit, of_every_kind } => {
                let tasks = self.tasks.iter().rev().take(limit as usize).cloned().collect();
                DirectorReply::Tasks { limit, of_every_kind, tasks: answered(Operation::Tasks).map(|()| tasks) }
            }
            DirectorQuery::Configs => DirectorReply::Configs(ConfigsReading {
                runtime: answered(Operation::Configs("runtime")).and_then(|()| self.may_read("runtime", self.latest())),
                cloud: answered(Operation::Configs("cloud"))
                    .and_then(|()| self.may_read("cloud", vec![config(1, "default", &self.cloud)])),
                mesh: answered(Operation::Configs(CONFIG_TYPE))
                    .and_then(|()| self.may_read(CONFIG_TYPE, self.mesh.clone())),
            }),
            DirectorQuery::Deployment(name) => {
                let reading = self.reading(&name, &answered, None);
                DirectorReply::Deployment(name, reading)
            }
            DirectorQuery::DeploymentWithConfigs(name, known) => {
                let reading = self.reading(&name, &answered, Some(&known));
                DirectorReply::Deployment(name, reading)
            }
            DirectorQuery::WithLinks(query) => match self.answer(*query, now) {
                DirectorReply::Deployment(name, reading) => {
                    let links = answered(Operation::Links(name.clone())).and_then(|()| self.links(&name));
                    DirectorReply::Deployment(name, Reading { links: Some(links), ..reading })
                }
                other => other,
            },
        }
    }

    pub(super) fn reading(
        &self,
        name: &str,
        answered: &dyn Fn(Operation) -> Result<(), ClientError>,
        known: Option<&BTreeSet<u64>>,
    ) -> Reading {
        let configs = known.map(|known| {
            let versions = self.applied[name].clone();
            let is_unknown = |config: &&Config| {
                let id = config.id.parse().unwrap();
                versions.iter().any(|(version, _)| *version == id) && !known.contains(&id)
            };
            let unknown = self.runtime.iter().filter(is_unknown).cloned().collect();
            self.may_read("runtime", AppliedConfigs { versions, unknown })
        });
        Reading {
            manifest: answered(Operation::Manifest(name.to_owned())).and_then(|()| self.manifest(name)),
            instances: answered(Operation::Instances(name.to_owned())).map(|()| vec![instance()]),
            configs,
            links: None,
        }
    }

    /// Each deployment consumes a link whose provider has the number of its port.
    fn links(&self, name: &str) -> Result<DeploymentLinks, ClientError> {
        let failed = || error(Operation::Links(name.to_owned()), Cause::Status { status: 500, error: None });
        if !self.tells_links {
            return Err(failed());
        }
        let link = ConsumedLink { group: "web".into(), provider: self.ports[name].to_string() };
        Ok(DeploymentLinks { consumed: vec![link], ..DeploymentLinks::default() })
    }

    pub(super) fn may_read<T>(&self, kind: &'static str, what: T) -> Result<T, ClientError> {
        let refused = || error(Operation::Configs(kind), Cause::Unauthorized(None));
        self.may_read_configs.then_some(what).ok_or_else(refused)
    }

    pub(super) fn latest(&self) -> Vec<Config> {
        let is_latest = |config: &&Config| {
            let mut newest_first = self.runtime.iter().rev();
            newest_first.find(|other| other.name == config.name).is_some_and(|newest| newest.id == config.id)
        };
        self.runtime.iter().filter(is_latest).cloned().collect()
    }

    /// Stores a new version of a runtime config, with its event.
    pub(super) fn configure(&mut self, name: &str, content: &str, now: Duration) {
        self.runtime.push(config(self.runtime.len() as u64 + 1, name, content));
        self.tell_of_config("config/runtime", name, now);
    }

    /// Stores the latest version of a config for the mesh, with its event.
    pub(super) fn configure_mesh(&mut self, name: &str, content: &str, now: Duration) {
        let before = self.mesh.iter().position(|config| config.name == name).map(|index| self.mesh.remove(index));
        let id = before.map_or(0, |config| config.id.parse().unwrap()) + 1;
        self.mesh.push(config(id, name, content));
        self.tell_of_config("config/boshy", name, now);
    }

    fn tell_of_config(&mut self, object_type: &str, name: &str, now: Duration) {
        if self.records_events {
            self.events.push(Event {
                id: (self.events.len() + 1).to_string(),
                timestamp: EPOCH + i64::try_from(now.as_secs()).unwrap(),
                object_type: object_type.to_owned(),
                object_name: Some(name.to_owned()),
                action: "create".to_owned(),
                ..Event::default()
            });
        }
    }

    pub(super) fn list(&self) -> Result<Vec<DeploymentRow>, ClientError> {
        let says = "Require one of the scopes: bosh.admin, bosh.read".to_owned();
        let lacking = || error(Operation::Rights, Cause::Unauthorized(Some(says)));
        let row = |name: &String| DeploymentRow { name: name.clone(), ..DeploymentRow::default() };
        if self.may_read_all { Ok(self.ports.keys().map(row).collect()) } else { Err(lacking()) }
    }

    pub(super) fn manifest(&self, name: &str) -> Result<Option<String>, ClientError> {
        let body = ErrorBody { code: 70_000, description: "no such deployment".to_owned() };
        let gone = || error(Operation::Manifest(name.to_owned()), Cause::Status { status: 404, error: Some(body) });
        let port = self.ports.get(name).ok_or_else(gone)?;
        Ok(Some(format!(
            "instance_groups: [{{name: web, jobs: [{{name: app, expose_ports: [{{name: http, number: {port}}}]}}]}}]"
        )))
    }
}

pub(super) fn config(id: u64, name: &str, content: &str) -> Config {
    Config {
        content: content.to_owned(),
        id: id.to_string(),
        kind: String::new(),
        name: name.to_owned(),
        team: None,
        created_at: String::new(),
        current: true,
    }
}

pub(super) fn instance() -> InstanceRow {
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
    /// A simulation with this number of deployments, each exposing port 1.
    pub(super) fn with(count: usize, takes: fn(&DirectorQuery) -> Duration) -> Self {
        let mut director = Fake {
            ports: BTreeMap::new(),
            events: Vec::new(),
            tasks: Vec::new(),
            records_events: true,
            keeps_tasks: true,
            may_read_all: true,
            runtime: Vec::new(),
            cloud: "{}".to_owned(),
            mesh: Vec::new(),
            may_read_configs: true,
            tells_links: true,
            applied: BTreeMap::new(),
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

    /// A simulation in which everything was read once, so long ago that the initial events report nothing new.
    pub(super) fn settled(count: usize, takes: fn(&DirectorQuery) -> Duration) -> Self {
        let mut sim = Self::with(count, takes);
        sim.runs_until(seconds(3_600), |sim| sim.observer.known().complete);
        let later = sim.now + seconds(120);
        sim.runs_until(later, |_| false);
        sim.asked.clear();
        sim.most_readings = 0;
        sim
    }

    pub(super) fn clocks(&self) -> ClockReading {
        ClockReading { elapsed: self.now, wall: Timestamp(self.wall.get()) }
    }

    pub(super) fn tick(&mut self) {
        self.now += TICK;
        let (done, under_way) = std::mem::take(&mut self.under_way).into_iter().partition(|(at, _)| *at <= self.now);
        self.under_way = under_way;
        let done: Vec<(Duration, DirectorQuery)> = done;
        for (_, query) in done {
            let answer = self.director.answer(query, self.now);
            self.observer.take(answer, self.clocks());
        }
        for query in self.observer.due(self.clocks()) {
            *self.asked.entry(name_of(&query)).or_default() += 1;
            self.under_way.push((self.now + (self.director.takes)(&query).min(TIMEOUT), query));
        }
        let readings = self.under_way.iter().filter(|(_, query)| name_of(query) == "reading").count();
        self.most_readings = self.most_readings.max(readings);
    }

    /// Runs until a condition holds. Returns the time it took; `None` when it does not hold by the deadline.
    pub(super) fn runs_until(
        &mut self,
        deadline: Duration,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let begun = self.now;
        while self.now < deadline {
            self.tick();
            if holds(self) {
                return Some(self.now - begun);
            }
        }
        None
    }

    pub(super) fn port(&mut self, name: &str) -> Option<u16> {
        let inventory = self.observer.known().inventory;
        let deployment = inventory.deployments.iter().find(|deployment| deployment.name == name)?;
        Some(deployment.groups.first()?.jobs.first()?.ports.first()?.number)
    }

    /// Deploys, and returns the time until the change was seen.
    pub(super) fn sees_a_deploy(&mut self, name: &str, port: u16) -> Option<Duration> {
        self.director.deploy(name, port, self.now);
        let deadline = self.now + seconds(600);
        self.runs_until(deadline, |sim| sim.port(name) == Some(port))
    }

    pub(super) fn error(&mut self) -> Option<String> {
        self.observer.known().error.map(|error| err_report::Report::new(error.as_ref()).to_string())
    }
}

pub(super) fn quick(_: &DirectorQuery) -> Duration {
    Duration::from_millis(20)
}

/// Response times like those of a director with a thousand deployments and slow tables.
pub(super) fn slow_tables(query: &DirectorQuery) -> Duration {
    match query {
        DirectorQuery::Deployment(_) => Duration::from_millis(800),
        _ => Duration::from_millis(50),
    }
}
