//! Schedules, drawn from a seed.

use std::fmt;

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng, seq::IndexedRandom};

use super::{FLEET, Fault, Lie, Process, Scene, Target, Vm};

/// Faults of one round, at most.
const AT_ONCE: usize = 5;
/// Draws for a place of a round. A place stays empty when none of them goes with the others.
const DRAWS: usize = 4;

/// The actors of a pilot, of which the last two are there when it shares its table and when it issues certificates.
pub const PILOT_ACTORS: [&str; 9] = [
    "vip_pool",
    "service_registry",
    "director_poller",
    "records_watch",
    "xds_server",
    "convergence",
    "http_server",
    "lease_agreement",
    "certificate_authority",
];
/// Those of a pilot with a table of its own and without an authority.
pub const PLAIN_PILOT_ACTORS: &[&str] = PILOT_ACTORS.split_at(7).0;
/// The actors of an agent.
pub const AGENT_ACTORS: [&str; 15] = [
    "address_finder",
    "pilot_exchange",
    "state_keeper",
    "identity_keeper",
    "reporter",
    "dns_server",
    "name_feed",
    "endpoint_follower",
    "served_gate",
    "xds_server",
    "netfilter_writer",
    "peer_watcher",
    "envoy_watcher",
    "lookout",
    "http_server",
];

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Milliseconds from the beginning of its round.
    pub after: u64,
    /// Milliseconds until it is over; 0 for what is over at once.
    pub lasts: u64,
    /// The fault.
    pub fault: Fault,
}

/// Faults that overlap. The mesh gets time to settle after each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round(pub Vec<Planned>);

/// Rounds without an end, the same for the same seed on every machine.
#[derive(Debug)]
pub struct Schedule {
    random: ChaCha8Rng,
    scene: Scene,
}

impl Schedule {
    /// The schedule of a seed in a scene.
    pub fn drawn(seed: u64, scene: Scene) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), scene }
    }

    /// The rounds with those of their faults whose text contains this, such as `is killed`.
    pub fn only(self, what: String) -> impl Iterator<Item = Round> {
        self.map(move |Round(round)| {
            Round(round.into_iter().filter(|planned| planned.fault.to_string().contains(&what)).collect())
        })
        .filter(|round| !round.0.is_empty())
    }

    fn planned(&mut self) -> Planned {
        let fault = self.fault();
        let lasts = if fault.is_momentary() { 0 } else { self.random.random_range(500..6000) };
        Planned { after: self.random.random_range(0..3000), lasts, fault }
    }

    /// Cheap faults are more frequent than those that take long.
    fn fault(&mut self) -> Fault {
        let (vm, pilot) = (self.one_of(&FLEET), self.one_of(self.scene.pilots()));
        // What concerns a table is drawn last, and only where there is one.
        let kinds = if self.scene.several_pilots { 121 } else { 117 };
        match self.random.random_range(0..kinds) {
            0..12 => Fault::Panic { vm, actor: self.one_of(&AGENT_ACTORS) },
            12..20 => Fault::Panic { vm: pilot, actor: self.one_of(&PILOT_ACTORS) },
            20..40 => Fault::Kill { vm, process: self.one_of(&OF_VM) },
            40..44 => Fault::Kill { vm: pilot, process: Process::Pilot },
            44..56 => Fault::Freeze { vm, process: self.one_of(&OF_VM) },
            56..60 => Fault::Freeze { vm: pilot, process: Process::Pilot },
            60..70 => Fault::Lying(self.one_of(&LIES)),
            70..73 => Fault::DirectorAway,
            73..77 => Fault::PilotAway { pilot, from: vm },
            77..80 => Fault::Unplugged { vm },
            80..83 => Fault::Unplugged { vm: pilot },
            83..86 => Fault::Reboot { vm },
            86..90 => Fault::RulesRemoved { vm },
            90..94 => Fault::ReadOnlyState { vm: self.any_vm() },
            94..96 => Fault::Scaled,
            96 => Fault::Renamed,
            97 => Fault::Replaced,
            98..100 => Fault::Deleted,
            100..102 => Fault::GroupAway { pilot, group: vm.group },
            102..106 => Fault::DiskFull { vm: self.any_vm() },
            106..109 => Fault::PortTaken { vm, port: self.one_of(self.scene.ports()) },
            109..112 => Fault::ClockJumps { vm, by: self.one_of(self.scene.jumps()) },
            112..114 => Fault::ClockJumps { vm: pilot, by: self.one_of(self.scene.jumps()) },
            114..116 => Fault::KillOnFullDisk { vm, process: self.one_of(&OF_AGENT) },
            116 => Fault::KillOnFullDisk { vm: pilot, process: Process::Pilot },
            117..119 => Fault::TableDeleted,
            119 => Fault::TableRolledBack,
            _ => Fault::TableEdited,
        }
    }

    fn any_vm(&mut self) -> Vm {
        if self.random.random_bool(0.3) { self.one_of(self.scene.pilots()) } else { self.one_of(&FLEET) }
    }

    fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        *these.choose(&mut self.random).expect("there is one")
    }
}

const OF_VM: [Process; 5] =
    [Process::Agent, Process::AgentParent, Process::Envoy, Process::EnvoyParent, Process::Program];
const OF_AGENT: [Process; 2] = [Process::Agent, Process::AgentParent];
const LIES: [Lie; 10] = [
    Lie::Unavailable,
    Lie::Slow,
    Lie::HalfBodies,
    Lie::NotJson,
    Lie::NoDeployments,
    Lie::NoInstances,
    Lie::NoAddresses,
    Lie::NoManifest,
    Lie::NotFound,
    Lie::OldEvents,
];

impl Iterator for Schedule {
    type Item = Round;

    fn next(&mut self) -> Option<Round> {
        let places = self.random.random_range(2..=AT_ONCE);
        let mut round: Vec<Planned> = Vec::new();
        for _ in 0..places {
            let draws: Vec<Planned> = (0..DRAWS).map(|_| self.planned()).collect();
            round.extend(
                draws.into_iter().find(|planned| round.iter().all(|other| go_together(&planned.fault, &other.fault))),
            );
        }
        round.sort_by_key(|planned| planned.after);
        Some(Round(round))
    }
}

/// Whether two faults may overlap: each service keeps an instance that answers, and what is expected stays clear. A VM
/// has a clock of its own, which jumps whatever else befalls it.
fn go_together(one: &Fault, other: &Fault) -> bool {
    let is_panic = |fault: &Fault| matches!(fault, Fault::Panic { .. });
    let is_jump = |fault: &Fault| matches!(fault, Fault::ClockJumps { .. });
    let apart = is_panic(one) && is_panic(other) || is_jump(one) != is_jump(other);
    let same_vm = one.vm().is_some() && one.vm() == other.vm() && !apart;
    let same_service = one.takes().zip(other.takes()).is_some_and(|(one, other)| one.group == other.group);
    !same_vm && !same_service && !disturbs(one, other) && !disturbs(other, one)
}

fn is_part(vm: Vm, deployment: &str) -> bool {
    Target::ALL.iter().any(|target| target.group == vm.group && target.deployment == deployment)
}

/// Whether a change would not be carried out, or not be learnt, because of another fault. A deploy restarts the jobs of
/// an instance of its deployment that it finds failing.
fn disturbs(fault: &Fault, change: &Fault) -> bool {
    let Some(deployment) = change.changes() else { return fault.concerns_director() && change.concerns_director() };
    let touches = fault.vm().is_some_and(|vm| is_part(vm, deployment)) && !matches!(fault, Fault::Panic { .. });
    fault.changes().is_some() || fault.concerns_director() || touches || matches!(fault, Fault::Reboot { .. })
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, lasts, fault } = self;
        match lasts {
            0 => write!(f, "{after:>5} ms: {fault}"),
            _ => write!(f, "{after:>5} ms: {fault}, for {lasts} ms"),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|planned| writeln!(f, "  {planned}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALONE: Scene = Scene { several_pilots: false, tunnels: false };
    const SEVERAL: Scene = Scene { several_pilots: true, tunnels: false };

    fn rounds(seed: u64, count: usize) -> Vec<Round> {
        Schedule::drawn(seed, ALONE).take(count).collect()
    }

    /// The kinds of the faults in these rounds.
    fn kinds(rounds: &[Round]) -> BTreeSet<String> {
        let faults = rounds.iter().flat_map(|round| &round.0).map(|planned| format!("{:?}", planned.fault));
        faults.map(|fault| fault.split([' ', '(']).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_seed_always_gives_the_same_schedule() {
        assert_eq!(rounds(7, 50), rounds(7, 50));
        assert_ne!(rounds(7, 50), rounds(8, 50));
        // Written down, because a new release of the generator must not change what a seed means. A new fault does.
        let first = rounds(2018, 1).remove(0).to_string();
        let expected = "    203 ms: port 15001 of cherry/1 is taken, for 4905 ms\n   1180 ms: the director lies: NotFound, for 1574 ms\n   \
                        1645 ms: the clock of bosh-pilot/0 jumps by -86400 s, for 3455 ms\n";
        assert_eq!(first, expected);
    }

    #[test]
    fn a_kind_of_fault_can_be_drawn_alone() {
        let replaced = Schedule::drawn(7, ALONE).only("is deleted and replaced".to_owned()).take(3);
        let faults: Vec<Fault> = replaced.flat_map(|round| round.0).map(|planned| planned.fault).collect();
        assert_eq!(faults, [Fault::Replaced; 3]);
        assert_eq!(Schedule::drawn(7, ALONE).only(String::new()).take(9).collect::<Vec<_>>(), rounds(7, 9));
    }

    #[test]
    fn every_kind_of_fault_comes_and_a_round_has_several() {
        let rounds = rounds(1, 400);
        let faults = || rounds.iter().flat_map(|round| &round.0).map(|planned| planned.fault);
        let actors: BTreeSet<&str> = faults()
            .filter_map(|fault| if let Fault::Panic { actor, .. } = fault { Some(actor) } else { None })
            .collect();
        assert!(AGENT_ACTORS.iter().chain(&PILOT_ACTORS).all(|actor| actors.contains(actor)), "{actors:?}");
        assert_eq!(kinds(&rounds).len(), 19, "{:?}", kinds(&rounds));
        let most = rounds.iter().map(|round| round.0.len()).max();
        assert_eq!(most, Some(AT_ONCE));
    }

    #[test]
    fn the_common_table_and_all_its_pilots_are_befallen_where_there_are_several() {
        let rounds: Vec<Round> = Schedule::drawn(1, SEVERAL).take(400).collect();
        assert_eq!(kinds(&rounds).len(), 22, "{:?}", kinds(&rounds));
        let vms: BTreeSet<Vm> =
            rounds.iter().flat_map(|round| &round.0).filter_map(|planned| planned.fault.vm()).collect();
        assert_eq!(vms.len(), FLEET.len() + SEVERAL.pilots().len());
        let is_of_table = |fault: &Fault| fault.concerns_table();
        let changed_meanwhile = |round: &&Round| {
            let faults = || round.0.iter().map(|planned| planned.fault);
            faults().any(|fault| is_of_table(&fault)) && faults().any(|fault| fault.changes().is_some())
        };
        assert_eq!(rounds.iter().find(changed_meanwhile), None, "pilots may decide differently then");
    }

    #[test]
    fn each_service_keeps_an_instance_and_no_change_is_hidden_from_the_pilot() {
        for round in rounds(3, 2000) {
            let taken: Vec<&str> =
                round.0.iter().filter_map(|planned| planned.fault.takes()).map(|vm| vm.group).collect();
            assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), taken.len(), "{round}");
            let changes = round.0.iter().filter(|planned| planned.fault.changes().is_some()).count();
            let of_director = round.0.iter().filter(|planned| planned.fault.concerns_director()).count();
            assert!(changes + of_director <= 1, "{round}");
            let changed = round.0.iter().find_map(|planned| planned.fault.changes());
            let disturbed = |fault: &Fault| {
                !matches!(fault, Fault::Panic { .. })
                    && fault.vm().zip(changed).is_some_and(|(vm, changed)| is_part(vm, changed))
            };
            assert!(!round.0.iter().any(|planned| disturbed(&planned.fault)), "{round}");
        }
    }
}
