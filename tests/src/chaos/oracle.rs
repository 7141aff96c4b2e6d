//! The judgement of requests.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use super::{Answer, Cost, Failure, Happening, Host, Kind, Request, Scene, TWIN, Target, Vm};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An instance of another service answered.
    Stranger {
        /// The caller's VM.
        from: Vm,
        /// The request.
        request: Request,
    },
    /// A request failed beyond what the faults of its time explain.
    Lost {
        /// The caller's VM.
        from: Vm,
        /// The request.
        request: Request,
    },
    /// A name that was unknown is answered, and does not lead to its service, which answers others.
    Early {
        /// The caller's VM.
        from: Vm,
        /// The request.
        request: Request,
    },
    /// A name has another address than before.
    Moved {
        /// The name.
        host: Host,
        /// Its addresses.
        vips: [Ipv4Addr; 2],
    },
    /// An address leads to another name than before.
    Shared {
        /// The address.
        vip: Ipv4Addr,
        /// Its names.
        hosts: [Host; 2],
    },
    /// A state that is not the right one, some time after the last fault.
    Unsettled {
        /// What is not right.
        what: String,
    },
    /// Rules or routes of other software are different.
    Rules {
        /// The VM.
        vm: Vm,
        /// The rules now, as `nft` and `ip` print them.
        now: String,
    },
    /// A process has more memory than it may.
    Memory {
        /// Its VM and name.
        process: String,
        /// Resident memory, in kB.
        resident: u64,
        /// The bound, in kB.
        bound: u64,
    },
}

/// Judges requests by the faults of their time. Each request is shown once; those of one VM in the order in which they
/// ended.
#[derive(Debug, Default)]
pub struct Oracle {
    vips: BTreeMap<Host, Ipv4Addr>,
    hosts: BTreeMap<Ipv4Addr, Host>,
    /// The services that a caller has found unknown and not reached since.
    unknown: BTreeMap<(Vm, Host), Unknown>,
    scene: Scene,
}

/// A service that is unknown on a VM.
#[derive(Debug)]
struct Unknown {
    since: u64,
    /// When any other caller was answered: from then on it is known to be there.
    reached: Option<u64>,
}

impl Oracle {
    /// One that knows what faults cost in this scene.
    pub fn of(scene: Scene) -> Self {
        Self { scene, ..Self::default() }
    }

    /// The promises that a request from a VM shows to be broken.
    pub fn judge(&mut self, from: Vm, request: &Request, happenings: &[Happening]) -> Vec<Violation> {
        let mut found = self.addresses(request);
        let target = Target::of(&request.to);
        match &request.answer {
            Answer::From(instance) => {
                let group = instance.rsplit_once('/').map_or(instance.as_str(), |(group, _)| group);
                if target.is_none_or(|target| target.group != group) {
                    found.push(Violation::Stranger { from, request: request.clone() });
                }
                self.unknown.remove(&(from, request.to.clone()));
                for ((_, host), unknown) in &mut self.unknown {
                    if *host == request.to && request.begun >= unknown.since {
                        unknown.reached.get_or_insert(request.ended);
                    }
                }
            }
            Answer::Failed { failure, .. } => {
                if target.is_some_and(|target| target.group != TWIN) {
                    found.extend(self.failed(from, request, *failure, happenings));
                }
            }
        }
        found
    }

    /// A name keeps its address, and an address its name.
    fn addresses(&mut self, request: &Request) -> Vec<Violation> {
        let mut found = Vec::new();
        let Some(vip) = request.vip else { return found };
        let host = &request.to;
        if let Some(before) = self.vips.insert(host.clone(), vip).filter(|before| *before != vip) {
            found.push(Violation::Moved { host: host.clone(), vips: [before, vip] });
        }
        if let Some(before) = self.hosts.insert(vip, host.clone()).filter(|before| before != host) {
            found.push(Violation::Shared { vip, hosts: [before, host.clone()] });
        }
        found
    }

    fn failed(&mut self, from: Vm, request: &Request, failure: Failure, happenings: &[Happening]) -> Option<Violation> {
        let is_absence = |happening: &&Happening| {
            happening.fault.costs(self.scene).iter().any(|cost| matches!(cost, Cost::Absent(_)))
        };
        let mut explaining =
            happenings.iter().filter(|happening| happening.explains(self.scene, from, request, failure)).peekable();
        if explaining.peek().is_none() {
            return Some(Violation::Lost { from, request: request.clone() });
        }
        if !explaining.all(|happening| is_absence(&happening)) {
            return None;
        }
        let key = (from, request.to.clone());
        if failure == Failure::Name {
            self.unknown.entry(key).or_insert(Unknown { since: request.begun, reached: None });
            return None;
        }
        let reached = self.unknown.get(&key).and_then(|unknown| unknown.reached);
        let early = request.kind == Kind::Short && reached.is_some_and(|reached| reached <= request.begun);
        early.then(|| Violation::Early { from, request: request.clone() })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger { from, request } => write!(f, "another service answered {from}: {}", Shown(request)),
            Self::Lost { from, request } => {
                write!(f, "no fault explains that {from} got no answer: {}", Shown(request))
            }
            Self::Early { from, request } => {
                write!(f, "a name was answered on {from} before it led somewhere: {}", Shown(request))
            }
            Self::Moved { host, vips: [before, now] } => write!(f, "{host} moved from {before} to {now}"),
            Self::Shared { vip, hosts: [before, now] } => write!(f, "{vip} was of {before} and is of {now}"),
            Self::Unsettled { what } => write!(f, "not the right state in time: {what}"),
            Self::Rules { vm, now } => write!(f, "rules of others are different on {vm}:\n{now}"),
            Self::Memory { process, resident, bound } => {
                write!(f, "{process} has {resident} kB resident, more than {bound} kB")
            }
        }
    }
}

struct Shown<'a>(&'a Request);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { begun, ended, to, kind, vip, answer } = self.0;
        write!(f, "{kind:?} request to {to} at {vip:?}, {begun} to {ended} ms: {answer:?}")
    }
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
