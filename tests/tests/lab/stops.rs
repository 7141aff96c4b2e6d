//! What a program gets from the mesh while agent and Envoy of its VM are stopping.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    driver::{AGENT, ENVOY, Lab},
    manifests::{BANANA, sample},
};

const VM: &str = "apricot/0";

#[test]
fn who_asks_while_agent_and_envoy_are_told_to_stop_is_served_to_the_end_and_idle_ones_stop_soon() {
    let lab = Lab::with(&sample(1, 1));
    let vip = lab.vips()[BANANA.host].clone();
    let url = |path: &str| format!("http://{}:{}/{path}", BANANA.host, BANANA.port);
    let connected = format!("ss -Htn state established dst {vip} | grep -q .");
    // One request is in progress when they are told to stop; more follow it, by name and each over a new connection.
    let asks = format!(
        "curl -sf --max-time 20 {} > /dev/null || exit 1; for n in 1 2 3 4 5; do curl -sf --max-time 5 {} > /dev/null || exit 2; done",
        url("delay/4"),
        url("ip")
    );
    thread::scope(|scope| {
        let asking = scope.spawn(|| lab.run(["exec", VM, "--", "sh", "-c", &asks]));
        lab.eventually("a request is open", || lab.holds(VM, &connected));
        let stopping = [AGENT, ENVOY].map(|job| scope.spawn(|| lab.run(["stop", VM, job])));
        let asked = asking.join().unwrap();
        assert!(asked.status.success(), "{asked:?}");
        for stopped in stopping {
            assert!(stopped.join().unwrap().status.success());
        }
    });
    lab.eventually("the rules are gone", || !lab.holds(VM, "nft list table inet boshy"));

    lab.starts(VM, AGENT).starts(VM, ENVOY);
    lab.eventually("the agent is ready", || lab.get(VM, "/status").is_some_and(|status| status["ready"] == true));
    let began = Instant::now();
    lab.stops(VM, ENVOY).stops(VM, AGENT);
    assert!(began.elapsed() < Duration::from_secs(9), "with nobody connected a stop took {:?}", began.elapsed());
}
