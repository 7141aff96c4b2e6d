//! Ports whose connections from outside pass through Envoy.

use serde_json::Value;

use crate::{
    connections::PEER_PORT,
    driver::{AGENT, ENVOY, Lab, PILOT_VM},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, Service, small},
    peers::Peer,
    privileges::is_root,
};

/// Its port stays open without Envoy.
const OPEN: &str = "banana/0";
/// Its port is closed without Envoy, and its program is to see the addresses of callers.
const CLOSED: &str = "apricot/0";

fn manifest() -> String {
    small().replace("number: 9002\n", "number: 9002\n      ingress: capture\n").replace(
        "number: 9001\n",
        "number: 9001\n      ingress: capture\n      ingress_fallback: closed\n      original_src: true\n",
    )
}

/// The caller's address as the program of a VM sees it, when the pilot's VM asks, which is not in the mesh; empty when it
/// is not answered.
fn seen_from_outside(lab: &Lab, vm: &str, service: Service) -> String {
    let ask = format!("curl -sf --max-time 5 http://{}:{}/ip || true", lab.address(vm), service.port);
    let answer: Value = serde_json::from_str(&lab.sh(PILOT_VM, &ask)).unwrap_or_default();
    answer["origin"].as_str().unwrap_or_default().to_owned()
}

/// Connections that Envoy has led to the program of its VM.
fn counted(lab: &Lab, vm: &str, service: Service) -> u64 {
    let name = format!("cluster.ingress_{}_{}.upstream_cx_total", lab.address(vm), service.port);
    let statistics =
        lab.sh(vm, &format!("curl -s '127.0.0.1:8001/stats?filter=ingress_' | grep -F '{name}: ' || echo 0"));
    statistics.rsplit(' ').next().unwrap().trim().parse().unwrap()
}

fn captures(lab: &Lab, vm: &str, ports: u64) -> bool {
    lab.get(vm, "/status").is_some_and(|status| status["rules"]["captured"] == ports)
}

/// Kills Envoy, and returns after how many milliseconds the pilot's VM is answered again.
fn falls(lab: &Lab, vm: &str, service: Service) -> u64 {
    // The parent is stopped first, so that no other Envoy takes over.
    let parent = "$(cat /var/vcap/sys/run/bpm/bosh-envoy/bosh-envoy.pid)";
    lab.sh(vm, &format!("kill -STOP {parent}; kill -KILL $(pgrep -x envoy)"));
    let ask = format!("curl -sf -o /dev/null --max-time 1 http://{}:{}/ip", lab.address(vm), service.port);
    let timed = format!("began=$(date +%s%N); until {ask}; do :; done; echo $((($(date +%s%N) - began) / 1000000))");
    let milliseconds = lab.sh(PILOT_VM, &timed).trim().parse().unwrap();
    lab.eventually("the port is captured no more", || captures(lab, vm, 0));
    assert_eq!(seen_from_outside(lab, vm, service), lab.address(PILOT_VM));
    lab.sh(vm, &format!("kill -CONT {parent}"));
    milliseconds
}

/// Lets Envoy use the addresses of callers, as an operator does.
fn permit(lab: &Lab) {
    let config = lab.file("runtime.yml", &lab.bosh(["runtime-config"]));
    let operations = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/operations/runtime-original-src.yml");
    lab.bosh(["update-runtime-config", config.to_str().unwrap(), "-o", operations]);
    lab.deploys(&manifest());
}

/// A policy by address binds callers from outside, without any certificate.
fn refuses_by_address(lab: &Lab, outside: &str) {
    let deny = |address: &str| {
        let policy = format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: outsider, namespace: '*'}}, \
             spec: {{selector: {{matchLabels: {{group: apricot}}}}, action: DENY, \
             rules: [{{from: [{{source: {{ipBlocks: [{address}]}}}}]}}]}}}}"
        );
        let file = lab.file("net.yml", &policy);
        lab.bosh(["update-config", "--type=boshy", "--name=net", file.to_str().unwrap()]);
    };
    deny(outside);
    lab.eventually("a caller outside is refused", || seen_from_outside(lab, CLOSED, APRICOT).is_empty());
    let address = lab.address(CLOSED);
    assert!(lab.answers("apricot/1", &address, APRICOT), "another caller is refused");
    let to = format!("{}:{}", APRICOT.host, APRICOT.port);
    let asked = lab.run(["exec", PILOT_VM, "--", "boshy", "authz", "check", outside, &to]);
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(!asked.status.success() && told.starts_with(&format!("denied: {outside} -> ")), "{told}");
    names_the_rule(lab, outside, &told);
    assert_eq!(lab.pilot()["problems"], serde_json::json!([]), "it is enforced at every captured port");
    deny("192.0.2.1");
    lab.eventually("he is answered again", || seen_from_outside(lab, CLOSED, APRICOT) == outside);
}

/// The instance's VM tells by which rule a caller from outside was refused: the one that `told` names as well.
fn names_the_rule(lab: &Lab, outside: &str, told: &str) {
    let target = format!("{}:{}", lab.address(CLOSED), APRICOT.port);
    let refusal = || {
        let status = lab.get(CLOSED, "/status").unwrap_or_default();
        let latest = status["tunnels"]["latest_refusals"].as_array().cloned().unwrap_or_default();
        latest.into_iter().find(|one| one["side"] == "captured" && one["target"] == target.as_str())
    };
    lab.eventually("the agent tells of him", || refusal().is_some());
    let refusal = refusal().unwrap();
    assert_eq!((&refusal["reason"], &refusal["caller"]), (&"denied".into(), &outside.into()), "{refusal}");
    let details = refusal["details"].as_str().unwrap();
    let rule = details.strip_prefix("rbac_access_denied_matched_policy[").unwrap().strip_suffix(']').unwrap();
    let [document, line, column] = rule.split(':').collect::<Vec<_>>()[..] else { panic!("{rule}") };
    assert_eq!(document, "net/outsider");
    assert!(told.contains(&format!("denied by the rule in line {line} of AuthorizationPolicy \"outsider\"")), "{told}");

    assert!(lab.log(CLOSED, AGENT).lines().any(|line| line.contains("connection refused") && line.contains(details)));
    let counted = lab.sh(CLOSED, "curl -s --max-time 5 http://127.0.0.1:15020/metrics");
    assert!(counted.contains(r#"boshy_tunnels_refused_total{side="captured",reason="denied"}"#), "{counted}");
    let is_line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["what"] == "connection refused" && line["details"] == details && line["authority"] == target.as_str()
    };
    lab.eventually("Envoy's log has it", || lab.log(CLOSED, ENVOY).lines().any(is_line));
    let (address, port) = target.split_once(':').unwrap();
    let name = format!("tcp.ingress_{address}_{port}_denied.{document}_{line}_{column}.downstream_cx_total: ");
    let statistics = lab.sh(CLOSED, "curl -s '127.0.0.1:8001/stats?filter=ingress_'");
    let count = statistics.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{statistics}"));
    assert!(count.parse::<u64>().unwrap() > 0, "{count}");
}

#[test]
fn a_captured_port_is_reached_through_envoy_and_without_it_as_the_port_says() {
    let lab = Lab::with(&manifest());
    let outside = lab.address(PILOT_VM);
    let load = SteadyRequests::start(&lab, "apricot/1", BANANA);
    lab.eventually("banana's port is captured", || captures(&lab, OPEN, 1));
    assert_eq!(seen_from_outside(&lab, OPEN, BANANA), lab.address(OPEN), "the program sees its own VM");
    assert!(counted(&lab, OPEN, BANANA) > 0);
    load.go_on();
    load.stop().is_flawless();
    let milliseconds = falls(&lab, OPEN, BANANA);
    eprintln!("the open port is reached {milliseconds} ms after Envoy was killed");
    assert!(milliseconds < 1000, "{milliseconds} ms");
    lab.eventually("banana's port is captured again", || captures(&lab, OPEN, 1));
    assert_eq!(seen_from_outside(&lab, OPEN, BANANA), lab.address(OPEN));

    // It is not captured while Envoy may not do what it wants.
    assert_eq!(seen_from_outside(&lab, CLOSED, APRICOT), outside);
    let status = lab.get(CLOSED, "/status").unwrap();
    assert_eq!(status["rules"]["not_permitted"][0], format!("{}:9001", lab.address(CLOSED)), "{status:#}");
    assert!(status["lacking"].as_array().unwrap().iter().any(|lack| lack["what"] == "ingress"), "{status:#}");
    permit(&lab);
    lab.eventually("apricot's port is captured", || captures(&lab, CLOSED, 1));
    let _echo = Peer::listening(&lab, CLOSED, &["echo", &PEER_PORT.to_string()]);
    let before = counted(&lab, CLOSED, APRICOT);
    assert_eq!(seen_from_outside(&lab, CLOSED, APRICOT), outside, "the program sees the caller");
    assert!(counted(&lab, CLOSED, APRICOT) > before);
    if is_root() {
        let capabilities = lab.sh(CLOSED, "grep CapEff /proc/$(pgrep -x envoy)/status");
        assert!(capabilities.trim().ends_with("0000000000001000"), "{capabilities}");
    }

    refuses_by_address(&lab, &outside);
    lab.stops(CLOSED, ENVOY);
    assert_eq!(seen_from_outside(&lab, CLOSED, APRICOT), "", "it is closed without Envoy");
    let address = lab.address(CLOSED);
    for own in ["127.0.0.1", &address] {
        assert!(lab.holds(CLOSED, &format!("curl -sf --max-time 5 http://{own}:{}/ip", APRICOT.port)), "{own}");
    }
    let other = format!("timeout 5 bash -c '</dev/tcp/{address}/{PEER_PORT}'");
    assert!(lab.holds(PILOT_VM, &other), "another port");
    lab.starts(CLOSED, ENVOY);
    lab.eventually("apricot's port is reached again", || seen_from_outside(&lab, CLOSED, APRICOT) == outside);
    lab.is_in_agreement();
}
