//! Rules of other software, memory, and the machine.

use std::{collections::BTreeMap, fs};

use boshy_tests::chaos::{FLEET, Scene, Violation, Vm};

use crate::{
    driver::Lab,
    neighbours::{DUMP, OTHERS},
};

/// Resident memory of a process, in kB. The programs are debug builds, whose pages count as well.
const BOUNDS: [(&str, u64); 3] = [("bin/boshy agent", 120_000), ("bin/boshy pilot", 200_000), ("bin/envoy ", 300_000)];
/// Each process: resident memory and arguments.
const PROCESSES: &str = r#"for process in /proc/[0-9]*; do
    resident=$(awk "/^VmRSS:/ { print \$2 }" $process/status 2>/dev/null)
    [ -z "$resident" ] || printf '%s %s\n' "$resident" "$(tr '\0\n' '  ' < $process/cmdline 2>/dev/null)"
done"#;

/// The rules of other software on each VM, as they were.
#[derive(Default)]
pub(super) struct Witness {
    rules: BTreeMap<Vm, String>,
    /// The largest that were seen, by program.
    pub(super) resident: BTreeMap<&'static str, u64>,
}

impl Witness {
    /// Adds rules of other software where there are none: on new VMs and rebooted ones.
    pub(super) fn put_rules(&mut self, lab: &Lab) {
        for vm in FLEET {
            let name = vm.to_string();
            if !lab.holds(&name, "nft list table inet bosh_agent >/dev/null 2>&1") {
                lab.sh(&name, OTHERS);
                self.rules.insert(vm, lab.sh(&name, DUMP));
            }
        }
    }

    /// What is different, or larger than it may be.
    pub(super) fn violations(&mut self, lab: &Lab, scene: Scene) -> Vec<Violation> {
        let rules: Vec<Violation> = self.rules.iter().filter_map(|(vm, before)| different(lab, *vm, before)).collect();
        let vms = FLEET.iter().chain(scene.pilots()).copied();
        let memory: Vec<Violation> = vms.flat_map(|vm| self.memory(lab, vm)).collect();
        rules.into_iter().chain(memory).collect()
    }

    fn memory(&mut self, lab: &Lab, vm: Vm) -> Vec<Violation> {
        let seen = lab.sh(&vm.to_string(), PROCESSES);
        let mut found = Vec::new();
        for line in seen.lines() {
            let Some((resident, arguments)) = line.split_once(' ') else { continue };
            let resident: u64 = resident.parse().unwrap();
            let Some((program, bound)) = BOUNDS.into_iter().find(|(program, _)| arguments.contains(program)) else {
                continue;
            };
            let most = self.resident.entry(program).or_default();
            *most = resident.max(*most);
            if resident > bound {
                found.push(Violation::Memory { process: format!("{program} of {vm}"), resident, bound });
            }
        }
        found
    }
}

/// How busy the machine is. A kernel whose queue is full drops packets of any VM, also on the way from a program to
/// another of the same VM, and only TCP sends them again.
pub(super) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let queues = read("/proc/net/softnet_stat");
    // A line for each processor: packets, packets dropped, and so on, in hexadecimal.
    let dropped = queues.lines().filter_map(|queue| u64::from_str_radix(queue.split(' ').nth(1)?, 16).ok());
    format!("load {}, {} packets dropped since boot", read("/proc/loadavg").trim(), dropped.sum::<u64>())
}

/// A VM that was rebooted or replaced since has none of the rules.
fn different(lab: &Lab, vm: Vm, before: &str) -> Option<Violation> {
    let name = vm.to_string();
    if !lab.holds(&name, "nft list table inet bosh_agent >/dev/null 2>&1") {
        return None;
    }
    let now = lab.sh(&name, DUMP);
    (now != before).then_some(Violation::Rules { vm, now })
}
