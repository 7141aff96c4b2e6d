//! What can happen to a mesh.

use std::fmt;

use super::Vm;

/// A process of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// `boshy pilot`.
    Pilot,
    /// `boshy agent`, the process that serves.
    Agent,
    /// Its parent, which holds the DNS sockets.
    AgentParent,
    /// Envoy.
    Envoy,
    /// Its parent.
    EnvoyParent,
    /// The sample service.
    Program,
}

/// A director that answers, but not what is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// 503 for everything.
    Unavailable,
    /// Each answer takes some seconds.
    Slow,
    /// Each answer ends in the middle.
    HalfBodies,
    /// Each answer is a page of a proxy.
    NotJson,
    /// One list of deployments is empty.
    NoDeployments,
    /// One list of instances is empty.
    NoInstances,
    /// One list of instances has no addresses.
    NoAddresses,
    /// One manifest is empty.
    NoManifest,
    /// One deployment is not found.
    NotFound,
    /// The latest events are missing, as if they had not happened yet.
    OldEvents,
}

/// A fault, or a change by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An actor panics.
    Panic {
        /// The VM of its process.
        vm: Vm,
        /// Its name.
        actor: &'static str,
    },
    /// A process is killed by SIGKILL.
    Kill {
        /// Its VM.
        vm: Vm,
        /// The process.
        process: Process,
    },
    /// A process is stopped by SIGSTOP for a while.
    Freeze {
        /// Its VM.
        vm: Vm,
        /// The process.
        process: Process,
    },
    /// The director does not tell the truth for a while.
    Lying(Lie),
    /// No pilot can connect to the director for a while.
    DirectorAway,
    /// A pilot and a VM do not reach each other for a while.
    PilotAway {
        /// The pilot's VM.
        pilot: Vm,
        /// The VM.
        from: Vm,
    },
    /// A pilot and the VMs of a group do not reach each other for a while.
    GroupAway {
        /// The pilot's VM.
        pilot: Vm,
        /// The group.
        group: &'static str,
    },
    /// The network interface of a VM is down for a while.
    Unplugged {
        /// The VM.
        vm: Vm,
    },
    /// A VM is rebooted.
    Reboot {
        /// The VM.
        vm: Vm,
    },
    /// Another program removes boshy's rules and its route.
    RulesRemoved {
        /// The VM.
        vm: Vm,
    },
    /// The state directories of a VM's agent and pilot cannot be written for a while.
    ReadOnlyState {
        /// The VM.
        vm: Vm,
    },
    /// The file system of a VM's state directory is full for a while.
    DiskFull {
        /// The VM.
        vm: Vm,
    },
    /// The same, and meanwhile a process is killed, so that it starts with a full disk.
    KillOnFullDisk {
        /// The VM.
        vm: Vm,
        /// The process.
        process: Process,
    },
    /// The wall clock of a VM jumps, and jumps back after a while.
    ClockJumps {
        /// The VM.
        vm: Vm,
        /// Seconds by which it is fast meanwhile; negative when it is slow.
        by: i64,
    },
    /// While a process of the mesh is restarted, another program takes its port, for a while.
    PortTaken {
        /// The VM.
        vm: Vm,
        /// The port.
        port: u16,
    },
    /// An operator deletes the common table of virtual IPs.
    TableDeleted,
    /// An operator makes the first version of the common table the latest.
    TableRolledBack,
    /// An operator writes something into the common table that is no table, and deletes it after a while.
    TableEdited,
    /// `banana` has one more instance for a while.
    Scaled,
    /// Group `cherry` is renamed to its twin for a while.
    Renamed,
    /// Deployment `orchard` is deleted, and added again.
    Deleted,
    /// Deployment `orchard` is deleted, and another one with the twin's group has its name for a while.
    Replaced,
}

impl Fault {
    /// The VM that it befalls, if it is one.
    pub fn vm(&self) -> Option<Vm> {
        match *self {
            Self::Panic { vm, .. }
            | Self::Kill { vm, .. }
            | Self::Freeze { vm, .. }
            | Self::PilotAway { from: vm, .. }
            | Self::Unplugged { vm }
            | Self::Reboot { vm }
            | Self::RulesRemoved { vm }
            | Self::ReadOnlyState { vm }
            | Self::DiskFull { vm }
            | Self::KillOnFullDisk { vm, .. }
            | Self::ClockJumps { vm, .. }
            | Self::PortTaken { vm, .. } => Some(vm),
            Self::Lying(_)
            | Self::DirectorAway
            | Self::GroupAway { .. }
            | Self::TableDeleted
            | Self::TableRolledBack
            | Self::TableEdited
            | Self::Scaled
            | Self::Renamed
            | Self::Deleted
            | Self::Replaced => None,
        }
    }

    /// Whether it is over as soon as it has happened.
    pub fn is_momentary(&self) -> bool {
        matches!(
            self,
            Self::Panic { .. }
                | Self::Kill { .. }
                | Self::Reboot { .. }
                | Self::RulesRemoved { .. }
                | Self::TableDeleted
                | Self::TableRolledBack
        )
    }

    /// The deployment that it changes.
    pub fn changes(&self) -> Option<&'static str> {
        match self {
            Self::Scaled => Some("sample-deployment"),
            Self::Renamed | Self::Deleted | Self::Replaced => Some("orchard"),
            _ => None,
        }
    }

    /// The instance that cannot answer meanwhile.
    pub fn takes(&self) -> Option<Vm> {
        match *self {
            Self::Kill { vm, process: Process::Program }
            | Self::Freeze { vm, process: Process::Program }
            | Self::Unplugged { vm }
            | Self::Reboot { vm } => Some(vm),
            _ => None,
        }
    }

    /// Whether it concerns what the director tells the pilots.
    pub fn concerns_director(&self) -> bool {
        matches!(self, Self::Lying(_) | Self::DirectorAway) || self.concerns_table()
    }

    /// Whether it concerns the common table of virtual IPs.
    pub fn concerns_table(&self) -> bool {
        matches!(self, Self::TableDeleted | Self::TableRolledBack | Self::TableEdited)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pilot => "pilot",
            Self::Agent => "agent",
            Self::AgentParent => "agent's parent",
            Self::Envoy => "Envoy",
            Self::EnvoyParent => "Envoy's parent",
            Self::Program => "program",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { vm, actor } => write!(f, "{actor} of {vm} panics"),
            Self::Kill { vm, process } => write!(f, "{process} of {vm} is killed"),
            Self::Freeze { vm, process } => write!(f, "{process} of {vm} is stopped"),
            Self::Lying(lie) => write!(f, "the director lies: {lie:?}"),
            Self::DirectorAway => f.write_str("the director is away"),
            Self::PilotAway { pilot, from } => write!(f, "{pilot} and {from} are cut off from each other"),
            Self::GroupAway { pilot, group } => write!(f, "{pilot} and all of {group} are cut off from each other"),
            Self::DiskFull { vm } => write!(f, "the disk of {vm} is full"),
            Self::KillOnFullDisk { vm, process } => write!(f, "the disk of {vm} is full when {process} is killed"),
            Self::ClockJumps { vm, by } => write!(f, "the clock of {vm} jumps by {by:+} s"),
            Self::PortTaken { vm, port } => write!(f, "port {port} of {vm} is taken"),
            Self::TableDeleted => f.write_str("the common table is deleted"),
            Self::TableRolledBack => f.write_str("the common table is rolled back"),
            Self::TableEdited => f.write_str("the common table is edited by hand"),
            Self::Unplugged { vm } => write!(f, "{vm} is unplugged"),
            Self::Reboot { vm } => write!(f, "{vm} reboots"),
            Self::RulesRemoved { vm } => write!(f, "the rules of {vm} are removed"),
            Self::ReadOnlyState { vm } => write!(f, "state of {vm} is read-only"),
            Self::Scaled => f.write_str("banana is scaled"),
            Self::Renamed => f.write_str("cherry is renamed"),
            Self::Replaced => f.write_str("orchard is deleted and replaced by another"),
            Self::Deleted => f.write_str("orchard is deleted and added again"),
        }
    }
}
