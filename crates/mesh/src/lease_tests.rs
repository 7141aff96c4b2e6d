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
    /// Whatever services come and go, and clocks are set back: no held address changes, no two names ever share one, nobody gets one
    /// that rests, and nobody is refused while one is free.
    #[test]
    fn no_operation_on_one_service_changes_the_address_of_another(
        steps in prop::collection::vec(
            (prop::collection::btree_set(0u32..40, 0..20), 0u64..5000, prop::option::weighted(0.1, 0u64..9000)), 1..30,
        ),
    ) {
        let mut leases = Leases::default();
        let (mut now, mut passed) = (0u64, 0);
        let mut last_held: BTreeMap<Ipv4Addr, (Hostname, u64)> = BTreeMap::new();
        for (wanted, pause, set_back) in steps {
            passed += pause;
            now = (now + pause).saturating_sub(set_back.unwrap_or(0));
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
                let vip = next.leases.vip(name);
                prop_assert_eq!(vip.is_none(), next.refused.contains(name));
                if let Some((owner, until)) = vip.and_then(|vip| last_held.get(&vip)) {
                    prop_assert!(owner == name || passed - until >= HOUR.as_secs(), "{name} has what {owner} had at {until} s");
                }
            }
            prop_assert!(next.refused.is_empty() || next.leases.iter().len() as u64 == small().capacity());
            for (vip, owner) in last_held.iter_mut().map(|(vip, (owner, until))| (*vip, (owner, until))) {
                // It begins to rest when it is first missed.
                if leases.vip(owner.0) == Some(vip) && !wanted.contains(owner.0) {
                    *owner.1 = passed;
                }
            }
            last_held.extend(wanted.iter().filter_map(|name| Some((next.leases.vip(name)?, (name.clone(), passed)))));
            leases = next.leases;
        }
    }

    /// Whatever the order in which names come, the same addresses are given, and each name has the first that was free from its first
    /// choice on.
    #[test]
    fn names_arriving_in_any_order_get_their_first_choice_unless_it_is_taken(
        order in prop::sample::subsequence((0u32..300).collect::<Vec<_>>(), 0..40).prop_shuffle(),
    ) {
        let range = VipRange::parse("10.255.0.0/26").unwrap();
        let mut leases = Leases::default();
        let mut wanted = BTreeSet::new();
        for number in order {
            wanted.insert(host(number));
            leases = leases.reconcile(&wanted, range, at(0), HOUR).leases;
        }
        let at_once = Leases::default().reconcile(&wanted, range, at(0), HOUR).leases;
        let given = |table: &Leases| table.iter().map(|(_, lease)| lease.vip).collect::<BTreeSet<_>>();
        prop_assert_eq!(given(&at_once), given(&leases));
        for table in [&at_once, &leases] {
            let given = given(table);
            for name in &wanted {
                let own = table.vip(name).unwrap();
                let mut before = range.usable_from(first_choice(name)).take_while(|ip| *ip != own);
                prop_assert!(before.all(|ip| given.contains(&ip)), "{name} was moved from a free address");
            }
        }
    }
}
