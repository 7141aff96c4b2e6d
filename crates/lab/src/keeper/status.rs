//! What the lab is now.

use std::sync::Arc;

use super::{Keeper, mesh};
use crate::protocol::{LabStatus, VmStatus};

/// Looks at everything.
pub(super) async fn now(keeper: &Arc<Keeper>) -> LabStatus {
    let vms = keeper.fleet.alive().into_iter().map(|vm| VmStatus {
        name: vm.facts.name.clone(),
        id: vm.facts.id.clone(),
        az: vm.facts.az.clone(),
        ip: vm.facts.ip,
        jobs: vm.jobs(),
    });
    let vms = vms.collect();
    let problems = keeper.fleet.failures().into_iter().map(|(name, why)| format!("{name} could not be made: {why}"));
    let problems = keeper.world.wanted().problems.into_iter().chain(problems).collect();
    LabStatus { vms, services: mesh::services(keeper).await, problems }
}

/// The first line of an answer, for a message.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
