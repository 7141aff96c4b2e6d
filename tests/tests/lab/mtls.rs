//! Mutual TLS between VMs of the mesh, which the operator switches by one property, in whatever order.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use serde_json::Value;

use crate::{
    authorization, connections,
    driver::{ENVOY, Lab, PILOT_VM},
    links,
    load::SteadyRequests,
    manifests::{BANANA, Service},
    process::Running,
};

pub(crate) const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/operations");
/// What the sample service's clients send.
const PLAINTEXT: &str = "GET /ip HTTP/1.1";
const CLIENT_VM: &str = "apricot/0";
const SERVER_VM: &str = "banana/0";
/// Requests that are made at least, by so many clients at once.
const ENOUGH: usize = 2000;
const CLIENTS: usize = 4;

#[test]
fn the_operator_changes_the_mode_step_by_step_and_at_once_and_back_without_a_lost_request() {
    let lab = Lab::with(&connections::with_peer_ports(2, 2, 2));
    let address = lab.address(SERVER_VM);
    let clients = [CLIENT_VM, "apricot/1"].into_iter().cycle().take(CLIENTS);
    let loads: Vec<_> = clients.map(|vm| SteadyRequests::start(&lab, vm, BANANA)).collect();
    let load = &loads[0];
    let outsider_reaches = || reaches(&lab, PILOT_VM, &address);
    assert!(outsider_reaches());
    assert!(seen_on_the_wire(&lab, load).contains(PLAINTEXT), "the capture sees no plaintext where there is some");

    issue_identities(&lab);
    switch(&lab, "permissive");
    lab.eventually("banana is reached over mutual TLS", || is_tunnelled(&lab, BANANA));
    settles(&lab, "PERMISSIVE").is_in_agreement();
    let seen = seen_on_the_wire(&lab, load);
    assert!(seen.contains(".15008") && !seen.contains(PLAINTEXT), "{seen}");
    assert!(outsider_reaches(), "a permissive service is closed to a VM outside the mesh");

    switch(&lab, "strict");
    lab.eventually("banana is closed to a VM outside the mesh", || !outsider_reaches());
    stops_the_envoy_of_a_called_instance(&lab);
    assert!(!outsider_reaches(), "a strict service is open without Envoy");
    for own in ["127.0.0.1", &address] {
        assert!(reaches(&lab, SERVER_VM, own), "{SERVER_VM} does not reach its own program at {own}");
    }
    lab.starts(SERVER_VM, ENVOY);
    load.reach(SERVER_VM);
    settles(&lab, "STRICT");
    for vm in lab.vms() {
        assert_eq!(lab.get(&vm, "/status").unwrap()["envoy"]["inspection"]["differing"], 0, "{vm}");
    }

    switch_off(&lab);
    settles(&lab, "DISABLE").is_in_agreement();
    assert!(outsider_reaches() && !is_tunnelled(&lab, BANANA));
    assert!(seen_on_the_wire(&lab, load).contains(PLAINTEXT));

    switch(&lab, "strict");
    settles(&lab, "STRICT").is_in_agreement();
    assert!(!outsider_reaches() && is_tunnelled(&lab, BANANA));
    for load in loads {
        // A slow machine has made fewer so far.
        load.until(ENOUGH / CLIENTS);
        load.stop().is_flawless();
    }

    authorization::is_enforced(&lab);
    links::say_who_may_call(&lab);
}

/// Stops an instance's Envoy while there are always requests through it, which last longer than its looks.
fn stops_the_envoy_of_a_called_instance(lab: &Lab) {
    const CALLERS: usize = 8;
    let slow = format!("curl -sf --max-time 15 http://{}:{}/delay/1 > /dev/null", BANANA.host, BANANA.port);
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let ask = || {
            let mut answers = Vec::new();
            while !stopped.load(Relaxed) {
                answers.push(lab.holds(CLIENT_VM, &slow));
            }
            answers
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(ask)).collect();
        lab.stops(SERVER_VM, ENVOY);
        stopped.store(true, Relaxed);
        let answers: Vec<bool> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        let lost = answers.iter().filter(|answered| !**answered).count();
        eprintln!("slow requests while {SERVER_VM}'s Envoy stops: {} made, {lost} lost", answers.len());
        assert_eq!(lost, 0);
    });
}

/// Waits until every port is where the mode of the mesh leads.
fn settles<'l>(lab: &'l Lab, mode: &str) -> &'l Lab {
    lab.eventually(&format!("the mode is {mode}"), || {
        let mtls = &lab.pilot()["mtls"];
        mtls["mode"] == mode && mtls["changing"].as_array().is_some_and(Vec::is_empty)
    })
}

/// Gives the pilot an authority, as an operator does.
pub(crate) fn issue_identities(lab: &Lab) {
    redeploy(lab, &format!("{OPERATIONS}/identities.yml"));
}

/// Sets the mode of the mesh, as an operator does.
pub(crate) fn switch(lab: &Lab, mode: &str) {
    redeploy(lab, &format!("{OPERATIONS}/mtls-{mode}.yml"));
}

/// Takes the mode back.
fn switch_off(lab: &Lab) {
    let permissive = include_str!("../../../manifests/operations/mtls-permissive.yml");
    let off = lab.file("mtls-off.yml", &permissive.replace("PERMISSIVE", "DISABLE"));
    redeploy(lab, off.to_str().unwrap());
}

/// Applies an ops file to the deployment of the mesh, as an operator does.
pub(crate) fn redeploy(lab: &Lab, operations: &str) {
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

/// Whether callers reach the service's port over mutual TLS.
pub(crate) fn is_tunnelled(lab: &Lab, service: Service) -> bool {
    let pilot = lab.pilot();
    let mut services = pilot["services"].as_array().into_iter().flatten();
    let has = |ports: &Value| ports.as_array().is_some_and(|ports| ports.contains(&service.port.into()));
    services.any(|known| known["host"] == service.host && has(&known["tunnelled"]))
}
