//! What either role shows of itself at `/status`. Field names are an interface: people and scripts read them.
//!
//! Times are seconds since the Unix epoch. A field without a value is `null` and not left out, so that its name can be found.

mod agent;
mod pilot;

pub use agent::{
    AgentStatus, DnsStatus, EnvoyStatus, InspectionStatus, NamesStatus, PilotLink, RouteStatus, RulesStatus,
};
pub use pilot::{
    ConvergenceStatus, DeploymentStatus, DirectorStatus, PilotStatus, PoolStatus, ServiceStatus, SnapshotStatus,
    XdsStatus,
};
use serde::Serialize;

use crate::Page;

/// Something that a role needs and does not have now. It takes it up by itself when it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// Of the agent `address`, `pilot`, `envoy`, `configuration`, `difference`, `settings`, `rules`, `route` or `disk`, and `dns`, `http`, `ads` or `handler` for a
    /// socket that is taken; of the pilot `director`, `configs`, `leases`, `facts` or `state_dir`.
    pub what: &'static str,
    /// Since when.
    pub since: u64,
    /// Why it is not there.
    pub reason: String,
    /// What an operator can do, as a sentence.
    pub remedy: String,
}

impl Lack {
    fn measure(lacking: &[Self], page: &mut Page) {
        let rows = lacking.iter().map(|lack| (vec![("what", lack.what.to_owned())], 1));
        page.gauges("lacking", "1 for each thing that the role has to do without", rows);
    }
}

/// Whether a role can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    ready: bool,
    ready_reason: Option<String>,
}

impl Readiness {
    /// It can.
    pub fn ready() -> Self {
        Self { ready: true, ready_reason: None }
    }

    /// It cannot, for this reason.
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
