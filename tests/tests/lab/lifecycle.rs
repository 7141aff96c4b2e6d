//! Operations on VMs and releases with the BOSH CLI, with requests in progress elsewhere.

use std::fs;

use crate::{
    driver::Lab,
    load::{NOT_TAKEN, SteadyRequests},
    manifests::{APRICOT, BANANA, CHERRY, orchard, small},
};

const SAMPLE: &str = "sample-deployment";

#[test]
fn a_rebooted_vm_is_part_of_the_mesh_again_and_nobody_else_notices() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.succeeds(["reboot", "apricot/1"]);
    works_again(&lab, "apricot/1");
    load.go_on();
    load.stop().is_flawless();
    // A reboot of a banana is not an orderly end: it loses the requests in progress, and nothing else.
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.succeeds(["reboot", "banana/1"]);
    load.reach("banana/1").reach("banana/0");
    load.stop().loses_at_most(1, "request that was being answered");
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

#[test]
fn instances_that_are_stopped_started_and_recreated_cost_no_request_to_those_that_stay() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    let stays = SteadyRequests::start(&lab, "apricot/0", APRICOT);
    lab.bosh(["-d", SAMPLE, "stop", "banana/1"]);
    load.go_on();
    lab.bosh(["-d", SAMPLE, "start", "banana/1"]);
    load.reach("banana/1");
    lab.bosh(["-d", SAMPLE, "recreate", "banana/0"]);
    load.reach("banana/0");
    load.stop().loses_at_most(2, NOT_TAKEN);
    stays.stop().is_flawless();
    assert_eq!(lab.stranded("apricot/0", BANANA), 0);
    lab.bosh(["-d", SAMPLE, "restart", "apricot/1"]);
    works_again(&lab, "apricot/1");
    // The pilot's leases are on its persistent disk.
    lab.bosh(["-d", "bosh-istio", "recreate", "bosh-pilot/0"]);
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

#[test]
fn an_upgrade_from_the_version_before_costs_no_request_of_those_that_are_not_upgraded() {
    let lab = Lab::nowhere();
    let (old, new) = (lab.release("0.0.9"), lab.release("0.1.0"));
    let manifest = lab.file("small.yml", &small());
    let up = ["up", "--release", old.to_str().unwrap(), "--manifest", manifest.to_str().unwrap()];
    lab.succeeds(up);
    lab.deploys(&orchard());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "cherry/0", BANANA);
    let stays = SteadyRequests::start(&lab, "cherry/0", CHERRY);

    lab.succeeds(["upload-release", new.to_str().unwrap()]);
    let upgraded = |text: String| text.replace("0.0.9", "0.1.0");
    lab.deploys(&upgraded(lab.bosh(["-d", "bosh-istio", "manifest"])));
    load.go_on();
    let config = lab.file("runtime.yml", &upgraded(lab.bosh(["runtime-config"])));
    lab.bosh(["update-runtime-config", config.to_str().unwrap()]);
    lab.deploys(&small());
    assert!(fs::read_to_string(config).unwrap().contains("0.1.0"));
    let deployments = lab.bosh(["deployments", "--json"]);
    assert!(deployments.contains("istio/0.1.0"), "{deployments}");

    for instance in ["banana/0", "banana/1"] {
        load.reach(instance);
    }
    load.stop().loses_at_most(2, NOT_TAKEN);
    stays.stop().is_flawless();
    assert_eq!(lab.stranded("cherry/0", BANANA), 0);
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

fn works_again(lab: &Lab, vm: &str) {
    lab.eventually(&format!("{vm} reaches banana again"), || lab.answers(vm, BANANA.host, BANANA));
    SteadyRequests::start(lab, vm, BANANA).stop().is_flawless();
}
