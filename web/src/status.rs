//! What each role shows of itself at `/status`. Field names are an interface that people and scripts read.
//!
//! Times are seconds since the Unix epoch. A field without a value is `null` rather than left out, so that readers can
//! see its name.

mod agent;
mod mtls;
mod pilot;

pub use agent::{
    AgentStatus, CertificateStatus, DnsStatus, EnvoyStatus, InspectionStatus, NamesStatus, OwnIdentity, OwnStop,
    PilotLink, RouteStatus, RulesStatus, TunnelsStatus,
};
pub use mtls::{Attestation, ChangeStatus, IdentityStatus, MtlsStatus, RefusedRequest, ReportStatus};
pub use pilot::{
    ConfigStatus, ConvergenceStatus, DeploymentStatus, DirectorStatus, PilotStatus, PoolStatus, ServiceStatus,
    SnapshotStatus, StopStatus, XdsStatus,
};
use serde::Serialize;

use crate::Page;

/// A resource that a role needs and does not have now. The role picks it up automatically once it is available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// Of the agent: `address`, `pilot`, `envoy`, `configuration`, `difference`, `settings`, `envoy_settings`,
    /// `ingress`, `rules`, `route`, `log` or `disk`, and `dns`, `http`, `ads` or `handler` for a socket that is taken. Of
    /// the pilot: `director`, `configs`, `leases`, `shared_leases`, `facts`, `latest_leases`, `identities`, `roots`,
    /// `modes`, `log` or `state_dir`.
    pub what: &'static str,
    /// When it was first missing.
    pub since: u64,
    /// Why it is missing.
    pub reason: String,
    /// What an operator can do, in full sentences.
    pub remedy: String,
}

impl Lack {
    /// This lack with the time of the same one `before`, if there was one.
    #[must_use]
    pub fn lasting<'b>(self, before: impl IntoIterator<Item = &'b Self>) -> Self {
        let known = before.into_iter().find(|lack| lack.what == self.what);
        Self { since: known.map_or(self.since, |lack| lack.since), ..self }
    }

    /// What is to be said once of what lacks now, after what lacked before.
    pub fn change<'n>(before: Option<&Self>, now: Option<&'n Self>) -> Option<LackChange<'n>> {
        match (before, now) {
            (Some(before), Some(now)) => (before.reason != now.reason).then_some(LackChange::Lacks(now)),
            (None, now) => now.map(LackChange::Lacks),
            (Some(_), None) => Some(LackChange::Ended),
        }
    }

    fn measure(lacking: &[Self], page: &mut Page) {
        let rows = lacking.iter().map(|lack| (vec![("what", lack.what.to_owned())], 1));
        page.gauges("lacking", "1 for each thing that the role has to do without", rows);
    }
}

/// A change of one lack that the log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LackChange<'l> {
    /// It begins, or its reason is another one.
    Lacks(&'l Lack),
    /// It is over.
    Ended,
}

/// Readiness of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    ready: bool,
    ready_reason: Option<String>,
}

impl Readiness {
    /// The role is ready.
    pub fn ready() -> Self {
        Self { ready: true, ready_reason: None }
    }

    /// The role is not ready, for this reason.
    pub fn waiting(reason: impl Into<String>) -> Self {
        Self { ready: false, ready_reason: Some(reason.into()) }
    }

    fn verdict(&self) -> Result<(), String> {
        self.ready_reason.clone().map_or(Ok(()), Err)
    }

    fn measure(&self, page: &mut Page) {
        page.gauge("ready", "1 while the role can do its work", u64::from(self.ready));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(reason: &str) -> Lack {
        Lack { what: "leases", since: 1, reason: reason.to_owned(), remedy: String::new() }
    }

    #[test]
    fn a_lack_is_told_when_it_begins_has_another_reason_and_ends() {
        let (full, away) = (lack("the disk is full"), lack("the disk is away"));
        assert_eq!(Lack::change(None, Some(&full)), Some(LackChange::Lacks(&full)));
        assert_eq!(Lack::change(Some(&full), Some(&full)), None);
        assert_eq!(Lack::change(Some(&full), Some(&away)), Some(LackChange::Lacks(&away)));
        assert_eq!(Lack::change(Some(&away), None), Some(LackChange::Ended));
        assert_eq!(Lack::change(None, None), None);
    }
}
