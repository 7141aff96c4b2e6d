//! The lab's status as tables.

use tabled::{builder::Builder, settings::Style};

use crate::protocol::{LabStatus, ServiceStatus, VmStatus};

/// Renders VMs, services and problems.
pub(crate) fn render(status: &LabStatus) -> String {
    let mut parts = Vec::new();
    if status.vms.is_empty() {
        parts.push("no VMs".to_owned());
    } else {
        parts.push(table(["INSTANCE", "ADDRESS", "ZONE", "JOBS"], &status.vms, |vm| {
            [instance(vm, &status.vms), vm.ip.to_string(), vm.az.clone(), jobs(vm)]
        }));
    }
    if !status.services.is_empty() {
        parts.push(table(["SERVICE", "VIRTUAL IP", "PORTS", "INSTANCES"], &status.services, |service| {
            let ServiceStatus { hostname, vip, ports, instances } = service;
            let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            [hostname.clone(), vip.to_string(), ports, instances.to_string()]
        }));
    }
    parts.extend(status.problems.iter().map(|problem| format!("problem: {problem}")));
    parts.join("\n\n")
}

/// The short name, where that is unambiguous.
fn instance(vm: &VmStatus, all: &[VmStatus]) -> String {
    let short = vm.name.short();
    if all.iter().filter(|other| other.name.short() == short).count() > 1 { vm.name.to_string() } else { short }
}

/// One line per job.
fn jobs(vm: &VmStatus) -> String {
    let text = |job: &crate::vm::protocol::JobStatus| {
        let restarts = if job.restarts > 0 { format!(" (restarts: {})", job.restarts) } else { String::new() };
        format!("{} {}{restarts}", job.name, job.state.as_str())
    };
    vm.jobs.iter().map(text).collect::<Vec<_>>().join("\n")
}

fn table<T, const N: usize>(head: [&str; N], rows: &[T], row: impl Fn(&T) -> [String; N]) -> String {
    let mut builder = Builder::default();
    builder.push_record(head);
    for item in rows {
        builder.push_record(row(item));
    }
    builder.build().with(Style::psql()).to_string()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
