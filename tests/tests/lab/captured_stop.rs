//! Callers from outside of the mesh at captured ports while Envoy alone is stopped and started again.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    driver::{ENVOY, Lab, PILOT_VM},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, Service, small},
};

/// Its port stays open without Envoy.
const OPEN: &str = "banana/0";
/// Its port is closed without Envoy.
const CLOSED: &str = "apricot/0";
/// Longest time of a stop in the job's settings.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

fn manifest() -> String {
    small()
        .replace("number: 9002\n", "number: 9002\n      ingress: capture\n")
        .replace("number: 9001\n", "number: 9001\n      ingress: capture\n      ingress_fallback: closed\n")
}

fn captures(lab: &Lab, vm: &str, ports: u64) -> bool {
    lab.get(vm, "/status").is_some_and(|status| status["rules"]["captured"] == ports)
}

/// The service at the address of one VM, which a caller outside of the mesh uses.
fn at(lab: &Lab, vm: &str, service: Service) -> Service {
    Service { host: lab.address(vm).leak(), ..service }
}

/// Whether a caller outside of the mesh is connected to the VM's Envoy.
fn is_held(lab: &Lab, vm: &str) -> bool {
    lab.holds(vm, "ss -Htn state established '( sport = :15006 )' | grep -q .")
}

/// Stops Envoy while a caller outside of the mesh has asked for an answer that takes five seconds. Returns whether he has
/// got it. The last value looks when Envoy has begun to stop, and he still waits.
fn stops_with_one_held(lab: &Lab, vm: &str, service: Service, meanwhile: impl FnOnce()) -> bool {
    let ask = format!("curl -sf -o /dev/null --max-time 20 http://{}:{}/delay/5", service.host, service.port);
    thread::scope(|scope| {
        let held = scope.spawn(|| lab.holds(PILOT_VM, &ask));
        lab.eventually("he is connected to Envoy", || is_held(lab, vm));
        let began = Instant::now();
        let stopped = scope.spawn(|| lab.stops(vm, ENVOY));
        meanwhile();
        let served = held.join().unwrap();
        stopped.join().unwrap();
        eprintln!("{vm}: the stop took {:.1} s", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < STOP_TIMEOUT, "it has waited for more than who was connected when it began");
        served
    })
}

#[test]
fn who_calls_a_captured_port_loses_nothing_when_envoy_alone_stops_and_is_refused_where_the_port_says_so() {
    let lab = Lab::with(&manifest());
    for vm in [OPEN, CLOSED] {
        lab.eventually("its port is captured", || captures(&lab, vm, 1));
    }
    let (open, closed) = (at(&lab, OPEN, BANANA), at(&lab, CLOSED, APRICOT));

    let load = SteadyRequests::start(&lab, PILOT_VM, open);
    let served = stops_with_one_held(&lab, OPEN, open, || {
        lab.eventually("the open port is let go", || captures(&lab, OPEN, 0));
        load.go_on();
        assert!(is_held(&lab, OPEN), "Envoy has ended already");
    });
    load.go_on();
    lab.starts(OPEN, ENVOY);
    lab.eventually("the open port is captured again", || captures(&lab, OPEN, 1));
    load.go_on();
    load.stop().is_flawless();
    assert!(served, "who was connected is cut off");

    let answers = || lab.answers(PILOT_VM, closed.host, closed);
    let served = stops_with_one_held(&lab, CLOSED, closed, || {
        lab.eventually("others are refused", || !answers());
        assert!(is_held(&lab, CLOSED), "Envoy has ended already");
    });
    assert!(served && !answers());
    assert!(captures(&lab, CLOSED, 1));
    lab.starts(CLOSED, ENVOY);
    lab.eventually("the closed port is reached again", answers);
    lab.is_in_agreement();
}
