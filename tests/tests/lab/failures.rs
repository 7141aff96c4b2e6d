//! Every actor panics and every process is killed, in turn, while others keep running.

use boshy_tests::chaos::{AGENT_ACTORS, PLAIN_PILOT_ACTORS};

use crate::{
    driver::{AGENT, ENVOY, HTTPBIN, Lab, PILOT, PILOT_VM, actors},
    load::{SteadyQuestions, SteadyRequests},
    manifests::{BANANA, CHERRY, orchard, small},
};

const BOSH_DNS: &str = "bosh-dns";

#[test]
fn an_actor_that_panics_costs_no_request_and_no_answer() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    let same_vm = SteadyRequests::start(&lab, "apricot/1", BANANA);
    let questions = SteadyQuestions::start(&lab, "apricot/0", BANANA);
    for actor in panicked(&lab, PILOT_VM, PLAIN_PILOT_ACTORS) {
        lab.panics(PILOT_VM, &actor);
        load.go_on();
    }
    questions.all_answered();
    for actor in panicked(&lab, "apricot/1", &AGENT_ACTORS) {
        lab.panics("apricot/1", &actor);
        same_vm.go_on();
    }
    load.stop().is_flawless();
    same_vm.stop().is_flawless();
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
    // No process ended together with its actors.
    for (vm, job) in [(PILOT_VM, PILOT), ("apricot/1", AGENT), ("apricot/1", ENVOY)] {
        assert_eq!(lab.restarts(vm, job), 0, "{job} of {vm}");
    }
}

#[test]
fn a_panic_of_the_rule_writer_the_agents_xds_server_or_the_envoy_watcher_loses_no_name_and_no_change() {
    let lab = Lab::with(&small());
    let vm = "apricot/1";
    let same_vm = SteadyRequests::start(&lab, vm, BANANA);
    let questions = SteadyQuestions::start(&lab, vm, BANANA);
    let present = |status: &serde_json::Value| {
        status["rules"]["in_place"] == true && status["envoy"]["connected"] == true && status["envoy"]["live"] == true
    };
    for (actor, deployed) in [("netfilter_writer", true), ("xds_server", false), ("envoy_watcher", true)] {
        lab.eventually("rules, Envoy and its watcher are there", || {
            present(&lab.get(vm, "/status").unwrap_or_default())
        });
        lab.panics(vm, actor);
        same_vm.go_on();
        // A change after the fall propagates completely.
        if deployed {
            lab.deploys(&orchard());
            lab.eventually("the new service is reached", || lab.answers(vm, CHERRY.host, CHERRY));
        } else {
            lab.deletes("orchard");
            lab.eventually("the old service is forgotten", || {
                !lab.holds(vm, &format!("getent ahostsv4 {}", CHERRY.host))
            });
        }
    }
    questions.all_answered();
    same_vm.stop().is_flawless();
    lab.eventually("all is there again", || present(&lab.get(vm, "/status").unwrap_or_default()));
    assert_eq!(lab.restarts(vm, AGENT), 0);
}

/// The existing actors, which must be the expected ones: a new actor has to be added here.
fn panicked(lab: &Lab, vm: &str, expected: &[&str]) -> Vec<String> {
    let actors = actors(&lab.get(vm, "/status").unwrap());
    assert_eq!(actors, expected, "the actors of {vm}");
    actors
}

#[test]
fn a_killed_process_comes_back_and_other_vms_go_on() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    let questions = SteadyQuestions::start(&lab, "apricot/0", BANANA);
    lab.kills(PILOT_VM, PILOT);
    load.go_on();
    lab.is_in_agreement();
    questions.all_answered();

    for job in [AGENT, ENVOY, BOSH_DNS] {
        lab.kills("apricot/1", job);
        load.go_on();
        lab.eventually(&format!("apricot/1 reaches banana again after {job} was killed"), || {
            lab.answers("apricot/1", BANANA.host, BANANA)
        });
    }
    SteadyRequests::start(&lab, "apricot/1", BANANA).stop().is_flawless();
    load.stop().is_flawless();
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

#[test]
fn a_killed_instance_costs_at_most_the_request_it_was_answering() {
    let lab = Lab::with(&small());
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    load.reach("banana/1");
    lab.kills("banana/1", HTTPBIN);
    load.reach("banana/1").reach("banana/0");
    load.stop().loses_at_most(1, "request that was being answered");
    lab.is_in_agreement();
}
