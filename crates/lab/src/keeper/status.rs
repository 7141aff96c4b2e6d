//! The lab's current status.

use std::sync::Arc;

use super::{mesh, state::Keeper};
use crate::protocol::{LabStatus, VmStatus};

/// Collects the whole status.
pub(super) async fn now(keeper: &Arc<Keeper>) -> LabStatus {
    let members = keeper.machines.fleet.all();
    let dead = members.iter().filter(|member| member.vm.is_none());
    let problems = dead.map(|member| {
        let name = &member.facts.name;
        format!("the agent of {name} does not answer; boot it again with `boshy lab reboot {}`", name.short())
    });
    let problems = problems.collect();
    let vms = members.into_iter().map(|member| VmStatus {
        alive: member.vm.is_some(),
        jobs: member.vm.map(|vm| vm.jobs()).unwrap_or_default(),
        ip: member.facts.address(),
        cid: member.facts.cid,
        name: member.facts.name,
        id: member.facts.spec.instance.id,
        az: member.facts.spec.instance.az,
    });
    let services = mesh::services(&keeper.machines).await;
    LabStatus { vms: vms.collect(), services, problems, notes: keeper.machines.fleet.notes() }
}

/// The first line of an answer, for use in a message.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
