//! Derives changed deployments from ended tasks. A director keeps tasks whether it records events or not.
//!
//! ```text
//!   GET /tasks?state=done,error,cancelled,timeout&limit=1   the last to end: known?
//!   GET /tasks?...&limit=20                                 no: which are new
//! ```
//!
//! Some databases sort them by their end in whole seconds, so that of two in one second either may come first. So after
//! a new task, several are requested for some seconds.

use std::{collections::BTreeSet, time::Duration};

use super::witnesses::{ChangeReport, Subject, Urgency};
use crate::wire::EndedTask;

/// Number of tasks to request when the last one is not known.
pub(super) const SEVERAL: u32 = 20;
/// How long to request several after a new one.
const AFTER_A_NEW_ONE: Duration = Duration::from_secs(3);
/// Number of ids to remember.
const REMEMBERED: usize = 500;
/// Tasks that change no instance and no manifest, by the beginning of their description.
const CHANGES_NOTHING: [&str; 8] = [
    "retrieve vm-stats",
    "fetch logs",
    "ssh",
    "run errand",
    "scan cloud",
    "snapshot",
    "create snapshot",
    "delete snapshot",
];

/// The tasks that are known to have ended.
#[derive(Default)]
pub(super) struct TaskLog {
    known: BTreeSet<u64>,
    begun: bool,
    several_until: Duration,
}

impl TaskLog {
    /// Number of tasks to request.
    pub(super) fn limit(&self, now: Duration) -> u32 {
        if self.begun && now >= self.several_until { 1 } else { SEVERAL }
    }

    /// Whether there has ever been a task.
    pub(super) fn has_seen_any(&self) -> bool {
        !self.known.is_empty()
    }

    /// Handles the answer to a request with `limit`. Returns whether to request more at once. Tasks of every kind may
    /// be too many to see all of them: a client that asks for statistics creates one per deployment.
    pub(super) fn take(
        &mut self,
        tasks: &[EndedTask],
        limit: u32,
        of_every_kind: bool,
        now: Duration,
    ) -> (ChangeReport, bool) {
        let new: Vec<&EndedTask> = tasks.iter().filter(|task| !self.known.contains(&task.id)).collect();
        let all_new = !new.is_empty() && new.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let is_short = limit < SEVERAL;
        let missed_some = self.begun && all_new && !is_short && !of_every_kind;
        let mut report = ChangeReport { missed_some, ..ChangeReport::default() };
        for task in new.iter().filter(|task| self.begun && is_change(task)) {
            if let Some(name) = &task.deployment {
                report.deployments.insert(name.clone(), Urgency::Now);
                report.named.extend([Subject::Deployment(name.clone()), Subject::Task(task.id)]);
            }
        }
        if self.begun && !report.named.is_empty() {
            self.several_until = now + AFTER_A_NEW_ONE;
        }
        let ask_more = all_new && is_short;
        self.begun = true;
        self.known.extend(tasks.iter().map(|task| task.id));
        if self.known.len() > REMEMBERED {
            // Tasks do not end in the order of their ids, so those listed now may be listed again.
            let listed = tasks.iter().map(|task| task.id);
            let newest = self.known.iter().rev().take(REMEMBERED / 2).copied();
            self.known = listed.chain(newest).collect();
        }
        (report, ask_more)
    }
}

fn is_change(task: &EndedTask) -> bool {
    !CHANGES_NOTHING.iter().any(|beginning| task.description.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: u64, description: &str, deployment: &str) -> EndedTask {
        EndedTask { id, description: description.to_owned(), deployment: Some(deployment.to_owned()) }
    }

    fn deploys(ids: &[u64]) -> Vec<EndedTask> {
        ids.iter().map(|id| ended(*id, "create deployment", &format!("d{id}"))).collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(report: &ChangeReport) -> Vec<&str> {
        report.deployments.keys().map(String::as_str).collect()
    }

    fn begun(ids: &[u64]) -> TaskLog {
        let mut log = TaskLog::default();
        assert_eq!(log.limit(at(0)), SEVERAL);
        assert!(!log.take(&deploys(ids), SEVERAL, false, at(0)).0.missed_some);
        log
    }

    #[test]
    fn one_task_is_asked_for_until_it_is_not_known() {
        let mut log = begun(&[3, 2, 1]);
        assert_eq!(log.limit(at(1)), 1);
        assert_eq!(log.take(&deploys(&[3]), 1, false, at(1)), (ChangeReport::default(), false));
        let (report, more) = log.take(&deploys(&[5]), 1, false, at(2));
        assert_eq!((names(&report), more), (vec!["d5"], true));
        assert_eq!(log.limit(at(2)), SEVERAL);
        let (report, more) = log.take(&deploys(&[5, 4, 3]), SEVERAL, false, at(2));
        assert_eq!((names(&report), more), (vec!["d4"], false));
    }

    #[test]
    fn two_that_end_in_one_second_are_both_seen_though_the_same_comes_first() {
        let mut log = begun(&[1]);
        log.take(&deploys(&[3]), 1, false, at(10));
        log.take(&deploys(&[3, 1]), SEVERAL, false, at(10));
        // Task 2 ends in the same second, and is sorted after the other.
        assert_eq!(log.limit(at(12)), SEVERAL);
        assert_eq!(names(&log.take(&deploys(&[3, 2, 1]), SEVERAL, false, at(12)).0), ["d2"]);
        assert_eq!(log.limit(at(15)), 1);
    }

    #[test]
    fn more_than_are_asked_for_means_that_some_were_missed() {
        let mut log = begun(&[1]);
        let many: Vec<u64> = (100..100 + u64::from(SEVERAL)).rev().collect();
        assert!(log.take(&deploys(&many), SEVERAL, false, at(1)).0.missed_some);
        assert!(!log.take(&deploys(&many), SEVERAL, false, at(2)).0.missed_some);
        assert!(
            !begun(&[1]).take(&deploys(&many), SEVERAL, true, at(1)).0.missed_some,
            "statistics of everything, say"
        );
    }

    #[test]
    fn what_changes_nothing_is_no_news() {
        for (description, changes) in [
            ("create deployment", true),
            ("delete deployment shop", true),
            ("scan and fix", true),
            ("apply resolutions", true),
            ("run errand smoke-tests from deployment shop", false),
            ("retrieve vm-stats", false),
            ("fetch logs", false),
            ("ssh: setup:{}", false),
        ] {
            let report = begun(&[1]).take(&[ended(7, description, "shop")], SEVERAL, true, at(1)).0;
            assert_eq!(names(&report) == ["shop"], changes, "{description}");
        }
    }
}
