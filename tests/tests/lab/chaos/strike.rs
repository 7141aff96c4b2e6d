//! Lets faults happen in a lab, and ends them.

use std::{fmt::Write, thread, time::Duration};

use boshy_tests::chaos::{FLEET, Fault, Happening, Lie, PILOT, Planned, Process, Scene, TWIN, Vm, now};

use super::operator;
use crate::{
    driver::{AGENT, ENVOY, HTTPBIN, Lab, PILOT as PILOT_JOB},
    jumps, manifests,
    peers::Peer,
};

/// How late a slow director is.
const SLOW: &str = r#"{"delay":{"secs":3,"nanos":0}}"#;
const LIST: &str = "GET /deployments";
const MANIFEST: &str = "GET /deployments/:name";
const INSTANCES: &str = "GET /deployments/:name/instances";
const EVENTS: &str = "GET /events";
/// Number of events that a deploy of the fleet records at least.
const MISSING_EVENTS: &str = r#"{"without_first":20}"#;

/// What faults need of the run.
pub(super) struct Stage<'l> {
    pub(super) lab: &'l Lab,
    pub(super) scene: Scene,
    /// The common table at first, where there is one.
    pub(super) table: Option<&'l str>,
}

/// What is kept until a fault is over.
enum Held {
    Nothing,
    /// The program that has a port.
    Port(Peer),
    /// The id of a version of the common table.
    Version(String),
}

/// Lets a fault happen at its time, and says when it began and ended.
pub(super) fn strike(stage: &Stage<'_>, planned: &Planned) -> Happening {
    // The schedule's own time, not a wait for something.
    thread::sleep(Duration::from_millis(planned.after));
    let begun = now();
    let held = begin(stage, planned.fault);
    thread::sleep(Duration::from_millis(planned.lasts));
    end(stage, planned.fault, held);
    Happening { fault: planned.fault, begun, over: Some(now()) }
}

fn begin(stage: &Stage<'_>, fault: Fault) -> Held {
    let lab = stage.lab;
    match fault {
        Fault::PortTaken { vm, port } => return Held::Port(take_port(lab, vm, port)),
        Fault::TableEdited => return Held::Version(operator::edits_table(lab)),
        Fault::Panic { vm, actor } => {
            let port = if is_pilot(vm) { 8080 } else { 15020 };
            // The actor that serves this request may be the one that panics: there need not be an answer.
            attempt(lab, vm, &format!("curl -s --max-time 5 -X POST http://127.0.0.1:{port}/debug/panic/{actor}"));
        }
        Fault::Kill { vm, process } => send(lab, vm, process, "KILL"),
        Fault::Freeze { vm, process } => send(lab, vm, process, "STOP"),
        Fault::Lying(lie) => tell(lab, lie),
        Fault::DirectorAway => stage.scene.pilots().iter().for_each(|pilot| {
            refuse(lab, *pilot, DIRECTOR, "ip daddr 10.244.0.2 tcp dport 25555 reject with tcp reset");
        }),
        Fault::PilotAway { pilot, from } => cut_off(lab, pilot, &[from]),
        Fault::GroupAway { pilot, group } => cut_off(lab, pilot, &members(group)),
        Fault::Unplugged { vm } => attempt(lab, vm, "ip link set eth0 down"),
        Fault::Reboot { vm } => drop(lab.succeeds(["reboot", &vm.to_string()])),
        Fault::RulesRemoved { vm } => {
            attempt(lab, vm, "nft delete table inet boshy; ip route del 169.254.255.0/24 dev lo proto 176");
        }
        Fault::ReadOnlyState { vm } => attempt(lab, vm, &format!("chmod a-w {}", state_dir(vm))),
        Fault::DiskFull { vm } => attempt(lab, vm, &full_disk(&state_dir(vm))),
        Fault::KillOnFullDisk { vm, process } => {
            attempt(lab, vm, &full_disk(&state_dir(vm)));
            send(lab, vm, process, "KILL");
        }
        Fault::ClockJumps { vm, by } => attempt(lab, vm, &jumps::jump(by)),
        Fault::TableDeleted => operator::deletes_table(lab),
        Fault::TableRolledBack => operator::puts_table(lab, stage.table.unwrap()),
        Fault::Scaled => drop(lab.deploys(&manifests::sample(2, 3))),
        Fault::Renamed => drop(lab.deploys(&manifests::orchard_of(TWIN))),
        Fault::Replaced => drop(lab.deletes("orchard").deploys(&manifests::orchard_of(TWIN))),
        Fault::Deleted => drop(lab.deletes("orchard")),
    }
    Held::Nothing
}

fn end(stage: &Stage<'_>, fault: Fault, held: Held) {
    let lab = stage.lab;
    match held {
        Held::Nothing => {}
        // It ends now.
        Held::Port(program) => drop(program),
        Held::Version(id) => operator::deletes_version(lab, &id),
    }
    match fault {
        Fault::Panic { .. }
        | Fault::Kill { .. }
        | Fault::Reboot { .. }
        | Fault::RulesRemoved { .. }
        | Fault::PortTaken { .. }
        | Fault::TableDeleted
        | Fault::TableRolledBack
        | Fault::TableEdited => {}
        Fault::Freeze { vm, process } => send(lab, vm, process, "CONT"),
        Fault::Lying(_) => drop(lab.succeeds(["heal"])),
        Fault::DirectorAway => stage.scene.pilots().iter().for_each(|pilot| restore(lab, *pilot, DIRECTOR)),
        Fault::PilotAway { pilot, from } => restore(lab, pilot, &chaos_of(&[from])),
        Fault::GroupAway { pilot, group } => restore(lab, pilot, &chaos_of(&members(group))),
        Fault::Unplugged { vm } => attempt(lab, vm, "ip link set eth0 up"),
        Fault::ReadOnlyState { vm } => attempt(lab, vm, &format!("chmod u+w {}", state_dir(vm))),
        Fault::DiskFull { vm } | Fault::KillOnFullDisk { vm, .. } => {
            attempt(lab, vm, &disk_with_room(&state_dir(vm)));
        }
        Fault::ClockJumps { vm, .. } => attempt(lab, vm, jumps::NO_JUMP),
        Fault::Scaled => drop(lab.deploys(&manifests::small())),
        Fault::Renamed | Fault::Deleted => drop(lab.deploys(&manifests::orchard())),
        Fault::Replaced => drop(lab.deletes("orchard").deploys(&manifests::orchard())),
    }
}

/// Runs a command in a VM whose failure shows in what follows, if at all.
fn attempt(lab: &Lab, vm: Vm, script: &str) {
    drop(lab.run(["exec", &vm.to_string(), "--", "sh", "-c", script]));
}

/// Sends a signal to a process. It may just have ended, or be starting.
fn send(lab: &Lab, vm: Vm, process: Process, signal: &str) {
    let (job, is_parent) = match process {
        Process::Pilot => (PILOT_JOB, false),
        Process::Agent => (AGENT, false),
        Process::AgentParent => (AGENT, true),
        Process::Envoy => (ENVOY, false),
        Process::EnvoyParent => (ENVOY, true),
        Process::Program => (HTTPBIN, false),
    };
    let kept = format!("kept=$(cat /var/vcap/sys/run/bpm/{job}/{job}.pid)");
    let which = if is_parent { "$kept" } else { "$(pgrep -P $kept || echo $kept)" };
    attempt(lab, vm, &format!("{kept}; kill -{signal} {which}"));
}

/// Lets a program take a port of the mesh on a VM, and end whatever connects to it. It waits until the port's process
/// has stopped.
fn take_port(lab: &Lab, vm: Vm, port: u16) -> Peer {
    let job = if matches!(port, 15_001 | 8_001) { ENVOY } else { AGENT };
    let name = vm.to_string();
    drop(lab.run(["stop", &name, job]));
    let program = Peer::listening(lab, &name, &["visited", &port.to_string(), "close"]);
    drop(lab.run(["start", &name, job]));
    program
}

/// Name of the table of rules against the director.
const DIRECTOR: &str = "chaos_director";

/// Name of the table of rules against VMs.
fn chaos_of(vms: &[Vm]) -> String {
    vms.iter().fold("chaos".to_owned(), |mut name, vm| {
        let _ = write!(name, "_{}_{}", vm.group, vm.index);
        name
    })
}

fn members(group: &str) -> Vec<Vm> {
    FLEET.into_iter().filter(|vm| vm.group == group).collect()
}

fn cut_off(lab: &Lab, pilot: Vm, vms: &[Vm]) {
    let addresses: Vec<String> = vms.iter().map(|vm| lab.address(&vm.to_string())).collect();
    refuse(lab, pilot, &chaos_of(vms), &format!("ip daddr {{ {} }} drop", addresses.join(", ")));
}

/// Lets a VM's kernel reject or drop what it sends.
fn refuse(lab: &Lab, vm: Vm, table: &str, rule: &str) {
    let rules = format!(
        "add table inet {table}; add chain inet {table} out {{ type filter hook output priority 0; }}; \
         add rule inet {table} out {rule}"
    );
    attempt(lab, vm, &format!("nft '{rules}'"));
}

fn restore(lab: &Lab, vm: Vm, table: &str) {
    attempt(lab, vm, &format!("nft delete table inet {table}"));
}

/// A script that replaces a directory by a copy on a file system of its own, which has no room. What runs sees that as
/// well, because mounts of a VM propagate to its jobs.
fn full_disk(directory: &str) -> String {
    format!(
        "set -e; mkdir -p /run/full /run/roomy; mount --bind {directory} /run/roomy
        mount -t tmpfs -o size=4m tmpfs /run/full; cp -a {directory}/. /run/full/
        chown --reference={directory} /run/full; chmod --reference={directory} /run/full
        dd if=/dev/zero of=/run/full/filling bs=4k 2>/dev/null || :
        mount --bind /run/full {directory}"
    )
}

/// A script that takes that back. What was written meanwhile, after something else was removed, is kept.
fn disk_with_room(directory: &str) -> String {
    format!(
        "umount -l {directory}; rm /run/full/filling; cp -au /run/full/. /run/roomy/; umount -l /run/full /run/roomy"
    )
}

fn is_pilot(vm: Vm) -> bool {
    vm.group == PILOT.group
}

fn state_dir(vm: Vm) -> String {
    let path = if is_pilot(vm) { "store/bosh-pilot" } else { "data/virtual-ip-agent/state" };
    format!("/var/vcap/{path}")
}

fn tell(lab: &Lab, lie: Lie) {
    let always = |fault: &str| drop(lab.succeeds(["spoil", fault]));
    let once = |route: &str, fault: &str| drop(lab.succeeds(["spoil", fault, "--route", route, "--times", "1"]));
    match lie {
        Lie::Unavailable => always(r#"{"status":503}"#),
        Lie::Slow => always(SLOW),
        Lie::HalfBodies => always(r#""truncated_body""#),
        Lie::NotJson => always(r#""not_json""#),
        Lie::OldEvents => drop(lab.succeeds(["spoil", MISSING_EVENTS, "--route", EVENTS])),
        Lie::NoDeployments => once(LIST, r#""empty_list""#),
        Lie::NoInstances => once(INSTANCES, r#""empty_list""#),
        Lie::NoAddresses => once(INSTANCES, r#""no_addresses""#),
        Lie::NoManifest => once(MANIFEST, r#"{"body":"{\"manifest\":\"\"}"}"#),
        Lie::NotFound => once(MANIFEST, r#""gone""#),
    }
}
