//! Changes of deployments by operators, with requests in progress.

use std::collections::BTreeSet;

use crate::{
    driver::Lab,
    load::SteadyRequests,
    manifests::{BANANA, CHERRY, SAMPLE, Service, orchard, sample, small},
};

#[test]
fn scaling_deploying_and_deleting_cost_no_request_to_those_that_stay() {
    let lab = Lab::up();
    let before = lab.vips();
    let loads = ["apricot/0", "apricot/1"].map(|vm| SteadyRequests::start(&lab, vm, BANANA));

    lab.deploys(&sample(5, 5));
    every_envoy_has(&lab, BANANA, 5);
    for load in &loads {
        load.reach("banana/3").reach("banana/4");
    }
    lab.deploys(&sample(3, 2));
    every_envoy_has(&lab, BANANA, 2);

    lab.deploys(&orchard());
    every_envoy_has(&lab, CHERRY, 2);
    for vm in lab.vms() {
        let answer = lab.sh(&vm, &format!("curl -sS --max-time 10 http://{}:{}/ip", CHERRY.host, CHERRY.port));
        assert!(answer.contains("\"cherry/"), "{vm}: {answer}");
    }
    let cherries = SteadyRequests::start(&lab, "apricot/2", CHERRY);
    cherries.reach("cherry/0").reach("cherry/1");
    cherries.stop().is_flawless();
    assert!(lab.vips().contains_key(CHERRY.host));

    lab.deletes("orchard");
    for vm in lab.vms() {
        lab.eventually(&format!("{} is forgotten on {vm}", CHERRY.host), || {
            !lab.holds(&vm, &format!("getent ahostsv4 {}", CHERRY.host)) && lab.endpoints(&vm, CHERRY.host).is_empty()
        });
    }
    for load in loads {
        let outcome = load.stop();
        outcome.is_flawless();
        let everyone: BTreeSet<String> = (0..5).map(|index| format!("banana/{index}")).collect();
        assert_eq!(outcome.answered_by(), everyone);
    }
    for vm in ["apricot/0", "apricot/1"] {
        assert_eq!(lab.stranded(vm, BANANA), 0, "connections from {vm}");
    }
    assert_eq!(lab.vips(), before);
    lab.is_in_agreement();
}

#[test]
fn a_wrong_manifest_costs_nobody_a_service_and_is_named_with_its_place() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.deploys(&with_second_port(&small(), "ninety"));
    lab.eventually("the pilot names the place", || {
        let status = lab.pilot();
        let shown = format!("{} {}", status["problems"], status["deployments"]);
        ["sample-deployment", "banana", "example-httpbin", "ninety"].iter().all(|part| shown.contains(part))
    });
    load.go_on();
    assert_eq!(lab.vips(), before);

    // Without the second port: the lab recreates VMs whose jobs have changed, all at once.
    lab.deploys(&sample(2, 3));
    load.reach("banana/2");
    lab.eventually("the pilot has nothing to complain about", || {
        let status = lab.pilot();
        let deployments = status["deployments"].as_array().unwrap();
        status["problems"] == serde_json::json!([]) && deployments.iter().all(|known| known["error"].is_null())
    });
    load.stop().is_flawless();
    assert_eq!(lab.vips(), before);
    lab.is_in_agreement();
}

/// An additional port on banana.
fn with_second_port(manifest: &str, number: &str) -> String {
    let (rest, last) = manifest.rsplit_once("      number: 9002\n").unwrap();
    assert!(SAMPLE.contains("      number: 9002\n") && last.is_empty());
    format!("{rest}      number: 9002\n    - name: second\n      number: {number}\n")
}

fn every_envoy_has(lab: &Lab, service: Service, endpoints: usize) {
    for vm in lab.vms() {
        lab.eventually(&format!("the Envoy of {vm} has {endpoints} endpoints of {}", service.host), || {
            lab.endpoints(&vm, service.host).len() == endpoints
        });
    }
}
