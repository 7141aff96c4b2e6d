use proptest::prelude::*;

use super::*;
use crate::Tld;

const HOUR: Duration = Duration::from_secs(3600);

fn host(number: u32) -> Hostname {
    Hostname::of_service("job", &format!("group-{number}"), "deployment", &Tld::default()).unwrap()
}

fn hosts(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Hostname> {
    numbers.into_iter().map(host).collect()
}

fn small() -> VipRange {
    VipRange::parse("10.255.0.0/28").unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds)
}

#[test]
fn a_released_address_rests_and_its_own_name_gets_it_back() {
    let first = Leases::default().reconcile(&hosts([1]), small(), at(0), HOUR).leases;
    let vip = first.vip(&host(1)).unwrap();
    let gone = first.reconcile(&hosts([]), small(), at(10), HOUR).leases;
    assert_eq!(gone.vip(&host(1)), None);
    let crowd = gone.reconcile(&hosts(2..100), small(), at(20), HOUR);
    assert!(crowd.leases.iter().all(|(name, lease)| lease.vip != vip || *name == host(1)));
    let back = gone.reconcile(&hosts([1]), small(), at(20), HOUR).leases;
    assert_eq!(back.vip(&host(1)), Some(vip));
}

#[test]
fn after_the_rest_the_address_is_free_for_others() {
    let full = Leases::default().reconcile(&hosts(0..14), small(), at(0), HOUR).leases;
    let gone = full.reconcile(&hosts(1..14), small(), at(10), HOUR).leases;
    let early = gone.reconcile(&hosts(1..15), small(), at(10 + 3599), HOUR);
    assert_eq!(early.refused, hosts([14]));
    let late = gone.reconcile(&hosts(1..15), small(), at(10 + 3600), HOUR);
    assert_eq!(late.leases.vip(&host(14)), full.vip(&host(0)));
}

#[test]
fn an_exhausted_pool_refuses_only_those_that_came_last() {
    let full = Leases::default().reconcile(&hosts(0..14), small(), at(0), HOUR);
    assert!(full.refused.is_empty());
    let over = full.leases.reconcile(&hosts(0..20), small(), at(1), HOUR);
    assert_eq!(over.refused, hosts(14..20));
    for number in 0..14 {
        assert_eq!(over.leases.vip(&host(number)), full.leases.vip(&host(number)));
    }
}

#[test]
fn a_table_with_a_shared_address_is_not_restored() {
    let lease = Lease { vip: Ipv4Addr::new(10, 255, 0, 1), state: LeaseState::Held };
    assert_eq!(Leases::restore([(host(1), lease), (host(2), lease)]), Err((host(1), host(2))));
}

#[test]
fn another_range_renumbers() {
    let old = Leases::default().reconcile(&hosts([1]), small(), at(0), HOUR).leases;
    let other = VipRange::parse("10.7.0.0/28").unwrap();
    let new = old.reconcile(&hosts([1]), other, at(1), HOUR).leases;
    assert!(other.contains(new.vip(&host(1)).unwrap()));
}

proptest! {
    /// Whatever services come and go: no held address changes, and no two names ever share one.
    #[test]
    fn no_operation_on_one_service_changes_the_address_of_another(
        steps in prop::collection::vec((prop::collection::btree_set(0u32..40, 0..30), 0u64..5000), 1..30)
    ) {
        let mut leases = Leases::default();
        let mut now = 0;
        for (wanted, pause) in steps {
            now += pause;
            let wanted = hosts(wanted);
            let next = leases.reconcile(&wanted, small(), at(now), HOUR);
            let mut seen = BTreeSet::new();
            for (name, lease) in next.leases.iter() {
                prop_assert!(seen.insert(lease.vip), "{} twice", lease.vip);
                if let Some(before) = leases.vip(name) {
                    prop_assert_eq!(before, lease.vip);
                }
            }
            for name in &wanted {
                prop_assert_eq!(next.leases.vip(name).is_none(), next.refused.contains(name));
            }
            leases = next.leases;
        }
    }

    /// The same set of names, whatever its history of insertion, and with addresses to spare, comes out the same wherever
    /// first choices do not meet.
    #[test]
    fn names_arriving_in_any_order_get_their_first_choice_unless_it_is_taken(order in Just((0u32..60).collect::<Vec<_>>()).prop_shuffle()) {
        let range = VipRange::default();
        let mut leases = Leases::default();
        let mut wanted = BTreeSet::new();
        for number in order {
            wanted.insert(host(number));
            leases = leases.reconcile(&wanted, range, at(0), HOUR).leases;
        }
        let at_once = Leases::default().reconcile(&wanted, range, at(0), HOUR).leases;
        let first = |name: &Hostname| range.usable_from(first_choice(name)).next();
        for name in &wanted {
            let alone = wanted.iter().filter(|other| first(other) == first(name)).count() == 1;
            if alone && at_once.vip(name) == first(name) && leases.vip(name) == first(name) {
                continue;
            }
            // Moved from its first choice only because somebody else holds that address.
            for table in [&at_once, &leases] {
                let holder = table.iter().find(|(_, lease)| Some(lease.vip) == first(name));
                prop_assert!(holder.is_some());
            }
        }
    }
}
