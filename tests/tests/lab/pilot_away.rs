//! Without a pilot, the VMs continue with the state on their disks.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    driver::{AGENT, ENVOY, Lab, PILOT, PILOT_VM},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, Service, sample, small},
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

    // The director is away, too, when a VM loses its power and boots.
    lab.succeeds(["spoil", r#"{"status":503}"#]);
    lab.switches_off("apricot/1").succeeds(["reboot", "apricot/1"]);
    let boot = Boot::of(&lab, "apricot/1", BANANA, &before[BANANA.host]);
    eprintln!("after a power cut with everything else down: {boot:?}");
    assert!(boot.first_name < Duration::from_secs(1) && boot.first_request < Duration::from_secs(3), "{boot:?}");
    lab.succeeds(["heal"]);
    SteadyRequests::start(&lab, "apricot/1", BANANA).stop().is_flawless();
    load.go_on();

    // Every VM follows its own records.json. On one, an address of a banana becomes that of another group.
    let reused = lab.address("banana/0");
    gives_away(&lab, "apricot/1", &reused);
    let other = format!("{}:{}", lab.address("banana/1"), BANANA.port);
    lab.eventually("the address is not used", || lab.endpoints("apricot/1", BANANA.host) == [other.clone()].into());
    SteadyRequests::start(&lab, "apricot/1", BANANA).stop().is_flawless();
    // The director goes on, and takes the other one away.
    lab.deploys(&sample(2, 1));
    let left = format!("{reused}:{}", BANANA.port);
    for vm in ["apricot/0", "banana/0"] {
        lab.eventually("the endpoint is gone", || lab.endpoints(vm, BANANA.host) == [left.clone()].into());
    }
    load.go_on();

    lab.starts(PILOT_VM, PILOT).is_in_agreement();
    load.go_on();
    load.stop().is_flawless();
    assert_eq!(lab.vips(), before);
}

/// How long a VM that boots takes, from the start of the agent's process.
#[derive(Debug)]
struct Boot {
    /// Until the agent answers a name.
    first_name: Duration,
    /// Until a request to that name is answered through Envoy.
    first_request: Duration,
}

impl Boot {
    /// Looks all the time, on the kernel's clock, which counts hundredths of a second.
    fn of(lab: &Lab, vm: &str, Service { host, port, .. }: Service, vip: &str) -> Self {
        let measured = lab.sh(
            vm,
            &format!(
                "now() {{ awk '{{print int($1 * 100)}}' /proc/uptime; }}
                until [ \"$(dig +short +tries=1 +time=1 -p 15053 @127.0.0.1 {host} A 2>&1)\" = {vip} ]; do sleep 0.01; done
                name=$(now)
                until curl -sf --max-time 1 -o /dev/null http://{host}:{port}/ip; do sleep 0.01; done
                request=$(now)
                begun=$(awk '{{print $22}}' /proc/$(cat /var/vcap/sys/run/bpm/{AGENT}/{AGENT}.pid)/stat)
                echo $((name - begun)) $((request - begun))"
            ),
        );
        let mut hundredths = measured.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        let mut next = || Duration::from_millis(10 * hundredths.next().unwrap());
        Self { first_name: next(), first_request: next() }
    }
}

/// The VM's `records.json` says that another group has an address.
fn gives_away(lab: &Lab, vm: &str, ip: &str) {
    const FILE: &str = "/var/vcap/instance/dns/records.json";
    let mut records: Value = serde_json::from_str(&lab.sh(vm, &format!("cat {FILE}"))).unwrap();
    let keys: Vec<String> = serde_json::from_value(records["record_keys"].clone()).unwrap();
    let column = |name: &str| keys.iter().position(|key| key == name).unwrap();
    let row = records["record_infos"].as_array_mut().unwrap().iter_mut().find(|row| row[column("ip")] == ip).unwrap();
    (row[column("instance_group")], row[column("id")]) = (json!("date"), json!("another"));
    records["version"] = json!(records["version"].as_u64().unwrap() + 1);
    lab.sh(vm, &format!("cat >{FILE}.next <<'END' && mv {FILE}.next {FILE}\n{records}\nEND\n"));
}
