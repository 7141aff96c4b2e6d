//! What the agents of the mesh report of their VMs, and how long it counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::Moment;

/// How often an agent repeats its report although nothing has changed.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// A report that is not repeated counts for so long: two of three in a row may be lost.
pub const REPORT_LIFE: Duration = Duration::from_secs(100);

/// What an agent reports of its VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentReport {
    /// Whether its Envoy has accepted all that tunnels to this VM need: listeners, routes and secrets.
    pub able: bool,
    /// SHA-256 of each root that its Envoy verifies peers by, in lower-case hexadecimal digits. Empty while Envoy has
    /// not accepted the VM's roots.
    pub roots: BTreeSet<String>,
    /// SHA-256 of the certificate of the authority that has issued the VM's certificate, in the same form.
    pub issuer: Option<String>,
    /// Whether the VM is about to stop, so that nobody should connect to it any more.
    pub stopping: bool,
}

/// The latest report of each instance, by its id. One that is not repeated is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportTable(BTreeMap<Arc<str>, Heard>);

/// A report, and when it was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The report.
    pub report: Arc<AgentReport>,
    /// When it was last repeated.
    pub at: Moment,
}

impl ReportTable {
    /// Records a report. Returns whether it says something else than the one before.
    pub fn record(&mut self, instance: &str, report: AgentReport, now: Moment) -> bool {
        if let Some(known) = self.0.get_mut(instance) {
            known.at = now;
            let is_new = *known.report != report;
            if is_new {
                known.report = Arc::new(report);
            }
            return is_new;
        }
        self.0.insert(instance.into(), Heard { report: Arc::new(report), at: now });
        true
    }

    /// Drops reports that no longer count. Returns whether there were any.
    pub fn sweep(&mut self, now: Moment) -> bool {
        let before = self.0.len();
        self.0.retain(|_, heard| now.since(heard.at) <= REPORT_LIFE);
        self.0.len() != before
    }

    /// Whether there is a report of an instance.
    pub fn has(&self, instance: &str) -> bool {
        self.0.contains_key(instance)
    }

    /// The reports, by instance.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &Heard)> {
        self.0.iter()
    }

    /// Ids of the instances that accept tunnels.
    pub fn able(&self) -> BTreeSet<String> {
        self.0.iter().filter(|(_, heard)| heard.report.able).map(|(id, _)| id.to_string()).collect()
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
