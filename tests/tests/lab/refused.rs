//! An Envoy that cannot apply its configuration: this is reported, and heals without intervention.

use serde_json::Value;

use crate::{
    driver::{AGENT, ENVOY, Lab},
    load::SteadyRequests,
    manifests::{BANANA, small},
};

const VM: &str = "apricot/1";

#[test]
fn a_port_that_is_taken_while_envoy_starts_is_told_leads_no_name_astray_and_heals_by_itself() {
    let lab = Lab::with(&small());
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    lab.stops(VM, ENVOY);
    let resolved = || lab.run(["exec", VM, "--", "getent", "ahostsv4", BANANA.host]).status.success();
    assert!(resolved(), "an Envoy that is away takes no name along");

    let taker = lab.keeps_running(VM, "exec boshy httpbin --listen 127.0.0.1 --port 15001");
    lab.eventually("the port is taken", || lab.holds(VM, "curl -s --max-time 2 http://127.0.0.1:15001/"));
    lab.starts(VM, ENVOY);
    lab.eventually("the agent tells it with Envoy's words", || {
        let status = lab.get(VM, "/status").unwrap_or_default();
        let reason = lacking(&status, "configuration");
        status["ready"] == false && reason.contains("listener virtual") && reason.contains("Address already in use")
    });
    lab.eventually("no name is answered whose path is not there", || !resolved());
    lab.eventually("the pilot tells it, and counts the proxy as behind", || {
        let pilot = lab.pilot();
        let proxies = pilot["proxies"].as_array().cloned().unwrap_or_default();
        let refused = |proxy: &Value| proxy["types"]["listener"]["rejected"]["reason"].as_str().map(str::to_owned);
        let words = proxies.iter().find_map(refused).unwrap_or_default();
        pilot["convergence"]["behind"] == 1 && words.contains("Address already in use")
    });
    let metrics = lab.sh(VM, "curl -sS http://127.0.0.1:15020/metrics");
    assert!(metrics.contains("boshy_envoy_refused 1"), "{metrics}");

    drop(taker);
    lab.eventually("it is tried again, and names lead to their services", || lab.answers(VM, BANANA.host, BANANA));
    lab.is_in_agreement();
    assert_eq!(lab.pilot()["convergence"]["behind"], 0);
    assert_eq!(lab.restarts(VM, AGENT), 0);
    SteadyRequests::start(&lab, VM, BANANA).stop().is_flawless();
    load.stop().is_flawless();
}

fn lacking(status: &Value, what: &str) -> String {
    let lacking = status["lacking"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reason = lacking.iter().find(|lack| lack["what"] == what).map(|lack| &lack["reason"]);
    reason.and_then(Value::as_str).unwrap_or_default().to_owned()
}
