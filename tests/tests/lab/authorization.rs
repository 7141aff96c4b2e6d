//! Policies in a lab whose services accept mutual TLS only: who is refused, where it is told, and what becomes of a
//! config that is wrong.

use std::time::{Duration, Instant};

use boshy_tests::peer::{End, Outcome};
use serde_json::Value;

use crate::{
    connections::PEER_PORT,
    driver::{AGENT, ENVOY, Lab, PILOT_VM},
    manifests::BANANA,
    peers::Peer,
};

/// The group that may not call.
const DENIED_VM: &str = "apricot/0";
const ALLOWED_VM: &str = "banana/0";
const INSTANCES: [&str; 2] = ["banana/0", "banana/1"];
/// As the pilot's certificate has it, and the authority of that.
const PILOT_URL: &str = "https://10.244.3.125:8443";
const PILOT_CA: &str = "/var/vcap/jobs/bosh-pilot/config/certs/xds_client_ca.pem";
/// A program speaks first at one port, its clients at the other.
const PORTS: [(u16, &[&str], &str); 2] = [
    (PEER_PORT, &["send:8", "drain"], "recv:8 close"),
    (PEER_PORT + 1, &["recv:8", "send:8", "drain"], "send:8 recv:8 close"),
];
/// The CLI writes it anew before it uploads it, with sorted keys and without braces. Lines are those of that text.
const POLICY: &str = "\
documents:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: no-apricots, namespace: sample-deployment}
  spec:
    selector: {matchLabels: {group: banana}}
    action: DENY
    rules:
    - from:
      - source: {principals: [boshy/ns/sample-deployment/sa/apricot]}
";
const DENIED_BY: &str = "rbac_access_denied_matched_policy[net/no-apricots:10:7]";

/// A group is refused by a config of the director's, which is then spoilt and taken back. The mode is strict.
pub(crate) fn is_enforced(lab: &Lab) {
    let mut programs: Vec<Peer> = INSTANCES.iter().flat_map(|vm| PORTS.map(|port| visited(lab, vm, port))).collect();
    let visits = |programs: &mut Vec<Peer>| programs.iter_mut().map(visits).sum::<usize>();
    upload(lab, POLICY);
    lab.eventually("apricots may not call", || !may_call(lab, "apricot"));
    lab.eventually("apricots are refused", || !lab.answers(DENIED_VM, BANANA.host, BANANA));
    let before = visits(&mut programs);
    for (port, _, steps) in PORTS {
        is_refused(lab, port, steps);
    }
    assert_eq!(visits(&mut programs), before, "a program has seen a caller that is denied");
    for (port, _, steps) in PORTS {
        let (heard, _) = call(lab, ALLOWED_VM, port, steps);
        assert_eq!(heard, Outcome { received: 8, end: End::Own, trouble: String::new() });
    }
    assert!(visits(&mut programs) >= before + PORTS.len());
    both_ends_tell_of_it(lab);
    a_wrong_config_leaves_the_right_one_in_force(lab);
    lab.bosh(["delete-config", "--type=boshy", "--name=net"]);
    lab.eventually("apricots may call again", || lab.answers(DENIED_VM, BANANA.host, BANANA));
}

fn visited(lab: &Lab, vm: &str, (port, steps, _): (u16, &[&str], &str)) -> Peer {
    Peer::listening(lab, vm, &[&["visited", &port.to_string()], steps].concat())
}

fn visits(program: &mut Peer) -> usize {
    program.tell("how many");
    program.hears().parse().unwrap()
}

fn upload(lab: &Lab, config: &str) {
    let file = lab.file("net.yml", config);
    lab.bosh(["update-config", "--type=boshy", "--name=net", file.to_str().unwrap()]);
}

/// What `boshy authz check` says, over TLS.
fn may_call(lab: &Lab, group: &str) -> bool {
    let (from, to) = (format!("sample-deployment/{group}"), format!("{}:{}", BANANA.host, BANANA.port));
    let check = ["exec", PILOT_VM, "--", "boshy", "authz", "check", "--pilot", PILOT_URL, "--pilot-ca", PILOT_CA];
    let output = lab.run(check.into_iter().chain([from.as_str(), to.as_str()]));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.success()
}

/// A caller that is denied hears nothing, and is closed at once.
fn is_refused(lab: &Lab, port: u16, steps: &str) {
    let (heard, after) = call(lab, DENIED_VM, port, steps);
    eprintln!("port {port}: a denied caller is closed after {after:?}: {heard:?}");
    assert_eq!(heard.received, 0, "{heard:?}");
    assert!(matches!(heard.end, End::Fin | End::Reset) || heard.trouble.starts_with("send"), "{heard:?}");
    assert!(after < Duration::from_secs(2), "{after:?}");
}

fn call(lab: &Lab, vm: &str, port: u16, steps: &str) -> (Outcome, Duration) {
    let mut caller = Peer::start(lab, vm, &["connect"]);
    let begun = Instant::now();
    caller.tell(&format!("{}:{port} {steps}", lab.vips()[BANANA.host]));
    (serde_json::from_str(&caller.hears()).unwrap(), begun.elapsed())
}

/// Logs, status and metrics of the agents at both ends.
fn both_ends_tell_of_it(lab: &Lab) {
    let target = format!("{}:{PEER_PORT}", BANANA.host);
    let told = |vm: &str, side: &str| {
        let status = lab.get(vm, "/status").unwrap_or_default();
        let told = status["tunnels"]["latest_refusals"].as_array().cloned().unwrap_or_default();
        told.into_iter().find(|one| one["side"] == side && one["target"] == target.as_str())
    };
    lab.eventually("the caller's agent tells of it", || told(DENIED_VM, "caller").is_some());
    let reason = told(DENIED_VM, "caller").unwrap()["reason"].clone();
    // Envoy 1.36 does not say what the instance has answered.
    assert!(reason == "denied" || reason == "unreachable", "{reason}");
    lab.eventually("an instance's agent tells of it", || INSTANCES.iter().any(|vm| told(vm, "instance").is_some()));
    let told: Vec<Value> = INSTANCES.iter().filter_map(|vm| told(vm, "instance")).collect();
    for one in &told {
        assert_eq!(one["reason"], "denied", "{one}");
        assert_eq!(one["caller"], "spiffe://boshy/ns/sample-deployment/sa/apricot", "{one}");
        assert_eq!(one["details"], DENIED_BY, "{one}");
    }
    assert!(lab.log(DENIED_VM, AGENT).contains("tunnel refused"));
    let is_told = |line: &str| line.contains("tunnel refused") && line.contains(DENIED_BY);
    let logged = |job: &str| INSTANCES.iter().any(|vm| lab.log(vm, job).lines().any(is_told));
    assert!(logged(AGENT));
    lab.eventually("an instance's Envoy logs it", || logged(ENVOY));
    let counted = |vm: &str, side: &str| {
        lab.sh(vm, "curl -s --max-time 5 http://127.0.0.1:15020/metrics")
            .contains(&format!("boshy_tunnels_refused_total{{side=\"{side}\",reason="))
    };
    assert!(counted(DENIED_VM, "caller"));
    assert!(INSTANCES.iter().any(|vm| counted(vm, "instance")));
}

fn a_wrong_config_leaves_the_right_one_in_force(lab: &Lab) {
    let config = || {
        let pilot = lab.pilot();
        pilot["configs"].as_array().into_iter().flatten().find(|one| one["name"] == "net").cloned().unwrap_or_default()
    };
    let right = config()["applied"].clone();
    upload(lab, &POLICY.replace("action", "actoin"));
    lab.eventually("the mistake is named", || {
        config()["error"].as_str().is_some_and(|error| error.contains("actoin") && error.contains("line 8, column 5"))
    });
    let wrong = config();
    assert_eq!(wrong["applied"], right, "{wrong}");
    assert_ne!(wrong["latest"], right, "{wrong}");
    assert!(!may_call(lab, "apricot") && !lab.answers(DENIED_VM, BANANA.host, BANANA));

    upload(lab, &POLICY.replace("sa/apricot", "sa/nobody"));
    lab.eventually("a caller who does not exist is named", || {
        let pilot = lab.pilot();
        let mut problems = pilot["problems"].as_array().into_iter().flatten();
        let nobody = |one: &&Value| one["reason"].as_str().is_some_and(|reason| reason.contains("sa/nobody"));
        problems.find(nobody).is_some_and(|one| one["place"]["position"]["line"] == 10)
    });
    assert!(may_call(lab, "apricot"));
}
