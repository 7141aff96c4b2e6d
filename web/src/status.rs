//! What either role shows of itself at `/status`. Field names are an interface: people and scripts read them.
//!
//! Times are seconds since the Unix epoch. A field without a value is `null` and not left out, so that its name can be found.

mod agent;
mod pilot;

pub use agent::{AgentStatus, DnsStatus, EnvoyStatus, Lack, NamesStatus, PilotLink, RouteStatus, RulesStatus};
pub use pilot::{
    ConvergenceStatus, DeploymentStatus, DirectorStatus, PilotStatus, PoolStatus, ServiceStatus, SnapshotStatus,
    XdsStatus,
};
use serde::Serialize;

use crate::Page;

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
