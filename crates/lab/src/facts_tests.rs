use std::sync::Arc;

use boshy_director::embedded::World;
use boshy_mesh::Timestamp;

use super::*;
use crate::{
    SAMPLE_MANIFEST,
    job_config::{CLOUD_CONFIG, PILOT, PILOT_MANIFEST},
};

fn view(manifests: &[&str]) -> WorldView {
    let mut world = World::new(CLOUD_CONFIG, true, 1).unwrap();
    for manifest in manifests {
        world.deploy(manifest, "admin", Timestamp(1)).unwrap();
    }
    world.view()
}

#[test]
fn the_sample_has_the_addresses_and_zones_that_its_readers_know() {
    let wanted = Wanted::new(&view(&[PILOT_MANIFEST, SAMPLE_MANIFEST]));
    let shown: Vec<_> = wanted.vms.values().map(|vm| format!("{} {} {}", vm.name.short(), vm.ip, vm.az)).collect();
    assert_eq!(wanted.problems, Vec::<String>::new());
    assert_eq!(
        shown,
        [
            &format!("bosh-pilot/0 {PILOT} z1"),
            "apricot/0 10.244.0.126 z1",
            "apricot/1 10.244.0.127 z2",
            "apricot/2 10.244.0.128 z3",
            "apricot/3 10.244.0.129 z1",
            "apricot/4 10.244.0.130 z2",
            "banana/0 10.244.0.131 z1",
            "banana/1 10.244.0.132 z2",
            "banana/2 10.244.0.133 z1",
        ]
    );
    let jobs: Vec<_> = wanted.vms.values().map(|vm| (vm.jobs[0].name.as_str(), vm.jobs[0].ports.as_slice())).collect();
    assert_eq!(
        (jobs[0], jobs[1], jobs[8]),
        (("bosh-pilot", &[][..]), ("example-httpbin", &[9001][..]), ("example-httpbin", &[9002][..]))
    );
}

#[test]
fn errands_have_no_vm() {
    let errand = SAMPLE_MANIFEST.replace("- name: banana", "- name: banana\n  lifecycle: errand");
    assert!(Wanted::new(&view(&[&errand])).vms.keys().all(|name| name.group == "apricot"));
}

#[test]
fn a_deployment_that_cannot_be_had_costs_the_others_nothing() {
    let mut view = view(&[PILOT_MANIFEST, SAMPLE_MANIFEST]);
    view.deployments[1].manifest = Some(Arc::from("instance_groups: 1"));
    let wanted = Wanted::new(&view);
    assert_eq!(wanted.vms.len(), 1);
    assert!(wanted.problems[0].starts_with("deployment sample-deployment: reading the jobs"), "{:?}", wanted.problems);
}

#[test]
fn names_cannot_lead_out_of_the_state_directory() {
    for wrong in ["..", ".", "", "a/b", "a b", "../x", "ä"] {
        assert!(check_directory(wrong).is_err(), "{wrong:?}");
    }
    check_directory("sample-deployment_2.x").unwrap();
}
