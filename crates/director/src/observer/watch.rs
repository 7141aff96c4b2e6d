//! The observer: which query to send now, and how a reply changes the facts, the schedule and the trust in the
//! witnesses.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use boshy_mesh::{Inventory, Timestamp};

use super::{
    ClockReading, ConfigsReading, DirectorQuery, DirectorReply, Observation, ObserverSettings, Reading,
    agenda::{Agenda, Reason},
    cadence::Cadence,
    configs::Configs,
    events::EventLog,
    facts::Facts,
    tasks::{self, TaskLog},
    witnesses::{ChangeReport, Subject, Urgency, Witness, Witnesses},
};
use crate::{
    client::ClientError,
    wire::{DeploymentRow, EndedTask, Event},
};

/// Number of unanswered requests in a row after which no deployment is read until the director answers. One deployment
/// that is too slow must not block the others, but a director that is down must not get a thousand requests.
const MAX_SILENT: u32 = 3;

/// How long after the start deployments wait for configs. A director that does not answer this request does not hold up
/// the rest. When it answers later, deployments are read again if necessary.
const WAITS_FOR_CONFIGS: Duration = Duration::from_secs(5);

/// Up to this number, deployments missing in a list are requested by name. If more are missing, the list is more likely
/// wrong than all of them deleted, which a second list shows at lower cost.
const MAX_ASKED_BY_NAME: usize = 4;

/// Decides what to ask one director when, and what its answers mean.
pub struct Observer {
    settings: ObserverSettings,
    facts: Facts,
    agenda: Agenda,
    witnesses: Witnesses,
    list: Cadence,
    events: Asked<EventLog>,
    tasks: Asked<TaskLog>,
    configs: Configs,
    reached_back: Option<Duration>,
    every_kind_at: Option<Duration>,
    listed: Option<Timestamp>,
    list_error: Option<Arc<ClientError>>,
    silent: u32,
}

/// A log, the timing of its request, and the error of the last one.
struct Asked<L> {
    log: L,
    cadence: Cadence,
    was_tried: bool,
    error: Option<Arc<ClientError>>,
}

impl<L> Asked<L> {
    fn new(log: L) -> Self {
        Self { log, cadence: Cadence::default(), was_tried: false, error: None }
    }
}

impl Observer {
    /// An observer without facts.
    pub fn new(settings: ObserverSettings) -> Self {
        let configs = Configs::new(settings.limits, &Inventory::default());
        Self::with(settings, Facts::new(settings.limits, settings.confirm_after), configs)
    }

    /// An observer that starts with facts of an earlier life, so that a deployment that cannot be read at present does
    /// not count as removed.
    pub fn resuming(settings: ObserverSettings, inventory: Arc<Inventory>) -> Self {
        let configs = Configs::new(settings.limits, &inventory);
        Self::with(settings, Facts::resuming(settings.limits, settings.confirm_after, inventory), configs)
    }

    fn with(settings: ObserverSettings, facts: Facts, configs: Configs) -> Self {
        Self {
            settings,
            facts,
            agenda: Agenda::new(settings.full_pass, settings.confirm_after),
            witnesses: Witnesses::default(),
            list: Cadence::default(),
            events: Asked::new(EventLog::new(settings.event_overlap)),
            tasks: Asked::new(TaskLog::default()),
            configs,
            reached_back: None,
            every_kind_at: None,
            listed: None,
            list_error: None,
            silent: 0,
        }
    }

    /// The queries to send now. Each counts as sent: [`Observer::take`] expects its reply.
    pub fn due(&mut self, now: ClockReading) -> Vec<DirectorQuery> {
        let now = now.elapsed;
        let relied_on_events = self.tells(Witness::Events);
        self.witnesses.judge(now);
        if relied_on_events && !self.tells(Witness::Events) {
            self.tasks.cadence.hurry(now);
        }
        let mut due = Vec::new();
        if self.list.is_due(now) {
            self.list.begin(now);
            due.push(DirectorQuery::Deployments);
        }
        if self.events.cadence.is_due(now) {
            self.events.cadence.begin(now);
            due.push(DirectorQuery::Events { after: self.since(now) });
        }
        if self.tasks.cadence.is_due(now) {
            self.tasks.cadence.begin(now);
            due.push(self.tasks_query(now));
        }
        if self.list_was_tried() && self.configs.cadence.is_due(now) {
            self.configs.cadence.begin(now);
            due.push(DirectorQuery::Configs);
        }
        if self.may_read(now) {
            let period = self.period_of_pass();
            let names = self.agenda.begin(now, period);
            due.extend(names.into_iter().map(|name| self.reading(name)));
        }
        due
    }

    fn reading(&self, name: String) -> DirectorQuery {
        let links = self.settings.links && (!self.agenda.reads_for_the_pass(&name) || !self.facts.knows_links(&name));
        let reading = match self.configs.wanted() {
            Some(known) => DirectorQuery::DeploymentWithConfigs(name, known),
            None => DirectorQuery::Deployment(name),
        };
        if links { DirectorQuery::WithLinks(Box::new(reading)) } else { reading }
    }

    /// Without events, resurrections and repairs are visible only as tasks that people did not order.
    fn tasks_query(&mut self, now: Duration) -> DirectorQuery {
        let is_time = self.every_kind_at.is_none_or(|at| now >= at + self.settings.list);
        let of_every_kind = is_time && self.tasks.was_tried && !self.tells(Witness::Events);
        if of_every_kind {
            self.every_kind_at = Some(now);
        }
        let limit = if of_every_kind { tasks::SEVERAL } else { self.tasks.log.limit(now) };
        DirectorQuery::Tasks { limit, of_every_kind }
    }

    /// Start of the next request for events: once per list period it reaches back by the full overlap, otherwise by
    /// less.
    fn since(&mut self, now: Duration) -> Option<i64> {
        if self.reached_back.is_some_and(|at| now < at + self.settings.list) {
            return self.events.log.shortly_after();
        }
        self.reached_back = Some(now);
        self.events.log.after()
    }

    /// When [`Observer::due`] has to be called again at the latest, as time since the observer's start.
    pub fn next_at(&self, now: ClockReading) -> Duration {
        let configs = Some(&self.configs.cadence).filter(|_| self.list_was_tried());
        let cadences = [&self.list, &self.events.cadence, &self.tasks.cadence].into_iter().chain(configs);
        let cadences = cadences.filter_map(Cadence::next_at);
        let reading =
            self.may_read(now.elapsed).then(|| self.agenda.next_at(now.elapsed, self.period_of_pass())).flatten();
        cadences.chain(reading).min().unwrap_or(now.elapsed + self.settings.list)
    }

    /// The list tells whether the client may read everything, without which no list of configs is accepted.
    fn list_was_tried(&self) -> bool {
        self.listed.is_some() || self.list_error.is_some()
    }

    /// Deployments are read once the start of the reports and the configs are known, and while the director answers.
    fn may_read(&self, now: Duration) -> bool {
        let configs = self.configs.was_tried || now >= WAITS_FOR_CONFIGS;
        self.events.was_tried && self.tasks.was_tried && configs && self.silent < MAX_SILENT
    }

    fn period_of_pass(&self) -> Option<Duration> {
        let told = self.tells(Witness::Events) || self.tells(Witness::Tasks);
        let period = if told { self.settings.full_pass } else { self.settings.full_pass_without_news };
        (!self.list.is_failing()).then(|| period.min(self.settings.full_pass))
    }

    fn tells(&self, witness: Witness) -> bool {
        let error = match witness {
            Witness::Events => &self.events.error,
            Witness::Tasks => &self.tasks.error,
        };
        error.is_none() && self.witnesses.trusts(witness)
    }

    /// Handles an answer.
    pub fn take(&mut self, answer: DirectorReply, now: ClockReading) {
        self.count_silence(&answer, now.elapsed);
        match answer {
            DirectorReply::Deployments(rows) => self.take_list(rows, now),
            DirectorReply::Events(answer) => self.take_events(answer, now.elapsed),
            DirectorReply::Tasks { limit, of_every_kind, tasks } => {
                self.take_tasks(limit, of_every_kind, tasks, now.elapsed);
            }
            DirectorReply::Configs(reading) => self.take_configs(reading, now.elapsed),
            DirectorReply::Deployment(name, reading) => self.take_reading(&name, reading, now),
        }
    }

    /// When the director answers after a silence, everything is requested again.
    fn count_silence(&mut self, answer: &DirectorReply, now: Duration) {
        let was_down = self.silent >= MAX_SILENT;
        self.silent = if answer.is_silence() { self.silent.saturating_add(1) } else { 0 };
        if was_down && self.silent == 0 {
            let Self { list, events, tasks, configs, .. } = self;
            for cadence in [list, &mut events.cadence, &mut tasks.cadence, &mut configs.cadence] {
                cadence.recover(now);
            }
        }
    }

    fn take_list(&mut self, rows: Result<Vec<DeploymentRow>, ClientError>, now: ClockReading) {
        let (period, elapsed) = (self.settings.list, now.elapsed);
        match rows {
            Ok(rows) => {
                self.list.answered(period, elapsed);
                let is_first = self.listed.is_none();
                let listed = self.facts.list(&rows, elapsed);
                self.agenda.keep(self.facts.names(), elapsed);
                if !is_first {
                    self.find(listed.changed.iter(), elapsed);
                }
                if listed.missing.len() <= MAX_ASKED_BY_NAME {
                    listed.missing.iter().for_each(|name| self.agenda.want(name, elapsed, Duration::ZERO));
                }
                if listed.doubtful {
                    self.list.hurry(elapsed + self.settings.confirm_after);
                }
                (self.listed, self.list_error) = (Some(now.wall), None);
            }
            Err(error) => {
                self.list.failed(period, period * 10, elapsed);
                self.list_error = Some(Arc::new(error));
            }
        }
    }

    fn take_events(&mut self, answer: Result<(Vec<Event>, Option<i64>), ClientError>, now: Duration) {
        let is_first = !std::mem::replace(&mut self.events.was_tried, true);
        match answer {
            Ok((events, clock)) => {
                self.events.error = None;
                let report = self.events.log.take(&events, clock, now);
                let report = if is_first { ChangeReport::default() } else { report };
                self.witnesses.hear(Witness::Events, &report, self.events.log.has_seen_any(), now);
                self.spread(&report, now);
                let steady = self.tells(Witness::Events) || !self.tells(Witness::Tasks);
                self.events.cadence.answered(self.look_or_list(steady), now);
            }
            Err(error) => {
                self.events.error = Some(Arc::new(error));
                // The start of the next request stays unchanged; tasks report what is missed in the meantime.
                self.reached_back = None;
                self.events.cadence.failed(self.settings.look, self.settings.list, now);
                self.tasks.cadence.hurry(now);
            }
        }
    }

    fn take_tasks(
        &mut self,
        limit: u32,
        of_every_kind: bool,
        answer: Result<Vec<EndedTask>, ClientError>,
        now: Duration,
    ) {
        self.tasks.was_tried = true;
        match answer {
            Ok(tasks) => {
                self.tasks.error = None;
                let (report, ask_more) = self.tasks.log.take(&tasks, limit, of_every_kind, now);
                self.witnesses.hear(Witness::Tasks, &report, self.tasks.log.has_seen_any(), now);
                self.spread(&report, now);
                self.tasks.cadence.answered(self.look_or_list(!self.tells(Witness::Events)), now);
                if ask_more {
                    self.tasks.cadence.hurry(now);
                }
            }
            Err(error) => {
                self.tasks.error = Some(Arc::new(error));
                self.tasks.cadence.failed(self.settings.look, self.settings.list, now);
            }
        }
    }

    /// Configs are read again after an event about them, and in every pass: a deletion is not reported, and without
    /// events nothing is.
    fn take_configs(&mut self, reading: ConfigsReading, now: Duration) {
        // A client with the rights of a team gets a part of each list, with status 200.
        let partial = self.list_error.clone().filter(|error| error.lacks_right());
        if let Some(error) = partial {
            self.configs.refuse(error);
        } else if self.configs.take(reading) {
            self.agenda.want_all(now);
        }
        self.facts.take_configs(&self.configs);
        let told = self.tells(Witness::Events);
        let period = if told { self.settings.full_pass } else { self.settings.full_pass_without_news };
        match self.configs.error {
            Some(_) => self.configs.cadence.failed(self.settings.list.min(period), period, now),
            None => self.configs.cadence.answered(period, now),
        }
    }

    /// Period of a query: that of the request for changes, or that of the list.
    fn look_or_list(&self, looks: bool) -> Duration {
        if looks { self.settings.look } else { self.settings.list }
    }

    /// Schedules the deployments that were reported, and the list when one of them is not in it.
    fn spread(&mut self, report: &ChangeReport, now: Duration) {
        for (name, urgency) in &report.deployments {
            if self.agenda.knows(name) {
                let no_sooner = if *urgency == Urgency::Now { Duration::ZERO } else { self.settings.list };
                self.agenda.want(name, now, no_sooner);
            } else if self.listed.is_some() {
                self.list.hurry(now);
            }
        }
        if report.configs || report.missed_some {
            self.configs.cadence.hurry(now);
        }
        if report.missed_some {
            self.agenda.want_all(now);
        }
    }

    /// Schedules the deployments, by canonical names, of which `records.json` says something else; one not too often.
    pub fn recorded(&mut self, deployments: &BTreeSet<String>, now: ClockReading) {
        let known = self.facts.recorded_as(deployments);
        known.iter().for_each(|name| self.agenda.want(name, now.elapsed, self.settings.list));
        if known.len() < deployments.len() {
            self.list.hurry(now.elapsed);
        }
    }

    /// Records that deployments have changed, possibly without a report.
    fn find<'a>(&mut self, names: impl Iterator<Item = &'a String>, now: Duration) {
        names.for_each(|name| self.witnesses.find(&Subject::Deployment(name.clone()), now));
    }

    fn take_reading(&mut self, name: &str, mut reading: Reading, now: ClockReading) {
        match reading.configs.take() {
            Some(Ok(applied)) => {
                let (configs, missing) = self.configs.of_deployment(applied);
                self.facts.apply(name, configs, missing);
            }
            Some(Err(error)) => self.configs.error = Some(Arc::new(error)),
            None => {}
        }
        let asked = self.agenda.asked_at(name).filter(|_| reading.instances.is_ok());
        let Some(taken) = self.facts.take(name, reading, now) else {
            self.agenda.keep(self.facts.names(), now.elapsed);
            return;
        };
        self.facts.asked(name, asked);
        let reason = self.agenda.end(name, taken.outcome, now.elapsed);
        if taken.denied {
            self.list.hurry(now.elapsed);
            self.agenda.keep(self.facts.names(), now.elapsed);
        } else if taken.changed && reason == Some(Reason::Pass) {
            self.find([name.to_owned()].iter(), now.elapsed);
            if self.settings.links {
                self.agenda.want(name, now.elapsed, Duration::ZERO);
            }
        }
    }

    /// The known facts, without asking the director.
    pub fn known(&mut self) -> Observation {
        // The failure of one witness is not reported as long as another one is reliable.
        let untold = |witness, error: &Option<Arc<ClientError>>| error.clone().filter(|_| !self.tells(witness));
        let error = self.list_error.clone();
        let error = error.or_else(|| self.events.error.clone());
        let error = error.or_else(|| untold(Witness::Events, &self.tasks.error));
        Observation {
            inventory: self.facts.inventory(),
            readings: self.facts.readings(),
            deployments: self.facts.statuses(),
            complete: self.facts.is_complete(),
            listed: self.listed,
            error,
            config_error: self.configs.error.clone(),
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
