//! VMs that prove by their BOSH agents who they are.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::{
    driver::{AGENT, Lab},
    manifests::{BANANA, small},
};

const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/operations");
const SETTINGS: &str = "/var/vcap/bosh/settings.json";
const VOUCHER: &str = "/var/vcap/jobs/virtual-ip-agent/config/voucher";

#[test]
fn the_operator_lets_bosh_agents_vouch_for_the_vms_first_and_asks_for_it_then() {
    let lab = Lab::with(&small());
    let nats = director_ca();
    for vm in lab.vms() {
        gets_credentials(&lab, &vm, &nats);
    }

    // In the wrong order: no VM gets a certificate, each is named with what to do, and the mesh goes on without.
    let manifest = lab.file("bosh-istio.yml", &lab.bosh(["-d", "bosh-istio", "manifest"]));
    let ca = lab.file("nats_ca.pem", &nats.pem());
    let (identities, asking) =
        (format!("{OPERATIONS}/identities.yml"), format!("{OPERATIONS}/attestation-bosh-agent.yml"));
    let variable = format!("bosh_agent_ca={}", ca.display());
    let deploy = ["-d", "bosh-istio", "deploy", manifest.to_str().unwrap(), "-o", &identities, "-o", &asking];
    lab.bosh(deploy.into_iter().chain(["--var-file", &variable]));
    lab.eventually("a VM is refused", || lab.pilot()["identity"]["refused"]["no_proof"].as_u64() > Some(0));
    assert_eq!(lab.pilot()["identity"]["issued"], 0);
    assert!(lab.answers("apricot/0", BANANA.host, BANANA));

    let config = lab.file("runtime.yml", &lab.bosh(["runtime-config"]));
    let vouching = format!("{OPERATIONS}/runtime-attestation-bosh-agent.yml");
    lab.bosh(["update-runtime-config", config.to_str().unwrap(), "-o", &vouching]);
    lab.deploys(&small());
    for vm in lab.vms() {
        lab.eventually(&format!("{vm} has a certificate"), || {
            lab.get(&vm, "/status").is_some_and(|status| status["identity"]["certificate"].is_object())
        });
        let of = |file| lab.sh(&vm, &format!("stat -c '%a %u' {file}"));
        assert_eq!((of(VOUCHER).trim(), of(SETTINGS).trim()), ("640 0", "600 0"), "{vm}");
    }

    // A VM whose key is lost comes back alone.
    lab.sh("banana/0", "rm /var/vcap/data/virtual-ip-agent/state/identity");
    lab.kills("banana/0", AGENT);
    lab.eventually("it has a certificate again", || {
        lab.get("banana/0", "/status").is_some_and(|status| status["identity"]["certificate"].is_object())
    });
}

/// The CA of the director's BOSH agents.
fn director_ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "default.nats-ca.bosh-internal");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A VM's BOSH agent gets its certificate, as a director without short-lived credentials gives it.
fn gets_credentials(lab: &Lab, vm: &str, ca: &CertifiedIssuer<'static, KeyPair>) {
    let agent_id = agent_id(lab, vm);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("{agent_id}.agent.bosh-internal"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, ca).unwrap().pem();
    let credentials = json!({"ca": ca.pem(), "certificate": certificate, "private_key": key.serialize_pem()});
    let settings = json!({"agent_id": agent_id, "env": {"bosh": {"mbus": {"cert": credentials}}}}).to_string();
    lab.sh(vm, &format!("umask 077; mkdir -p /var/vcap/bosh; cat >{SETTINGS} <<'END'\n{settings}\nEND"));
}

/// The agent id of a VM, by the records that it has.
fn agent_id(lab: &Lab, vm: &str) -> String {
    let records: Value = serde_json::from_str(&lab.sh(vm, "cat /var/vcap/instance/dns/records.json")).unwrap();
    let instance = lab.sh(vm, "cat /var/vcap/instance/id");
    let place = |key| records["record_keys"].as_array().unwrap().iter().position(|known| known == key).unwrap();
    let (id, agent_id) = (place("id"), place("agent_id"));
    let row = records["record_infos"].as_array().unwrap().iter().find(|row| row[id] == instance.trim());
    row.unwrap()[agent_id].as_str().unwrap().to_owned()
}
