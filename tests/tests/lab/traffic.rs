//! Names, virtual IPs and requests without any fault, with each protocol that Envoy supports.

use std::{collections::BTreeSet, fs::File};

use serde_json::{Value, json};

use crate::{
    driver::{AGENT, ENVOY, Lab},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, Service, sample, small},
    process::Running,
};

const AGENT_CONFIG: &str = "/var/vcap/jobs/virtual-ip-agent/config/agent.yml";
const ENVOY_BPM: &str = "/var/vcap/jobs/bosh-envoy/config/bpm.yml";
const ENVOY_PROGRAM: &str = "/var/vcap/packages/envoy/bin/envoy";

#[test]
fn every_vm_reaches_every_instance_by_name_through_a_virtual_ip() {
    let lab = Lab::up();
    let vips = lab.vips();
    let vms = lab.vms();
    assert_eq!((vms.len(), vips.len()), (8, 2));
    for vm in &vms {
        for service in [APRICOT, BANANA] {
            let Service { host, port, group } = service;
            let vip = &vips[host];
            assert!(vip.starts_with("169.254.255."), "{vip}");
            let resolved = lab.sh(vm, &format!("getent ahostsv4 {host} | cut -d' ' -f1 | sort -u"));
            assert_eq!(resolved.trim(), vip, "{host} on {vm}");
            // Round robin needs one turn per instance; with twice that, no instance is missed.
            let ask = format!(
                "for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS --max-time 10 -w ' %{{remote_ip}}\\n' http://{host}:{port}/ip; done"
            );
            let answers = lab.sh(vm, &ask);
            assert!(answers.lines().all(|line| line.ends_with(&format!(" {vip}"))), "{answers}");
            let instances: BTreeSet<&str> = answers.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
            let group: BTreeSet<&str> =
                vms.iter().map(String::as_str).filter(|name| name.starts_with(&format!("{group}/"))).collect();
            assert_eq!(instances, group, "{host} from {vm}");
        }
        // A program may have no other destination: virtual IPs need no default route.
        assert_eq!(lab.sh(vm, "ip route show default"), "", "{vm} has a default route");
        assert!(lab.log(vm, AGENT).contains("flavour=Delta"), "the Envoy of {vm} does not ask for differences");
    }
    lab.is_in_agreement();
    for proxy in lab.pilot()["proxies"].as_array().unwrap() {
        assert_eq!(proxy["flavour"], "delta", "{proxy}");
    }
    assert!(!lab.holds("apricot/0", "getent hosts nonesuch.banana.sample-deployment.boshy"));
}

#[test]
fn an_envoy_that_asks_its_agent_for_the_whole_state_is_served_as_well() {
    let lab = Lab::with(&small());
    // Sets the job's property `protocol`; the file is read again at a start.
    lab.sh("apricot/0", &format!("sed -i s/delta/sotw/ {ENVOY_BPM}"));
    lab.succeeds(["reboot", "apricot/0"]);
    lab.is_in_agreement();
    assert!(lab.log("apricot/0", AGENT).contains("flavour=Sotw"));

    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.deploys(&sample(2, 3));
    load.reach("banana/2");
    load.stop().is_flawless();
    lab.is_in_agreement();
}

#[test]
fn an_envoy_may_ask_the_pilot_itself_in_either_way() {
    let lab = Lab::with(&small());
    for (vm, protocol, flavour) in [("apricot/0", "delta", "delta"), ("apricot/1", "sotw", "sotw")] {
        lab.stops(vm, ENVOY);
        let mut bootstrap = bootstrap(&lab, vm, protocol);
        // The VM's agent is connected under its own name.
        let node = bootstrap["node"]["id"].as_str().unwrap().replace('-', "");
        bootstrap["node"]["id"] = json!(node);
        *bootstrap
            .pointer_mut("/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address")
            .unwrap() = json!({ "socket_address": { "address": "10.244.3.125", "port_value": 15010 } });
        bootstrap["static_resources"]["clusters"][0]["transport_socket"] = tls();
        let _envoy = envoy(&lab, vm, &bootstrap);
        lab.eventually(&format!("the pilot has served the Envoy of {vm}"), || {
            let pilot = lab.pilot();
            let proxies = pilot["proxies"].as_array().unwrap();
            let envoy = proxies.iter().find(|proxy| proxy["node"] == node.as_str());
            envoy.is_some_and(|envoy| {
                let listener = &envoy["types"]["listener"];
                let served = listener["accepted"].is_string() && listener["accepted"] == listener["sent"];
                served && listener["rejected"].is_null() && envoy["flavour"] == flavour
            })
        });
        let load = SteadyRequests::start(&lab, vm, BANANA);
        load.reach("banana/0").reach("banana/1");
        load.stop().is_flawless();
    }
}

/// The agent of the VM in the pilot's status.
fn tls() -> Value {
    let file = |name: &str| json!({ "filename": format!("/var/vcap/jobs/virtual-ip-agent/config/certs/{name}.pem") });
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificates": [{ "certificate_chain": file("certificate"), "private_key": file("private_key") }],
                "validation_context": { "trusted_ca": file("pilot_ca") },
            },
        },
    })
}

/// The bootstrap that boshy writes for a VM's Envoy.
fn bootstrap(lab: &Lab, vm: &str, protocol: &str) -> Value {
    let command = ["exec", vm, "--", "boshy", "envoy-bootstrap", "--protocol", protocol, "--config", AGENT_CONFIG];
    serde_json::from_str(&lab.succeeds(command)).unwrap()
}

/// An Envoy in a VM beside its jobs, started by hand.
fn envoy(lab: &Lab, vm: &str, bootstrap: &Value) -> Running {
    let file = lab.file("bootstrap.json", &bootstrap.to_string());
    let mut copy = lab.command(["exec", vm, "--", "sh", "-c", "cat > /tmp/bootstrap.json"]);
    assert!(copy.stdin(File::open(file).unwrap()).status().unwrap().success());
    let options = "--concurrency 1 --disable-hot-restart --log-level error";
    lab.keeps_running(vm, &format!("exec {ENVOY_PROGRAM} --config-path /tmp/bootstrap.json {options}"))
}
