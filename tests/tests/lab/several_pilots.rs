//! Three pilots as `several-pilots.yml` has them, whatever happens to one of them or to their common table.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    driver::{Lab, PILOT},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, CHERRY, orchard, sample, small},
    mtls::{OPERATIONS, redeploy},
};

const PILOTS: [&str; 3] = ["bosh-pilot/0", "bosh-pilot/1", "bosh-pilot/2"];
/// The config of the table, as the BOSH CLI names it.
const TABLE: [&str; 2] = ["--type=boshy-vips", "--name=boshy"];

type Vips = BTreeMap<String, String>;

#[test]
#[ignore = "takes two minutes: make chaos"]
fn no_address_moves_and_no_request_is_lost_whatever_happens_to_a_pilot_or_to_the_common_table() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let loads: Vec<_> = [("apricot/0", BANANA), ("apricot/1", BANANA), ("banana/0", APRICOT), ("banana/1", BANANA)]
        .into_iter()
        .map(|(vm, service)| SteadyRequests::start(&lab, vm, service))
        .collect();
    redeploy(&lab, &format!("{OPERATIONS}/several-pilots.yml"));
    settles(&lab, &before, "three pilots have come");
    let first = latest(&lab);

    lab.kills(PILOTS[0], PILOT);
    settles(&lab, &before, "one was killed");

    lab.sh(PILOTS[1], "ip link set eth0 down");
    lab.deploys(&sample(2, 3));
    loads[0].reach("banana/2");
    lab.sh(PILOTS[1], "ip link set eth0 up");
    settles(&lab, &before, "one was cut off while a deployment was scaled");

    for pilot in PILOTS {
        lab.stops(pilot, PILOT).starts(pilot, PILOT);
    }
    settles(&lab, &before, "all were restarted in turn");

    // A service that is added meanwhile gets an address of its own; the table has other rows than at first.
    lab.deploys(&orchard());
    lab.eventually("the new service has an address", || vips(&lab, PILOTS[0]).is_some_and(|vips| vips.len() == 3));
    let all = vips(&lab, PILOTS[0]).unwrap();
    settles(&lab, &all, "a service was added");
    assert!(before.iter().all(|(host, vip)| all[host] == *vip), "{before:?} became {all:?}");

    lab.bosh([["delete-config"].as_slice(), &TABLE].concat());
    lab.eventually("the table is put back", || is_there(&lab));
    settles(&lab, &all, "an operator deleted the table");

    let old = lab.file("old-table.yml", &first);
    lab.bosh([["update-config", old.to_str().unwrap()].as_slice(), &TABLE].concat());
    for pilot in PILOTS {
        // It has nothing but its disk and the director's rows.
        lab.kills(pilot, PILOT);
    }
    settles(&lab, &all, "an operator put an old table back, and the pilots were killed");

    SteadyRequests::start(&lab, "apricot/0", CHERRY).stop().is_flawless();
    for load in loads {
        load.stop().is_flawless();
    }
}

/// Waits until all pilots have exactly these addresses, and all agents answer with them and are connected.
fn settles(lab: &Lab, wanted: &Vips, when: &str) {
    lab.eventually(&format!("every pilot has the same addresses after {when}"), || {
        PILOTS.iter().all(|pilot| vips(lab, pilot).as_ref() == Some(wanted))
    });
    lab.eventually(&format!("every VM has the same addresses after {when}"), || {
        lab.vms().iter().all(|vm| {
            let agent = lab.get(vm, "/status").unwrap_or_default();
            let answered: Vips = serde_json::from_value(agent["names"]["answered"].clone()).unwrap_or_default();
            answered == *wanted && agent["ready"] == true && !agent["pilot"]["connected_since"].is_null()
        })
    });
}

/// The addresses that a pilot has; `None` while it does not say.
fn vips(lab: &Lab, pilot: &str) -> Option<Vips> {
    let status = lab.get(pilot, "/status")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    status["services"]
        .as_array()?
        .iter()
        .map(|service| Some((text(&service["host"])?, text(&service["vip"])?)))
        .collect()
}

/// The latest row of the common table, which must be there.
fn latest(lab: &Lab) -> String {
    let shown = told(lab, &[["config"].as_slice(), &TABLE].concat());
    shown.pointer("/Tables/0/Rows/0/content").and_then(Value::as_str).unwrap_or_else(|| panic!("{shown}")).to_owned()
}

fn is_there(lab: &Lab) -> bool {
    let shown = told(lab, &["configs", "--type=boshy-vips"]);
    shown.pointer("/Tables/0/Rows/0/id").is_some()
}

/// What the BOSH CLI says.
fn told(lab: &Lab, arguments: &[&str]) -> Value {
    serde_json::from_str(&lab.bosh(["--json"].iter().chain(arguments))).unwrap()
}
