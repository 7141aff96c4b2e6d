//! Wall clocks that jump.

use boshy_tests::chaos::TWIN;
use serde_json::Value;

use crate::{
    driver::{AGENT, Lab, PILOT, PILOT_VM},
    jumps::{NO_JUMP, jump},
    load::SteadyRequests,
    manifests::{BANANA, CHERRY, orchard, orchard_of, sample, small},
};

const TWO_HOURS: i64 = 7200;
const ONE_DAY: i64 = 86_400;
/// The VMs whose clocks jump.
const JUMPING: [&str; 2] = [PILOT_VM, "apricot/0"];

#[test]
fn a_wall_clock_that_jumps_costs_no_name_no_address_and_no_request_and_ends_no_quarantine() {
    let lab = Lab::with_clocks(&[&small(), &orchard()]);
    let before = lab.vips();
    let requests = SteadyRequests::start(&lab, "apricot/0", BANANA);

    // Forward, by more than a quarantine. A pilot that starts meanwhile reads what it wrote by the clock before.
    JUMPING.iter().for_each(|vm| drop(lab.sh(vm, &jump(TWO_HOURS))));
    requests.go_on();
    lab.deletes("orchard").kills(PILOT_VM, PILOT);
    lab.deploys(&orchard_of(TWIN)).is_in_agreement();
    let twin = CHERRY.host.replace("cherry", TWIN);
    lab.eventually("the twin has an address", || lab.vips().contains_key(&twin));
    assert_ne!(lab.vips()[&twin], before[CHERRY.host], "its first choice is in quarantine");
    let (pilot, agent) = (lab.pilot(), lab.get("apricot/0", "/status").unwrap());
    is_apart(&lab, TWO_HOURS, &pilot["proxies"][0]["connected_since"]);
    is_apart(&lab, TWO_HOURS, &agent["pilot"]["connected_since"]);
    lab.deletes("orchard").deploys(&orchard()).is_in_agreement();
    lab.eventually("the cherry has its address again", || lab.vips() == before);
    requests.go_on();

    // Back, and a day more. What the director tells later is later all the same, and streams to the pilot stay.
    JUMPING.iter().for_each(|vm| drop(lab.sh(vm, &jump(-ONE_DAY))));
    requests.go_on();
    lab.deploys(&sample(2, 1));
    let left = format!("{}:{}", lab.address("banana/0"), BANANA.port);
    lab.eventually("the endpoint is gone", || lab.endpoints("apricot/0", BANANA.host) == [left.clone()].into());
    requests.stop().is_flawless();
    // Certificates are not valid yet. Without the pilot the agent has what is on its disk.
    lab.kills("apricot/0", AGENT);
    lab.eventually("the agent does without the pilot", || lacks_pilot(&lab).is_some());
    is_apart(&lab, -ONE_DAY, &lacks_pilot(&lab).unwrap()["since"]);
    SteadyRequests::start(&lab, "apricot/0", CHERRY).stop().is_flawless();

    JUMPING.iter().for_each(|vm| drop(lab.sh(vm, NO_JUMP)));
    lab.is_in_agreement();
    assert_eq!(lab.vips(), before);
}

/// What apricot/0 tells of the pilot that it does without.
fn lacks_pilot(lab: &Lab) -> Option<Value> {
    let status = lab.get("apricot/0", "/status")?;
    status["lacking"].as_array()?.iter().find(|lack| lack["what"] == "pilot").cloned()
}

/// That the process that wrote this time has seen a jump. Labs under load take their time.
fn is_apart(lab: &Lab, by: i64, written: &Value) {
    let now: i64 = lab.sh("banana/0", "date +%s").trim().parse().unwrap();
    let apart = written.as_i64().unwrap() - now;
    assert!((by - 300..by + 300).contains(&apart), "{apart} s apart, not {by}");
}
