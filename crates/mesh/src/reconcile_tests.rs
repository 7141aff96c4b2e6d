use proptest::prelude::*;

use super::*;
use crate::Tld;

const HOUR: Duration = Duration::from_secs(3600);

fn origin(deployment: &str, number: u32) -> Origin {
    Origin { deployment: deployment.into(), group: format!("group-{number}"), job: "job".into() }
}

/// The name of a job. A job of deployment `d` and one of `D` have the same name.
fn name(origin: &Origin) -> Hostname {
    Hostname::of_service(&origin.job, &origin.group, &origin.deployment, &Tld::default()).unwrap()
}

fn host(number: u32) -> Hostname {
    name(&origin("d", number))
}

fn claims_of(origins: impl IntoIterator<Item = Origin>) -> Claims {
    let mut claims = Claims::new();
    for origin in origins {
        let host = name(&origin);
        claims.entry(host).or_default().push(Claim { owner: origin, formerly: Vec::new() });
    }
    claims
}

fn claims(numbers: impl IntoIterator<Item = u32>) -> Claims {
    claims_of(numbers.into_iter().map(|number| origin("d", number)))
}

fn rules(range: &str) -> LeaseRules {
    let range = VipRange::parse(range).unwrap();
    LeaseRules { range, quarantine: HOUR, share: VipShare::percent(100).unwrap() }
}

/// A range of fourteen addresses.
fn small() -> LeaseRules {
    rules("10.255.0.0/28")
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1000)
}

/// The next table when no address may be reused early.
fn next(leases: &Leases, claims: &Claims, now: Moment) -> Reconciled {
    leases.reconcile(claims, &small(), now, &BTreeSet::new())
}

fn refused(reconciled: &Reconciled) -> BTreeSet<Hostname> {
    reconciled.refused.keys().cloned().collect()
}

fn hosts(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Hostname> {
    numbers.into_iter().map(host).collect()
}

#[test]
fn a_released_address_rests_and_its_own_name_gets_it_back() {
    let first = next(&Leases::default(), &claims([1]), at(0)).leases;
    let vip = first.vip(&host(1)).unwrap();
    let gone = next(&first, &claims([]), at(10)).leases;
    assert_eq!(gone.vip(&host(1)), None);
    let crowd = next(&gone, &claims(2..100), at(20));
    assert!(crowd.leases.iter().all(|(given, lease)| given != vip || lease.host == host(1)));
    let back = next(&gone, &claims([1]), at(20)).leases;
    assert_eq!(back.vip(&host(1)), Some(vip));
}

#[test]
fn after_the_rest_the_address_is_free_for_others() {
    let full = next(&Leases::default(), &claims(0..14), at(0)).leases;
    let gone = next(&full, &claims(1..14), at(10)).leases;
    let early = next(&gone, &claims(1..15), at(10 + 3599));
    assert_eq!(refused(&early), hosts([14]));
    let late = next(&gone, &claims(1..15), at(10 + 3600));
    assert_eq!(late.leases.vip(&host(14)), full.vip(&host(0)));
}

#[test]
fn an_exhausted_pool_refuses_only_those_that_came_last() {
    let full = next(&Leases::default(), &claims(0..14), at(0));
    assert!(full.refused.is_empty());
    let over = next(&full.leases, &claims(0..20), at(1));
    assert_eq!(refused(&over), hosts(14..20));
    assert!(over.refused.values().all(|refusal| refusal.shortage == Shortage::Exhausted));
    for number in 0..14 {
        assert_eq!(over.leases.vip(&host(number)), full.leases.vip(&host(number)));
    }
}

#[test]
fn another_range_renumbers() {
    let old = next(&Leases::default(), &claims([1]), at(0)).leases;
    let other = rules("10.7.0.0/28");
    let new = old.reconcile(&claims([1]), &other, at(1), &BTreeSet::new()).leases;
    assert!(other.range.contains(new.vip(&host(1)).unwrap()));
}

#[test]
fn who_has_a_name_keeps_it_and_its_heir_gets_another_address() {
    let (had, newcomer) = (origin("d", 1), origin("D", 1));
    let first = next(&Leases::default(), &claims_of([had.clone()]), at(0)).leases;
    let vip = first.vip(&host(1)).unwrap();
    // The newcomer comes first in the director's order.
    let both = next(&first, &claims_of([newcomer.clone(), had.clone()]), at(1)).leases;
    assert_eq!(both, first);
    let inherited = next(&both, &claims_of([newcomer.clone()]), at(2)).leases;
    let other = inherited.vip(&host(1)).unwrap();
    assert_ne!(other, vip, "it is another service");
    assert_eq!(inherited.get(vip).unwrap().state, LeaseState::Released(at(2)));
    let returned = next(&inherited, &claims_of([had.clone(), newcomer]), at(3)).leases;
    assert_eq!(returned.vip(&host(1)), Some(other), "now the other one has it");
    let alone = next(&returned, &claims_of([had]), at(4)).leases;
    assert_eq!(alone.vip(&host(1)), Some(vip), "it comes back to the address that it had");
}

#[test]
fn of_two_that_come_back_together_the_one_that_had_the_name_last_gets_it() {
    let (first, second) = (origin("d", 1), origin("D", 1));
    let mut leases = next(&Leases::default(), &claims_of([first.clone()]), at(0)).leases;
    leases = next(&leases, &claims_of([second.clone()]), at(1)).leases;
    leases = next(&leases, &Claims::new(), at(2)).leases;
    leases = next(&leases, &claims_of([first, second.clone()]), at(3)).leases;
    assert_eq!(leases.holder(&host(1)).unwrap().owner, Some(second));
}

#[test]
fn a_migrated_group_takes_its_address_along_unless_the_one_it_was_is_still_there() {
    let (was, is) = (origin("d", 1), origin("D", 1));
    let first = next(&Leases::default(), &claims_of([was.clone()]), at(0)).leases;
    let mut claims = claims_of([is.clone()]);
    claims.values_mut().flatten().for_each(|claim| claim.formerly.push(was.clone()));
    let migrated = next(&first, &claims, at(1)).leases;
    assert_eq!((migrated.vip(&host(1)), migrated.iter().len()), (first.vip(&host(1)), 1));
    assert_eq!(migrated.holder(&host(1)).unwrap().owner, Some(is));
    claims.values_mut().for_each(|claimants| claimants.push(Claim { owner: was.clone(), formerly: Vec::new() }));
    assert_eq!(next(&first, &claims, at(1)).leases, first);
}

#[test]
fn a_lease_without_an_owner_is_adopted_with_its_address_by_whoever_has_the_name_now() {
    let vip = Ipv4Addr::new(10, 255, 0, 9);
    for state in [LeaseState::Held, LeaseState::Released(at(0))] {
        let old = Leases::restore([(vip, Lease { host: host(1), owner: None, state })]).unwrap();
        let absent = next(&old, &Claims::new(), at(1)).leases;
        assert_eq!(absent.get(vip).unwrap().owner, None);
        let adopted = next(&absent, &claims_of([origin("d", 1), origin("D", 1)]), at(2)).leases;
        assert_eq!(adopted.vip(&host(1)), Some(vip));
        let other = next(&adopted, &claims_of([origin("D", 1)]), at(3)).leases;
        assert_ne!(other.vip(&host(1)), Some(vip));
    }
}

#[test]
fn a_full_pool_gives_the_address_that_rested_longest_of_those_that_may_be_reused() {
    let full = next(&Leases::default(), &claims(0..14), at(0)).leases;
    let vip = |number| full.vip(&host(number)).unwrap();
    let mut leases = full.clone();
    for (gone, when) in [(5u32, 10), (3, 20), (8, 30)] {
        let left = (0..14).filter(|number| leases.vip(&host(*number)).is_some() && *number != gone);
        leases = next(&leases, &claims(left.collect::<Vec<_>>()), at(when)).leases;
    }
    let wanted = claims((0..15).filter(|number| ![3, 5, 8].contains(number)));
    assert_eq!(refused(&next(&leases, &wanted, at(40))), hosts([14]));
    // A proxy still knows the address that was released first.
    let reusable = BTreeSet::from([vip(3), vip(8)]);
    let early = leases.reconcile(&wanted, &small(), at(40), &reusable).leases;
    assert_eq!(early.vip(&host(14)), Some(vip(3)));
    assert_eq!(early.get(vip(5)).unwrap().state, LeaseState::Released(at(10)));
}

#[test]
fn a_resting_address_is_not_reused_while_another_is_free() {
    let some = next(&Leases::default(), &claims(0..13), at(0)).leases;
    let vip = some.vip(&host(3)).unwrap();
    let gone = next(&some, &claims((0..13).filter(|number| *number != 3)), at(1)).leases;
    let wanted = claims((0..14).filter(|number| *number != 3));
    let next = gone.reconcile(&wanted, &small(), at(2), &BTreeSet::from([vip]));
    assert_eq!(next.leases.get(vip).unwrap().host, host(3));
    assert!(next.refused.is_empty());
}

#[test]
fn one_deployment_takes_its_share_and_those_after_it_find_addresses() {
    let rules = LeaseRules { share: VipShare::default(), ..rules("169.254.255.0/24") };
    let none = BTreeSet::new();
    let greedy = claims_of((0..300).map(|number| origin("big", number)));
    let first = Leases::default().reconcile(&greedy, &rules, at(0), &none);
    assert_eq!((first.leases.held(), first.refused.len()), (127, 173));
    assert!(first.refused.values().all(|refusal| refusal.shortage == Shortage::Share(127)));
    let with_other = greedy.into_iter().chain(claims_of((0..60).map(|number| origin("small", number)))).collect();
    let second = first.leases.reconcile(&with_other, &rules, at(1), &none);
    assert_eq!(second.leases.held(), 187);
    assert!(second.refused.values().all(|refusal| refusal.owner.deployment == "big"));
}

#[test]
fn two_deployments_that_ask_for_all_at_once_get_equal_shares() {
    let rules = LeaseRules { share: VipShare::default(), ..rules("169.254.255.0/24") };
    let greedy = claims_of((0..300).flat_map(|number| [origin("one", number), origin("two", number)]));
    let leases = Leases::default().reconcile(&greedy, &rules, at(0), &BTreeSet::new()).leases;
    let of =
        |deployment| leases.iter().filter(|(_, lease)| lease.owner.as_ref().unwrap().deployment == deployment).count();
    assert!(of("one").abs_diff(of("two")) <= 2, "{} and {}", of("one"), of("two"));
    assert!(leases.held() < 180);
}

#[test]
fn a_deployment_that_changes_all_its_names_takes_nobody_elses_and_reuses_its_own() {
    let rules = LeaseRules { share: VipShare::default(), ..rules("169.254.255.0/24") };
    let none = BTreeSet::new();
    let all = |from: u32| claims_of((from..from + 127).map(|number| origin("big", number)));
    let first = Leases::default().reconcile(&all(0), &rules, at(0), &none).leases;
    let renamed = first.reconcile(&all(1000), &rules, at(1), &none);
    assert_eq!(renamed.refused.len(), 127, "what rests counts as well");
    let resting: BTreeSet<_> = renamed.leases.resting().map(|(vip, _)| vip).collect();
    let early = renamed.leases.reconcile(&all(1000), &rules, at(2), &resting);
    assert_eq!((early.refused.len(), early.leases.held(), early.leases.iter().len()), (0, 127, 127));
}

#[test]
fn what_a_deployment_has_above_its_share_stays() {
    let wide = LeaseRules { share: VipShare::percent(100).unwrap(), ..rules("169.254.255.0/24") };
    let narrow = LeaseRules { share: VipShare::percent(10).unwrap(), ..wide };
    let many = claims_of((0..200).map(|number| origin("big", number)));
    let had = Leases::default().reconcile(&many, &wide, at(0), &BTreeSet::new());
    assert!(had.refused.is_empty());
    let after = had.leases.reconcile(&many, &narrow, at(1), &BTreeSet::new());
    assert_eq!(after, had);
}

#[test]
fn while_a_table_cannot_be_written_only_what_was_written_before_is_told() {
    let written = next(&Leases::default(), &claims([1, 2]), at(0)).leases;
    let unwritten = next(&written, &claims([2, 3]), at(1));
    let told = unwritten.as_written_in(&written);
    assert_eq!(told.leases.vip(&host(2)), written.vip(&host(2)));
    assert_eq!((told.leases.vip(&host(1)), told.leases.vip(&host(3))), (None, None));
    assert_eq!(told.refused[&host(3)], LeaseRefusal { owner: origin("d", 3), shortage: Shortage::Unwritten });
}

/// Exposed jobs by number; the flag says whether they are in `D` or in `d`.
type Exposed = BTreeSet<(bool, u32)>;

/// A sequence of inventories: the exposed jobs, the time that has passed, and whether the order is reversed.
fn steps() -> impl Strategy<Value = Vec<(Exposed, i64, bool)>> {
    let exposed = prop::collection::btree_set((any::<bool>(), 0u32..30), 0..24);
    prop::collection::vec((exposed, 0i64..5000, any::<bool>()), 1..30)
}

/// The jobs of two deployments with the same names in the mesh. Their order is independent of which came first.
fn exposed(by: &Exposed, other_order: bool) -> Claims {
    let all = by.iter().map(|(upper, number)| origin(if *upper { "D" } else { "d" }, *number));
    let all: Vec<_> = if other_order { all.rev().collect() } else { all.collect() };
    claims_of(all)
}

proptest! {
    /// For any sequence of changes and any order of the director's list: an address never moves while its service
    /// exists, two services never share one, no service gets an address that another had during the quarantine unless
    /// it was reusable, and an owner keeps its name.
    #[test]
    fn no_operation_on_one_service_changes_the_address_of_another(steps in steps(), reuse in any::<bool>()) {
        let mut leases = Leases::default();
        let mut now = 0;
        let mut last: BTreeMap<Ipv4Addr, (Origin, i64)> = BTreeMap::new();
        for (by, pause, other_order) in steps {
            now += pause;
            let claims = exposed(&by, other_order);
            let resting: BTreeSet<_> = leases.resting().filter(|_| reuse).map(|(vip, _)| vip).collect();
            let reconciled = leases.reconcile(&claims, &small(), at(now), &resting);
            for (host, claimants) in &claims {
                let before = leases.holder(host).and_then(|lease| lease.owner.clone());
                let after = reconciled.leases.holder(host).and_then(|lease| lease.owner.clone());
                let wants = |owner: &Origin| claimants.iter().any(|claim| claim.owner == *owner);
                if let Some(before) = before.filter(wants) {
                    prop_assert_eq!(Some(before), after.clone(), "who has {} keeps it", host);
                    prop_assert_eq!(leases.vip(host), reconciled.leases.vip(host));
                }
                prop_assert_eq!(after.is_none(), reconciled.refused.contains_key(host));
                prop_assert!(after.is_none_or(|owner| wants(&owner)));
            }
            for (vip, lease) in reconciled.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held) {
                let owner = lease.owner.clone().unwrap();
                if let Some((former, until)) = last.get(&vip) {
                    let rested = now - until >= 3600 || resting.contains(&vip);
                    prop_assert!(*former == owner || rested, "{owner:?} has what {former:?} had until {until} s");
                }
            }
            prop_assert!(reconciled.refused.is_empty() || reconciled.leases.iter().len() as u64 == small().range.capacity());
            // A holder missing from the new table held the address until now; a holder in it keeps the address at least
            // until the next step.
            for (vip, lease) in leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held) {
                last.insert(vip, (lease.owner.clone().unwrap(), now));
            }
            for (vip, lease) in reconciled.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held) {
                last.insert(vip, (lease.owner.clone().unwrap(), now));
            }
            leases = reconciled.leases;
        }
    }

    /// The director's order of claimants does not matter once a name is held.
    #[test]
    fn the_order_of_claimants_does_not_matter_to_who_has_a_name(by in prop::collection::btree_set((any::<bool>(), 0u32..30), 0..24)) {
        let first = next(&Leases::default(), &exposed(&by, false), at(0)).leases;
        prop_assert_eq!(&next(&first, &exposed(&by, true), at(1)).leases, &first);
    }

    /// Whatever addresses a few deployments take, at once or one by one, a new deployment gets one.
    #[test]
    fn whatever_deployments_take_a_newcomer_finds_an_address(
        wanted in prop::collection::vec((0u32..4, 1u32..60), 1..8), percent in 1u64..=50,
    ) {
        let rules = LeaseRules { share: VipShare::percent(percent).unwrap(), ..rules("10.255.0.0/26") };
        let mut leases = Leases::default();
        let mut all = Claims::new();
        for (deployment, count) in wanted {
            all.extend(claims_of((0..count).map(|number| origin(&format!("d{deployment}"), number))));
            leases = leases.reconcile(&all, &rules, at(0), &BTreeSet::new()).leases;
        }
        all.extend(claims_of([origin("newcomer", 0)]));
        let host = name(&origin("newcomer", 0));
        prop_assert!(leases.reconcile(&all, &rules, at(1), &BTreeSet::new()).leases.vip(&host).is_some());
    }

    /// In whatever order names arrive, the same set of addresses is assigned, and each name gets the first one that was
    /// free from its first choice on.
    #[test]
    fn names_arriving_in_any_order_get_their_first_choice_unless_it_is_taken(
        order in prop::sample::subsequence((0u32..300).collect::<Vec<_>>(), 0..40).prop_shuffle(),
    ) {
        let rules = rules("10.255.0.0/26");
        let mut leases = Leases::default();
        let mut numbers = BTreeSet::new();
        for number in order {
            numbers.insert(number);
            leases = leases.reconcile(&claims(numbers.clone()), &rules, at(0), &BTreeSet::new()).leases;
        }
        let at_once = Leases::default().reconcile(&claims(numbers.clone()), &rules, at(0), &BTreeSet::new()).leases;
        let given = |table: &Leases| table.iter().map(|(vip, _)| vip).collect::<BTreeSet<_>>();
        prop_assert_eq!(given(&at_once), given(&leases));
        for table in [&at_once, &leases] {
            let given = given(table);
            for number in &numbers {
                let own = table.vip(&host(*number)).unwrap();
                let mut before = rules.range.usable_from(first_choice(&host(*number))).take_while(|ip| *ip != own);
                prop_assert!(before.all(|ip| given.contains(&ip)), "{number} was moved from a free address");
            }
        }
    }
}
