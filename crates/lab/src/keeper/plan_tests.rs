use std::net::Ipv4Addr;

use super::*;

fn vm(index: u32, address: u8) -> VmFacts {
    VmFacts {
        name: InstanceName { deployment: "sample".to_owned(), group: "banana".to_owned(), index },
        id: format!("id-{index}"),
        az: "z1".to_owned(),
        ip: Ipv4Addr::new(10, 244, 0, address),
        jobs: Vec::new(),
    }
}

type State = fn(VmFacts) -> Present;

fn present<const N: usize>(vms: [(VmFacts, State); N]) -> BTreeMap<InstanceName, Present> {
    vms.into_iter().map(|(facts, state)| (facts.name.clone(), state(facts))).collect()
}

fn wanted<const N: usize>(vms: [VmFacts; N]) -> BTreeMap<InstanceName, VmFacts> {
    vms.into_iter().map(|facts| (facts.name.clone(), facts)).collect()
}

#[test]
fn what_is_as_wanted_stays() {
    assert_eq!(plan(&present([(vm(0, 1), Present::Alive)]), &wanted([vm(0, 1)])), []);
}

#[test]
fn a_missing_vm_is_made_and_one_too_many_goes_first() {
    let steps = plan(&present([(vm(1, 2), Present::Alive)]), &wanted([vm(0, 1)]));
    assert_eq!(steps, [Step::Remove(vm(1, 2).name), Step::Create(vm(0, 1))]);
}

#[test]
fn a_changed_vm_goes_and_is_made_again_once_it_is_gone() {
    let now = wanted([vm(0, 9)]);
    assert_eq!(plan(&present([(vm(0, 1), Present::Alive)]), &now), [Step::Remove(vm(0, 1).name)]);
    assert_eq!(plan(&present([(vm(0, 1), |_| Present::Leaving)]), &now), []);
    assert_eq!(plan(&present([]), &now), [Step::Create(vm(0, 9))]);
}

#[test]
fn a_vm_that_died_is_cleared_away_before_it_is_made_again() {
    assert_eq!(plan(&present([(vm(0, 1), |_| Present::Dead)]), &wanted([vm(0, 1)])), [Step::Bury(vm(0, 1).name)]);
}
