//! Reported changes, and the reliability of those who report them.
//!
//! The recording of events can be switched off in a director, which nothing reports: old events remain. So each source,
//! called a witness (events, ended tasks), is compared with changes that are found without it. A witness that did not
//! report such a change is not relied upon until it reports one again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a witness may take to report a change that was found already.
const GRACE: Duration = Duration::from_secs(15);
/// The same for a task that has ended: its events are recorded earlier.
const GRACE_AFTER_ITS_END: Duration = Duration::from_secs(3);
/// How long before its discovery a change may have been reported.
const BEFORE: Duration = Duration::from_secs(60);

/// How soon a deployment is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A change is in progress: from time to time.
    Soon,
    /// A change has ended: at once.
    Now,
}

/// Subject of a report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Deployment(String),
    Task(u64),
}

/// The changes that a witness reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ChangeReport {
    /// Deployments to read again.
    pub(super) deployments: BTreeMap<String, Urgency>,
    /// These deployments, and other subjects that were named, such as those of a change that has begun.
    pub(super) named: BTreeSet<Subject>,
    /// Whether configs have to be read again.
    pub(super) configs: bool,
    /// Whether there may have been more changes than were reported.
    pub(super) missed_some: bool,
}

/// A source of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    Events,
    Tasks,
}

/// All witnesses.
#[derive(Default)]
pub(super) struct Witnesses {
    events: Testimony,
    tasks: Testimony,
    found: BTreeMap<Subject, Duration>,
}

#[derive(Default)]
struct Testimony {
    trust: Trust,
    told: BTreeMap<Subject, Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Unknown,
    Trusted,
    CaughtSilent,
}

impl Subject {
    fn grace(&self) -> Duration {
        match self {
            Self::Deployment(_) => GRACE,
            Self::Task(_) => GRACE_AFTER_ITS_END,
        }
    }
}

impl Witnesses {
    /// Handles a report. `ever` says whether the witness has ever reported anything, even long ago.
    pub(super) fn hear(&mut self, witness: Witness, report: &ChangeReport, ever: bool, now: Duration) {
        let testimony = self.of(witness);
        if !report.named.is_empty() || (ever && testimony.trust == Trust::Unknown) {
            testimony.trust = Trust::Trusted;
        }
        testimony.told.retain(|_, at| now.saturating_sub(*at) <= BEFORE + GRACE);
        testimony.told.extend(report.named.iter().map(|subject| (subject.clone(), now)));
        if witness == Witness::Tasks {
            // The end of a task is a change that events report, too.
            let tasks = report.named.iter().filter(|subject| matches!(subject, Subject::Task(_)));
            tasks.for_each(|task| self.find(task, now));
        }
    }

    /// A change was found without a witness.
    pub(super) fn find(&mut self, subject: &Subject, now: Duration) {
        self.found.entry(subject.clone()).or_insert(now);
    }

    /// Judges the witnesses by the changes found some time ago.
    pub(super) fn judge(&mut self, now: Duration) {
        let is_ripe = |(subject, at): &(Subject, Duration)| now >= *at + subject.grace();
        let (ripe, fresh) = std::mem::take(&mut self.found).into_iter().partition(is_ripe);
        self.found = fresh;
        let ripe: BTreeMap<Subject, Duration> = ripe;
        for (subject, at) in &ripe {
            for testimony in [&mut self.events, &mut self.tasks] {
                let told = testimony.told.get(subject).is_some_and(|told| *told + BEFORE >= *at);
                if !told && testimony.trust == Trust::Trusted {
                    testimony.trust = Trust::CaughtSilent;
                }
            }
        }
    }

    /// Whether a witness can be relied upon.
    pub(super) fn trusts(&self, witness: Witness) -> bool {
        let testimony = match witness {
            Witness::Events => &self.events,
            Witness::Tasks => &self.tasks,
        };
        testimony.trust == Trust::Trusted
    }

    fn of(&mut self, witness: Witness) -> &mut Testimony {
        match witness {
            Witness::Events => &mut self.events,
            Witness::Tasks => &mut self.tasks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn a(name: &str) -> Subject {
        Subject::Deployment(name.to_owned())
    }

    fn of(subjects: &[Subject]) -> ChangeReport {
        ChangeReport { named: subjects.iter().cloned().collect(), ..ChangeReport::default() }
    }

    fn trusted(witnesses: &Witnesses) -> (bool, bool) {
        (witnesses.trusts(Witness::Events), witnesses.trusts(Witness::Tasks))
    }

    #[test]
    fn who_never_said_anything_is_not_trusted_and_who_did_is() {
        let mut witnesses = Witnesses::default();
        witnesses.hear(Witness::Events, &of(&[]), false, at(0));
        witnesses.hear(Witness::Tasks, &of(&[]), true, at(0));
        assert_eq!(trusted(&witnesses), (false, true));
    }

    #[test]
    fn who_kept_silent_about_a_change_is_not_trusted_until_it_speaks_again() {
        let mut witnesses = Witnesses::default();
        for witness in [Witness::Events, Witness::Tasks] {
            witnesses.hear(witness, &of(&[]), true, at(0));
        }
        // A task reports a change that events never report.
        witnesses.hear(Witness::Events, &of(&[a("a")]), true, at(99));
        witnesses.hear(Witness::Tasks, &of(&[a("a"), Subject::Task(7)]), true, at(100));
        witnesses.judge(at(102));
        assert_eq!(trusted(&witnesses), (true, true), "it may still come");
        witnesses.judge(at(103));
        assert_eq!(trusted(&witnesses), (false, true));
        witnesses.hear(Witness::Events, &of(&[]), true, at(120));
        assert_eq!(trusted(&witnesses), (false, true), "old ones prove nothing");
        witnesses.hear(Witness::Events, &of(&[a("b")]), true, at(130));
        assert_eq!(trusted(&witnesses), (true, true));
        // A pass finds a change that neither reports.
        witnesses.find(&a("c"), at(300));
        witnesses.judge(at(315));
        assert_eq!(trusted(&witnesses), (false, false));
    }

    #[test]
    fn who_told_shortly_before_or_after_is_believed() {
        for (told, believed) in [(30, false), (50, true), (100, true), (110, true)] {
            let mut witnesses = Witnesses::default();
            if told < 100 {
                witnesses.hear(Witness::Events, &of(&[a("a")]), true, at(told));
            }
            witnesses.find(&a("a"), at(100));
            if told >= 100 {
                witnesses.hear(Witness::Events, &of(&[a("a")]), true, at(told));
            }
            witnesses.judge(at(115));
            assert_eq!(witnesses.trusts(Witness::Events), believed, "told at {told}, found at 100");
        }
    }
}
