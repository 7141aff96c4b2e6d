//! Stopped instances, which a director lists like any other.

use crate::{
    driver::{HTTPBIN, Lab},
    load::{SteadyRequests, lost_of_many},
    manifests::{BANANA, sample, small},
};

/// Address at which a VM asks its own instance, without the mesh.
const LOOPBACK: &str = "127.0.0.1";

#[test]
fn an_instance_that_is_down_costs_hardly_one_of_many_requests_at_once_and_is_asked_again_when_it_is_back() {
    let lab = Lab::with(&small());
    goes_down(&lab, "banana/1");
    let lost = lost_of_many(&lab, "apricot/0", BANANA, 4000);
    // Envoy's workers learn of an ejection some milliseconds later.
    assert!(lost.values().sum::<usize>() <= 4, "{lost:?}");

    lab.starts("banana/1", HTTPBIN);
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    load.reach("banana/1").reach("banana/0");
    load.stop().is_flawless();
}

#[test]
fn the_only_instance_is_asked_at_once_when_it_is_back_however_often_it_was_not_there() {
    let lab = Lab::with(&sample(2, 1));
    goes_down(&lab, "banana/0");
    let lost = lost_of_many(&lab, "apricot/0", BANANA, 400);
    assert_eq!(lost.values().sum::<usize>(), 400, "{lost:?}");

    lab.starts("banana/0", HTTPBIN);
    lab.eventually("banana/0 answers itself", || lab.answers("banana/0", LOOPBACK, BANANA));
    SteadyRequests::start(&lab, "apricot/0", BANANA).stop().is_flawless();
}

fn goes_down(lab: &Lab, vm: &str) {
    lab.stops(vm, HTTPBIN);
    lab.eventually(&format!("{vm} is down"), || !lab.answers(vm, LOOPBACK, BANANA));
}
