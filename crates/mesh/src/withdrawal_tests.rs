use std::{net::Ipv4Addr, time::Duration};

use super::*;
use crate::{Hostname, Lease, LeaseState, Origin, Service, ServicePlan, Shared, SnapshotContent, Tld};

const VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 7);

fn host() -> Hostname {
    Hostname::of_service("app", "web", "gone", &Tld::default()).unwrap()
}

fn resting() -> Leases {
    Leases::restore([(VIP, Lease { host: host(), owner: None, state: LeaseState::Released(Moment(0)) })]).unwrap()
}

fn snapshot(generation: u64, serves: bool) -> MeshSnapshot {
    let origin = Origin { deployment: "gone".into(), group: "web".into(), job: "app".into() };
    let service = Service { host: host(), origin, ports: Vec::new(), endpoints: Vec::new() };
    let services = serves
        .then(|| Shared::new(ServicePlan { service, vip: VIP, tunnel: None, withdrawn: Default::default() }))
        .into_iter()
        .collect();
    MeshSnapshot {
        generation,
        content: SnapshotContent { services, ..SnapshotContent::default() },
        ..Default::default()
    }
}

fn after(passed: Duration) -> Moment {
    Moment(i64::try_from(passed.as_millis()).unwrap())
}

fn reusable(seen: &Withdrawals, accepted: Option<u64>, passed: Duration) -> bool {
    seen.reusable(accepted, after(passed)).contains(&VIP)
}

#[test]
fn an_address_is_reusable_when_ten_ttls_have_passed_and_every_proxy_has_accepted_its_absence() {
    let mut seen = Withdrawals::default();
    seen.observe(&resting(), &snapshot(5, false), Moment(0));
    let just_before = EARLIEST_REUSE.checked_sub(Duration::from_millis(1)).unwrap();
    assert_eq!(EARLIEST_REUSE, Duration::from_secs(300));
    assert!(!reusable(&seen, None, just_before));
    assert!(!reusable(&seen, Some(4), EARLIEST_REUSE * 10), "a proxy still has it");
    assert!(reusable(&seen, Some(5), EARLIEST_REUSE));
    assert!(reusable(&seen, None, EARLIEST_REUSE), "nobody is connected");
}

#[test]
fn an_address_that_is_still_served_is_not_withdrawn_however_long_it_rests() {
    let mut seen = Withdrawals::default();
    seen.observe(&resting(), &snapshot(5, true), Moment(0));
    assert!(!reusable(&seen, Some(9), EARLIEST_REUSE * 10));
    seen.observe(&resting(), &snapshot(6, false), after(EARLIEST_REUSE));
    assert!(!reusable(&seen, Some(6), EARLIEST_REUSE), "the time runs from here");
    assert!(reusable(&seen, Some(6), EARLIEST_REUSE * 2));
}

#[test]
fn before_anything_was_published_nothing_is_known() {
    let mut seen = Withdrawals::default();
    seen.observe(&resting(), &snapshot(0, false), Moment(0));
    assert!(!reusable(&seen, None, EARLIEST_REUSE * 10));
}

#[test]
fn an_address_that_was_given_back_begins_anew() {
    let mut seen = Withdrawals::default();
    seen.observe(&resting(), &snapshot(5, false), Moment(0));
    seen.observe(&Leases::default(), &snapshot(6, true), Moment(1));
    assert!(!reusable(&seen, Some(9), EARLIEST_REUSE * 10));
}
