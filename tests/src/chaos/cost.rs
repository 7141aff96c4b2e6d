//! What each fault may cost.

use std::fmt;

use super::{Answer, FLEET, Failure, Fault, Process, Request, Scene, Target, Vm};

/// Time in which a process that was killed, or a VM that was away, serves as before.
const RECOVERY: u64 = 15_000;
/// Difference between what is recorded and what happens, in milliseconds.
const SLACK: u64 = 500;

/// A fault that has happened, with times in milliseconds of [`super::now`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The fault.
    pub fault: Fault,
    /// When it began.
    pub begun: u64,
    /// When it was over; `None` while it lasts.
    pub over: Option<u64>,
}

/// Requests that a fault may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// All requests from this VM, until it has recovered.
    From(Vm),
    /// Requests from this VM that need a name, until it has recovered.
    Names(Vm),
    /// Requests to this instance that had been begun when the fault began, and connections on which it has answered.
    Instance(Vm),
    /// All requests to the service of this group: a connection is made and never served.
    Silent(&'static str),
    /// Connections on which this instance has answered. It stops in order, so that no other one is lost.
    Stop(Vm),
    /// All requests to the service of this group, because it is not there.
    Absent(&'static str),
}

impl Fault {
    /// What it may cost in a scene. What is not listed costs nothing.
    pub fn costs(&self, scene: Scene) -> Vec<Cost> {
        match *self {
            Self::Kill { vm, process } | Self::KillOnFullDisk { vm, process } => killed(vm, process, scene),
            Self::Freeze { vm, process } => frozen(vm, process, scene),
            Self::Unplugged { vm } | Self::Reboot { vm } => vec![Cost::From(vm), Cost::Instance(vm)],
            // The agent removes its rules when it stops in order.
            Self::RulesRemoved { vm } | Self::PortTaken { vm, .. } => vec![Cost::From(vm)],
            Self::Scaled => vec![Cost::Stop(Vm { group: "banana", index: 2 })],
            Self::Renamed | Self::Deleted | Self::Replaced => {
                let vms = FLEET.into_iter().filter(|vm| vm.group == "cherry").map(Cost::From);
                vms.chain([Cost::Absent("cherry")]).collect()
            }
            Self::Panic { .. }
            | Self::Lying(_)
            | Self::DirectorAway
            | Self::PilotAway { .. }
            | Self::GroupAway { .. }
            | Self::ReadOnlyState { .. }
            | Self::DiskFull { .. }
            | Self::ClockJumps { .. }
            | Self::TableDeleted
            | Self::TableRolledBack
            | Self::TableEdited => Vec::new(),
        }
    }
}

fn killed(vm: Vm, process: Process, scene: Scene) -> Vec<Cost> {
    match process {
        Process::Pilot => Vec::new(),
        // The kept sockets hold questions meanwhile, for as long as a resolver waits.
        Process::Agent | Process::AgentParent => vec![Cost::Names(vm)],
        // They are the end of tunnels to the instance.
        Process::Envoy | Process::EnvoyParent if scene.tunnels => vec![Cost::From(vm), Cost::Instance(vm)],
        Process::Envoy | Process::EnvoyParent => vec![Cost::From(vm)],
        Process::Program => vec![Cost::Instance(vm)],
    }
}

fn frozen(vm: Vm, process: Process, scene: Scene) -> Vec<Cost> {
    match process {
        Process::Envoy if scene.tunnels => vec![Cost::From(vm), Cost::Silent(vm.group)],
        Process::EnvoyParent if scene.tunnels => vec![Cost::Silent(vm.group)],
        // Parents serve no program.
        Process::Pilot | Process::AgentParent | Process::EnvoyParent => Vec::new(),
        Process::Agent => vec![Cost::Names(vm)],
        Process::Envoy => vec![Cost::From(vm)],
        Process::Program => vec![Cost::Silent(vm.group)],
    }
}

impl Happening {
    /// Whether a request was running while the fault lasted or its VM recovered.
    pub fn overlaps(&self, request: &Request) -> bool {
        let over = self.over.map_or(u64::MAX, |over| over + RECOVERY);
        request.ended + SLACK >= self.begun && request.begun <= over
    }

    /// Whether the failure of a request from a VM is within what the fault may cost in a scene.
    pub fn explains(&self, scene: Scene, from: Vm, request: &Request, failure: Failure) -> bool {
        self.overlaps(request)
            && self.fault.costs(scene).into_iter().any(|cost| self.is_cost(cost, from, request, failure))
    }

    fn is_cost(&self, cost: Cost, from: Vm, request: &Request, failure: Failure) -> bool {
        let group = Target::of(&request.to).map(|target| target.group);
        match cost {
            Cost::From(vm) => vm == from,
            Cost::Names(vm) => vm == from && failure == Failure::Name,
            Cost::Silent(silent) | Cost::Absent(silent) => group == Some(silent),
            Cost::Instance(vm) => {
                let had_begun = request.begun <= self.begun + SLACK;
                group == Some(vm.group) && (had_begun || is_on_connection_to(vm, request))
            }
            Cost::Stop(vm) => is_on_connection_to(vm, request),
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, begun, over } = self;
        match over {
            Some(over) => write!(f, "{begun} to {over} ms: {fault}"),
            None => write!(f, "{begun} ms to now: {fault}"),
        }
    }
}

/// Whether a failed request was sent on a connection to this instance. A connection's first request may have gone to
/// any.
fn is_on_connection_to(vm: Vm, request: &Request) -> bool {
    match &request.answer {
        Answer::Failed { instance: Some(instance), .. } => *instance == vm.to_string(),
        _ => false,
    }
}
