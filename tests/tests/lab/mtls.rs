//! Mutual TLS between VMs of the mesh, which the operator switches by one property.

use crate::{
    driver::{ENVOY, Lab, PILOT_VM},
    load::SteadyRequests,
    manifests::{BANANA, Service, small},
    process::Running,
};

const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/operations");
/// What the sample service's clients send.
const PLAINTEXT: &str = "GET /ip HTTP/1.1";
const CLIENT_VM: &str = "apricot/0";
const SERVER_VM: &str = "banana/0";

#[test]
fn the_operator_switches_encryption_on_and_makes_it_strict_without_a_failed_request_and_takes_it_back() {
    let lab = Lab::with(&small());
    let address = lab.address(SERVER_VM);
    let load = SteadyRequests::start(&lab, CLIENT_VM, BANANA);
    let outsider_reaches = || reaches(&lab, PILOT_VM, &address);
    assert!(outsider_reaches());
    assert!(seen_on_the_wire(&lab, &load).contains(PLAINTEXT), "the capture sees no plaintext where there is some");

    issue_identities(&lab);
    switch(&lab, "permissive");
    lab.eventually("banana is reached over mutual TLS", || is_tunnelled(&lab, BANANA));
    lab.is_in_agreement();
    let seen = seen_on_the_wire(&lab, &load);
    assert!(seen.contains(".15008") && !seen.contains(PLAINTEXT), "{seen}");
    assert!(outsider_reaches(), "a permissive service is closed to a VM outside the mesh");

    switch(&lab, "strict");
    lab.eventually("banana is closed to a VM outside the mesh", || !outsider_reaches());
    lab.stops(SERVER_VM, ENVOY);
    assert!(!outsider_reaches(), "a strict service is open without Envoy");
    for own in ["127.0.0.1", &address] {
        assert!(reaches(&lab, SERVER_VM, own), "{SERVER_VM} does not reach its own program at {own}");
    }
    lab.starts(SERVER_VM, ENVOY);
    load.reach(SERVER_VM);
    load.stop().is_flawless();
    for vm in lab.vms() {
        assert_eq!(lab.get(&vm, "/status").unwrap()["envoy"]["inspection"]["differing"], 0, "{vm}");
    }

    // Callers and instances hear of it at about the same time, in no order, so a request in between may fail.
    switch_off(&lab);
    lab.eventually("banana is open again", outsider_reaches);
    lab.eventually("banana is reached in plaintext", || !is_tunnelled(&lab, BANANA)).is_in_agreement();
    let load = SteadyRequests::start(&lab, CLIENT_VM, BANANA);
    assert!(seen_on_the_wire(&lab, &load).contains(PLAINTEXT));
    load.stop().is_flawless();
}

/// Gives the pilot an authority, as an operator does.
fn issue_identities(lab: &Lab) {
    redeploy(lab, &format!("{OPERATIONS}/identities.yml"));
}

/// Sets the mode of the mesh, as an operator does.
fn switch(lab: &Lab, mode: &str) {
    redeploy(lab, &format!("{OPERATIONS}/mtls-{mode}.yml"));
}

/// Takes the mode back.
fn switch_off(lab: &Lab) {
    let permissive = include_str!("../../../manifests/operations/mtls-permissive.yml");
    let off = lab.file("mtls-off.yml", &permissive.replace("PERMISSIVE", "DISABLE"));
    redeploy(lab, off.to_str().unwrap());
}

fn redeploy(lab: &Lab, operations: &str) {
    let manifest = lab.file("bosh-istio.yml", &lab.bosh(["-d", "bosh-istio", "manifest"]));
    lab.bosh(["-d", "bosh-istio", "deploy", manifest.to_str().unwrap(), "-o", operations]);
}

/// Whether a VM reaches the sample service's program at an address of its VM.
fn reaches(lab: &Lab, vm: &str, address: &str) -> bool {
    lab.holds(vm, &format!("curl -sf --max-time 5 http://{address}:{}/ip", BANANA.port))
}

/// What the server's network interface carries during some requests, as text.
fn seen_on_the_wire(lab: &Lab, load: &SteadyRequests) -> String {
    let capture = Capture::start(lab);
    load.reach(SERVER_VM).go_on();
    capture.stop()
}

struct Capture<'a> {
    lab: &'a Lab,
    running: Running,
}

impl<'a> Capture<'a> {
    fn start(lab: &'a Lab) -> Self {
        let listen = "exec tcpdump -Z root -i eth0 -n -l -A --immediate-mode tcp";
        let running = lab.keeps_running(SERVER_VM, &format!("exec >/tmp/capture 2>&1; {listen}"));
        lab.eventually("tcpdump listens", || lab.holds(SERVER_VM, "grep -q 'listening on' /tmp/capture"));
        Self { lab, running }
    }

    fn stop(mut self) -> String {
        self.running.ends_by("TERM");
        self.lab.sh(SERVER_VM, "cat /tmp/capture")
    }
}

fn is_tunnelled(lab: &Lab, service: Service) -> bool {
    let pilot = lab.pilot();
    let mut services = pilot["services"].as_array().into_iter().flatten();
    services.any(|known| known["host"] == service.host && known["tunnelled"][0] == service.port)
}
