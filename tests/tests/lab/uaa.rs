//! A director with a UAA: the BOSH CLI and the pilot log in with a client and its secret, and use tokens from then on.

use std::fs;

use serde_json::Value;

use crate::{
    driver::Lab,
    load::SteadyRequests,
    manifests::{BANANA, small},
};

const MESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/bosh-istio-deployment.yml");
const DIRECTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/operations/director.yml");
/// Requested by the manifests.
const VERSION: &str = "0.1.0";

#[test]
fn the_cli_deploys_a_pilot_that_reads_a_director_behind_a_uaa() {
    let lab = Lab::nowhere();
    lab.succeeds(["up", "--empty", "--uaa"]);
    let access: Value = serde_json::from_slice(&fs::read(lab.state().join("director.json")).unwrap()).unwrap();
    let access = |key: &str| access[key].as_str().unwrap().to_owned();
    let ca = lab.file("ca.pem", &access("ca_pem"));
    let environment = lab.bosh(["env", "--json"]);
    assert!(environment.contains("\"user\": \"admin\""), "{environment}");
    refuses_passwords(&lab, &format!("{}:{}", access("client"), access("secret")));

    lab.bosh(["upload-release", lab.release(VERSION).to_str().unwrap()]);
    let variables = [
        ("director_url", "https://10.244.0.2:25555".to_owned()),
        ("director_client", access("client")),
        ("bosh_director_client_secret", access("secret")),
    ];
    let variables = variables.map(|(name, value)| format!("--var={name}={value}"));
    let ca = format!("--var-file=bosh_director_ca_cert={}", ca.display());
    let deploy = ["-d", "bosh-istio", "deploy", MESH, "-o", DIRECTOR, &ca];
    lab.bosh(deploy.into_iter().chain(variables.iter().map(String::as_str)));
    lab.eventually("the pilot has read the director", || {
        let pilot = lab.pilot();
        pilot["ready"] == true
            && pilot["director"]["error"].is_null()
            && pilot["deployments"][0]["name"] == "bosh-istio"
    });
}

#[test]
fn a_lab_comes_up_behind_a_uaa_in_one_command() {
    let lab = Lab::nowhere();
    let manifest = lab.file("small.yml", &small());
    lab.succeeds(["up", "--uaa", "--manifest", manifest.to_str().unwrap()]);
    assert!(lab.pilot()["director"]["error"].is_null());
    SteadyRequests::start(&lab, "apricot/0", BANANA).stop().is_flawless();
    let vms = lab.bosh(["vms"]);
    assert!(vms.contains("banana/") && vms.contains("bosh-pilot/"), "{vms}");
}

/// The director's own users are not users of the UAA.
fn refuses_passwords(lab: &Lab, user: &str) {
    let script = r#"eval "$1"
        curl -sS -o /dev/null -w '%{http_code}' --cacert <(echo "$BOSH_CA_CERT") -u "$2" "$BOSH_ENVIRONMENT/deployments""#;
    let mut command = std::process::Command::new("bash");
    let output = command.args(["-c", script, "curl", &lab.succeeds(["env"]), user]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "401", "{output:?}");
}
