use proptest::prelude::*;

use super::*;

const MODES: [MtlsMode; 3] = [MtlsMode::Disable, MtlsMode::Permissive, MtlsMode::Strict];
const READY: Standing = Standing { able: true, settled: true, late: false };

fn way(from: Stage, wanted: MtlsMode) -> Vec<Stage> {
    let mut way = vec![from];
    while way.len() < 9 {
        let next = way[way.len() - 1].next(wanted, READY);
        if next == way[way.len() - 1] {
            return way;
        }
        way.push(next);
    }
    panic!("{way:?}");
}

#[test]
fn every_way_leads_through_all_stages_between() {
    use Stage::{Closed, Plain, Prepared, Tunnelled};
    assert_eq!(way(Plain, MtlsMode::Strict), [Plain, Prepared, Tunnelled, Closed]);
    assert_eq!(way(Closed, MtlsMode::Disable), [Closed, Tunnelled, Prepared, Plain]);
    assert_eq!(way(Closed, MtlsMode::Permissive), [Closed, Tunnelled]);
    assert_eq!(way(Plain, MtlsMode::Permissive), [Plain, Prepared, Tunnelled]);
}

#[test]
fn callers_wait_for_instances_that_are_not_able_and_for_a_strict_service_only_so_long() {
    let unable = Standing { able: false, ..READY };
    let late = Standing { late: true, ..unable };
    for (wanted, standing, next) in [
        (MtlsMode::Permissive, unable, Stage::Prepared),
        (MtlsMode::Permissive, late, Stage::Prepared),
        (MtlsMode::Strict, unable, Stage::Prepared),
        (MtlsMode::Strict, late, Stage::Tunnelled),
        (MtlsMode::Disable, unable, Stage::Plain),
    ] {
        assert_eq!(Stage::Prepared.next(wanted, standing), next, "{wanted} {standing:?}");
    }
    assert_eq!(Stage::Tunnelled.next(MtlsMode::Permissive, unable), Stage::Tunnelled, "it does not fall back");
}

/// Callers and instances of a port, each of which has accepted some stage.
#[derive(Clone, Debug)]
struct Fleet {
    published: Stage,
    callers: Vec<Stage>,
    instances: Vec<Stage>,
}

impl Fleet {
    /// Whether every caller is accepted by every instance.
    fn is_connected(&self) -> bool {
        let accepts = |instance: &Stage, caller: &Stage| match instance.mode() {
            MtlsMode::Disable => !caller.is_tunnelled(),
            MtlsMode::Permissive => true,
            MtlsMode::Strict => caller.is_tunnelled(),
        };
        self.instances.iter().all(|instance| self.callers.iter().all(|caller| accepts(instance, caller)))
    }

    fn standing(&self) -> Standing {
        let has = |one: &Stage| *one == self.published;
        Standing {
            able: self.instances.iter().all(|instance| instance.mode() != MtlsMode::Disable),
            settled: self.callers.iter().chain(&self.instances).all(has),
            late: false,
        }
    }
}

proptest! {
    /// Whatever is wanted when, and in whatever order callers and instances accept what is published.
    #[test]
    fn no_caller_ever_meets_an_instance_that_does_not_accept_it(
        first in prop::sample::select(Stage::ALL.to_vec()),
        steps in prop::collection::vec((0..8_usize, prop::sample::select(MODES.to_vec())), 0..200),
    ) {
        let mut fleet = Fleet { published: first, callers: vec![first; 3], instances: vec![first; 2] };
        let mut wanted = MtlsMode::Permissive;
        for (who, mode) in steps {
            match who {
                0..=2 => fleet.callers[who] = fleet.published,
                3..=4 => fleet.instances[who - 3] = fleet.published,
                5 => wanted = mode,
                _ => fleet.published = fleet.published.next(wanted, fleet.standing()),
            }
            prop_assert!(fleet.is_connected(), "{fleet:?}");
        }
        // Once nothing changes any more, the port comes to where it is to be.
        for _ in 0..Stage::ALL.len() {
            (fleet.callers, fleet.instances) = (vec![fleet.published; 3], vec![fleet.published; 2]);
            fleet.published = fleet.published.next(wanted, fleet.standing());
        }
        prop_assert_eq!(fleet.published, Stage::goal(wanted));
    }
}
