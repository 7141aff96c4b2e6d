//! The job `bosh-envoy`.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::job::{Deployed, ID, IP, program};

fn envoy() -> Deployed {
    Deployed::of("bosh-envoy")
}

/// What the job's script hands to Envoy, and to which program.
fn started(deployed: &Deployed) -> (Vec<String>, Value) {
    let rendered = deployed.rendered();
    let installed = rendered.installed();
    let envoy = installed.path().join("envoy");
    fs::copy("/bin/echo", &envoy).unwrap();
    let script = fs::read_to_string(installed.path().join("bin/envoy"))
        .unwrap()
        .replace("/var/vcap/packages/boshy/bin/boshy", program("BOSHY_BIN").to_str().unwrap())
        .replace("/var/vcap/packages/envoy/bin/envoy", envoy.to_str().unwrap());
    let process = rendered.process();
    let arguments: Vec<String> = serde_json::from_value(process["args"].clone()).unwrap();
    let environment: Vec<(String, String)> = process["env"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let output =
        Command::new("bash").arg("-c").arg(script).arg("envoy").args(arguments).envs(environment).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (bootstrap, rest) = text.strip_prefix("--config-yaml ").unwrap().rsplit_once('}').unwrap();
    (rest.split_whitespace().map(str::to_owned).collect(), serde_json::from_str(&format!("{bootstrap}}}")).unwrap())
}

#[test]
fn its_bootstrap_names_the_instance_and_the_agents_socket() {
    let (arguments, bootstrap) = started(&envoy());
    assert_eq!(arguments, ["--concurrency", "2", "--log-level", "warning", "--disable-hot-restart"]);
    assert_eq!(bootstrap["node"]["id"], format!("sidecar~{IP}~{ID}~x"));
    let text = bootstrap.to_string();
    assert!(text.contains("/var/vcap/data/virtual-ip-agent/ads.sock"), "{text}");
    assert_eq!(bootstrap["admin"]["address"]["socket_address"], json!({"address": "127.0.0.1", "port_value": 8001}));
}

#[test]
fn envoy_accepts_the_bootstrap_of_either_protocol() {
    for protocol in ["delta", "sotw"] {
        let (_, bootstrap) = started(&envoy().with("protocol", protocol));
        let api_type = if protocol == "delta" { "DELTA_GRPC" } else { "GRPC" };
        assert_eq!(bootstrap["dynamic_resources"]["ads_config"]["api_type"], api_type);
        let checked = Command::new(program("BOSHY_ENVOY"))
            .args(["--mode", "validate", "--log-level", "error", "--config-yaml", &bootstrap.to_string()])
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn each_property_arrives() {
    let (arguments, bootstrap) =
        started(&envoy().with("concurrency", 1).with("log_level", "info").with("admin_port", 9001));
    assert_eq!(arguments, ["--concurrency", "1", "--log-level", "info", "--disable-hot-restart"]);
    assert_eq!(bootstrap["admin"]["address"]["socket_address"]["port_value"], 9001);
    let rendered = envoy().with("admin_port", 9001).with("ready_timeout", 7).with("stop_timeout", 9).rendered();
    let script = |name: &str, part: &str| assert!(rendered.file(name).contains(part), "{name}: {part}");
    script("bin/post-start", "127.0.0.1:9001");
    script("bin/post-start", "SECONDS + 7");
    script("bin/envoy", "127.0.0.1:9001");
    script("bin/envoy", "SECONDS + 9");
}

#[test]
fn it_has_no_capability_and_sees_the_agents_socket() {
    let process = envoy().rendered().process();
    assert_eq!(process.get("capabilities"), None);
    let instance = json!({"path": "/var/vcap/instance", "mount_only": true});
    assert_eq!(process["additional_volumes"], json!([{"path": "/var/vcap/data/virtual-ip-agent"}, instance]));
}

#[test]
fn a_wrong_property_is_refused_by_name() {
    let cases: [(&str, Value, &str); 7] = [
        ("admin_port", json!("8001"), "must be a whole number"),
        ("concurrency", json!(0), "must be a whole number from 1 to 256"),
        ("protocol", json!("rest"), "must be one of delta, sotw"),
        ("log_level", json!("loud"), "must be one of trace, debug"),
        ("ready_timeout", json!("10s"), "must be a whole number of seconds"),
        ("stop_timeout", json!(1.5), "must be a whole number from 0 to 15"),
        ("stop_timeout", json!(16), "must be a whole number from 0 to 15"),
    ];
    for (property, value, reason) in cases {
        envoy().with(property, value).is_refused(property, reason);
    }
}
