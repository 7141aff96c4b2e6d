//! Without a pilot, the VMs continue with the state on their disks.

use crate::{
    driver::{AGENT, ENVOY, Lab, PILOT, PILOT_VM},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, Service, small},
};

#[test]
fn without_a_pilot_traffic_goes_on_also_past_restarts_and_it_comes_back_to_the_same_virtual_ips() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.stops(PILOT_VM, PILOT);
    load.go_on();

    // One VM loses its agent, one its Envoy, one both: each has only the state on its disk.
    lab.kills("apricot/1", AGENT);
    lab.kills("banana/0", ENVOY);
    lab.kills("banana/1", AGENT).kills("banana/1", ENVOY);
    for vm in ["apricot/1", "banana/0", "banana/1"] {
        lab.eventually(&format!("{vm} serves from disk"), || {
            let status = lab.get(vm, "/status").unwrap_or_default();
            status["envoy"]["connected"] == true && status["pilot"]["address"].is_null()
        });
        for Service { host, port, group } in [APRICOT, BANANA] {
            lab.eventually(&format!("{vm} answers {host} from disk"), || {
                let resolved = lab.run(["exec", vm, "--", "getent", "ahostsv4", host]).stdout;
                String::from_utf8_lossy(&resolved).starts_with(&before[host])
            });
            lab.eventually(&format!("{vm} reaches {host} as before"), || {
                let asked =
                    lab.run(["exec", vm, "--", "curl", "-s", "--max-time", "10", &format!("http://{host}:{port}/ip")]);
                String::from_utf8_lossy(&asked.stdout).contains(&format!("\"{group}/"))
            });
        }
        SteadyRequests::start(&lab, vm, BANANA).stop().is_flawless();
    }

    lab.starts(PILOT_VM, PILOT).is_in_agreement();
    load.go_on();
    load.stop().is_flawless();
    assert_eq!(lab.vips(), before);
}
