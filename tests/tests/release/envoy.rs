//! The job `bosh-envoy`.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use crate::job::{Deployed, ID, IP, program};

const ENVOY: &str = "/var/vcap/packages/envoy/bin/envoy";
const SETTINGS: &str = "/var/vcap/jobs/bosh-envoy/config/agent.yml";

fn envoy() -> Deployed {
    Deployed::of("bosh-envoy")
}

/// The arguments with which the job's process starts Envoy, and the bootstrap.
fn started(deployed: &Deployed) -> (Vec<String>, Value) {
    let rendered = deployed.rendered();
    let installed = rendered.installed();
    let run_dir = installed.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    // An Envoy that tells its arguments and has its parent told to stop.
    let envoy = installed.path().join("envoy");
    let fake = "#!/bin/bash\n[ \"$*\" = --version ] && exec echo 'envoy  version: 9e55/1.36.4/Clean/RELEASE/BoringSSL'\n\
                echo \"$@\"; kill -TERM $PPID; exec sleep 60\n";
    fs::write(&envoy, fake).unwrap();
    fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755)).unwrap();
    let process = rendered.process();
    let arguments: Vec<String> = serde_json::from_value(process["args"].clone()).unwrap();
    let arguments = arguments.iter().map(|argument| match argument.as_str() {
        ENVOY => envoy.display().to_string(),
        SETTINGS => installed.path().join("config/agent.yml").display().to_string(),
        other => other.to_owned(),
    });
    let output = Command::new(program("BOSHY_BIN"))
        .args(arguments)
        .env("BOSHY__ENVOY__ADMIN", "127.0.0.1:0")
        .env("BOSHY__ENVOY__RUN_DIR", &run_dir)
        .env("BOSHY__ENVOY__HEALTH_SOCKET", run_dir.join("health.sock"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (bootstrap, rest) = text.strip_prefix("--config-yaml ").unwrap().rsplit_once('}').unwrap();
    let bootstrap: Value = serde_json::from_str(&format!("{bootstrap}}}")).unwrap();
    let admin = bootstrap["admin"]["address"]["pipe"]["path"].as_str().unwrap();
    assert_eq!(admin, run_dir.join("admin-0.sock").to_str().unwrap());
    (rest.split_whitespace().map(str::to_owned).collect(), bootstrap)
}

#[test]
fn its_bootstrap_names_the_instance_and_the_agents_socket() {
    let (arguments, bootstrap) = started(&envoy());
    assert_eq!(
        arguments,
        [
            "--disable-hot-restart",
            "--concurrency",
            "2",
            "--log-level",
            "warning",
            "--drain-time-s",
            "315360000",
            "--drain-strategy",
            "immediate"
        ]
    );
    assert_eq!(bootstrap["node"]["id"], format!("sidecar~{IP}~{ID}~x"));
    let text = bootstrap.to_string();
    assert!(text.contains("/var/vcap/data/virtual-ip-agent/ads.sock"), "{text}");
    assert_eq!(envoy().rendered().json("config/agent.yml")["envoy"]["admin"], "127.0.0.1:8001");
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
    let (arguments, _) = started(&envoy().with("concurrency", 1).with("log_level", "info"));
    assert_eq!(arguments[..5], ["--disable-hot-restart", "--concurrency", "1", "--log-level", "info"]);
    let rendered = envoy()
        .with("admin_port", 9001)
        .with("ready_timeout", 7)
        .with("stop_timeout", 9)
        .with("overlap_timeout", 60)
        .rendered();
    let script = |name: &str, part: &str| assert!(rendered.file(name).contains(part), "{name}: {part}");
    script("bin/post-start", "127.0.0.1:9001");
    script("bin/post-start", "SECONDS + 7");
    let settings = rendered.json("config/agent.yml");
    assert_eq!(settings["envoy"]["admin"], "127.0.0.1:9001");
    assert_eq!((&settings["stop_timeout"], &settings["envoy"]["overlap_timeout"]), (&json!(9), &json!("60s")));
}

#[test]
fn connections_are_kept_as_long_and_as_many_as_the_properties_say() {
    let process = envoy().rendered().process();
    let arguments = process["args"].as_array().unwrap();
    let drain = arguments.iter().position(|argument| argument == "--drain-time-s").unwrap();
    let years = arguments[drain + 1].as_str().unwrap().parse::<u64>().unwrap() / (365 * 24 * 3600);
    assert!(years >= 1, "Envoy ends the connections of a listener that changed");
    // Twenty thousand connections to one service and three thousand to each of ten, counted twice.
    assert!(process["limits"]["open_files"].as_u64().unwrap() >= 2 * (20_000 + 10 * 3_000));

    let options =
        |envoy: &Deployed| started(envoy).1["cluster_manager"]["upstream_bind_config"]["socket_options"].clone();
    // TCP_KEEPIDLE; the probes take the rest of the time.
    let idle = |seconds: u32| json!({"level": 6, "name": 4, "int_value": seconds});
    assert!(options(&envoy()).as_array().unwrap().contains(&idle(20)));
    assert!(options(&envoy().with("peer_timeout", 10)).as_array().unwrap().contains(&idle(4)));
    // TCP_USER_TIMEOUT would also end a connection to an instance that is alive but does not read.
    assert!(!options(&envoy()).to_string().contains(r#""name":18"#));
    assert_eq!(options(&envoy().with("peer_timeout", 0)), json!([]));
    assert_eq!(envoy().with("open_files", 9000).rendered().process()["limits"]["open_files"], 9000);
}

#[test]
fn it_has_no_capability_unless_programs_are_to_see_callers_and_sees_the_agents_socket() {
    let process = envoy().rendered().process();
    assert_eq!(process.get("capabilities"), None);
    let process = envoy().with("original_src", true).rendered().process();
    assert_eq!(process["capabilities"], json!(["NET_ADMIN"]));
    let instance = json!({"path": "/var/vcap/instance", "mount_only": true});
    let [data, run] = ["data", "sys/run"].map(|at| json!({"path": format!("/var/vcap/{at}/virtual-ip-agent")}));
    assert_eq!(process["additional_volumes"], json!([data, run, instance]));
}

#[test]
fn a_wrong_property_is_refused_by_name() {
    let cases: [(&str, Value, &str); 12] = [
        ("original_src", json!("yes"), "must be true or false"),
        ("admin_port", json!("8001"), "must be a whole number"),
        ("concurrency", json!(0), "must be a whole number from 1 to 256"),
        ("protocol", json!("rest"), "must be one of delta, sotw"),
        ("log_level", json!("loud"), "must be one of trace, debug"),
        ("ready_timeout", json!("10s"), "must be a whole number of seconds"),
        ("stop_timeout", json!(1.5), "must be a whole number from 0 to 15"),
        ("stop_timeout", json!(16), "must be a whole number from 0 to 15"),
        ("overlap_timeout", json!("10min"), "must be a whole number of seconds from 0 to 86400"),
        ("peer_timeout", json!("50s"), "must be a whole number of seconds"),
        ("peer_timeout", json!(4), "must be a whole number of seconds from 5 to 86400, or 0"),
        ("open_files", json!(100), "must be a whole number of at least 4096"),
    ];
    for (property, value, reason) in cases {
        envoy().with(property, value).is_refused(property, reason);
    }
}
