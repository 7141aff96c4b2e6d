use super::*;
use crate::Tld;

fn host(name: &str) -> Hostname {
    Hostname::of_service("job", name, "deployment", &Tld::default()).unwrap()
}

fn vip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 255, 0, last)
}

fn lease(name: &str, state: LeaseState) -> Lease {
    Lease { host: host(name), owner: None, state }
}

#[test]
fn a_table_with_a_shared_address_is_not_restored() {
    let written = [(vip(1), lease("a", LeaseState::Held)), (vip(1), lease("b", LeaseState::Held))];
    assert_eq!(Leases::restore(written), Err(LeaseConflict::Shared(host("a"), host("b"))));
}

#[test]
fn a_name_is_held_once_and_may_rest_elsewhere() {
    let resting = (vip(2), lease("a", LeaseState::Released(Moment(7))));
    let table = Leases::restore([(vip(1), lease("a", LeaseState::Held)), resting]).unwrap();
    assert_eq!((table.vip(&host("a")), table.held(), table.iter().len()), (Some(vip(1)), 1, 2));
    let twice = [(vip(1), lease("a", LeaseState::Held)), (vip(2), lease("a", LeaseState::Held))];
    assert_eq!(Leases::restore(twice), Err(LeaseConflict::Twice(host("a"), [vip(1), vip(2)])));
}
