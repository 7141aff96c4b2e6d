//! Certificates and roots are replaced under load, and connections that are open live on.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    connections::PEER_PORT,
    driver::{AGENT, Lab, PILOT, PILOT_VM},
    load::SteadyRequests,
    manifests::{APRICOT, BANANA, sample},
    mtls::{OPERATIONS, is_tunnelled},
    peers::Peer,
    wait::within,
};

const CLIENT_VM: &str = "apricot/0";
/// It is not called and calls nobody, so it may be deaf or off for a while.
const BYSTANDER_VM: &str = "apricot/1";
const SERVER_VM: &str = "banana/0";
/// Connections that are open all the time.
const HELD: &str = "100";
/// Life of certificates while the bystander is off, in seconds.
const LIFE: u64 = 12;
/// A route of the pilot's VM that leaves it without its director.
const NO_DIRECTOR: &str = "unreachable 10.244.0.2";
/// Changes a property of the pilot's identities.
const PROPERTY: &str = "/instance_groups/name=bosh-pilot/jobs/name=bosh-pilot/properties/identity";
const NEXT: &str = "/boshy/mesh_identity_next";

/// The mesh in strict mode, with requests and connections from one VM to another.
struct Traffic {
    lab: Lab,
    _server: Peer,
    held: Peer,
    load: SteadyRequests,
}

impl Traffic {
    /// `operations` is added to what switches the mode.
    fn start(operations: &str) -> Self {
        let peer = format!("      number: 9002\n    - name: peer\n      number: {PEER_PORT}\n");
        let lab = Lab::with(&format!("{}\n", sample(2, 1)).replace("      number: 9002\n", &peer));
        let [identities, strict] = ["identities", "mtls-strict"].map(|name| format!("{OPERATIONS}/{name}.yml"));
        let more = lab.file("more.yml", operations).display().to_string();
        deploy(&lab, &[&identities, &strict, &more]);
        lab.eventually("every VM has a certificate, and banana is reached over mutual TLS", || {
            lab.vms().iter().all(|vm| serial(&lab, vm).is_some()) && is_tunnelled(&lab, BANANA)
        });
        lab.is_in_agreement();
        let server = Peer::listening(&lab, SERVER_VM, &["echo", &PEER_PORT.to_string()]);
        let mut held =
            Peer::start(&lab, CLIENT_VM, &["hold", &format!("{}:{PEER_PORT}", lab.vips()[BANANA.host]), HELD]);
        assert_eq!(held.hears(), HELD);
        let load = SteadyRequests::start(&lab, CLIENT_VM, BANANA);
        Self { lab, _server: server, held, load }
    }

    /// Asserts that new requests are answered, and that what is open lives.
    fn goes_on(&mut self, after: &str) {
        self.load.go_on();
        self.held.tell("again");
        assert_eq!(self.held.hears(), HELD, "connections live after {after}");
    }

    /// Ends the traffic, in which nothing may have failed.
    fn ends_flawless(self) -> Lab {
        self.load.stop().is_flawless();
        self.lab
    }
}

fn deploy(lab: &Lab, operations: &[&str]) {
    let manifest = lab.file("bosh-istio.yml", &lab.bosh(["-d", "bosh-istio", "manifest"]));
    let operations = operations.iter().flat_map(|file| ["-o", file]);
    lab.bosh(["-d", "bosh-istio", "deploy", manifest.to_str().unwrap()].into_iter().chain(operations));
}

/// Deploys the pilot with operations that a test has.
fn deploy_with(lab: &Lab, operations: &str) {
    let file = lab.file("change.yml", operations).display().to_string();
    deploy(lab, &[&file]);
}

fn replace(path: &str, value: &str) -> String {
    format!("- {{type: replace, path: \"{path}\", value: {value}}}\n")
}

fn certificate(lab: &Lab, vm: &str) -> Value {
    lab.get(vm, "/status").unwrap_or_default()["identity"]["certificate"].clone()
}

fn serial(lab: &Lab, vm: &str) -> Option<String> {
    certificate(lab, vm)["serial"].as_str().map(str::to_owned)
}

/// What the pilot remembers of an instance's latest certificate, from its state file.
fn known(lab: &Lab, instance: &str) -> Value {
    let file = lab.sh(PILOT_VM, "tail -n +2 /var/vcap/store/bosh-pilot/identities");
    let known: Value = serde_json::from_str(&file).unwrap();
    known.as_object().unwrap().values().find(|known| known["instance"] == instance).unwrap().clone()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A VM that has come back calls others over mutual TLS, which is the only way, and is called.
fn takes_part(lab: &Lab, vm: &str) {
    lab.eventually(&format!("{vm} reaches banana"), || lab.answers(vm, BANANA.host, BANANA));
    SteadyRequests::start(lab, vm, BANANA).stop().is_flawless();
    let calls = SteadyRequests::start(lab, SERVER_VM, APRICOT);
    calls.reach(vm);
    calls.stop().is_flawless();
}

#[test]
fn certificates_of_seconds_are_replaced_under_load_and_without_pilot_and_director_vms_come_back_by_themselves() {
    let mut traffic = Traffic::start(&replace(&format!("{PROPERTY}/leaf_life?"), &format!("{LIFE}s")));
    let bystander = traffic.lab.sh(BYSTANDER_VM, "hostname").trim().to_owned();
    traffic.lab.switches_off(BYSTANDER_VM);
    let last = known(&traffic.lab, &bystander);
    let mut seen = BTreeSet::new();
    for vm in [CLIENT_VM, SERVER_VM] {
        seen.extend(serial(&traffic.lab, vm));
    }
    for turn in 1..=2 {
        traffic.lab.eventually("both ends have other certificates", || {
            [CLIENT_VM, SERVER_VM]
                .iter()
                .all(|vm| serial(&traffic.lab, vm).is_some_and(|serial| !seen.contains(&serial)))
        });
        for vm in [CLIENT_VM, SERVER_VM] {
            seen.extend(serial(&traffic.lab, vm));
        }
        traffic.goes_on(&format!("rotation {turn}"));
    }
    assert!(traffic.lab.answers(SERVER_VM, APRICOT.host, APRICOT), "a connection that is made now fails");

    // The life is long enough to look at what happens in its second half.
    let longer = "sed -i 's/\"12s\"/\"40s\"/' /var/vcap/jobs/bosh-pilot/config/pilot.yml";
    traffic.lab.sh(PILOT_VM, longer);
    traffic.lab.kills(PILOT_VM, PILOT);
    let life = |vm: &str| {
        let certificate = certificate(&traffic.lab, vm);
        certificate["not_after"].as_u64().zip(certificate["not_before"].as_u64()).map(|(end, start)| end - start)
    };
    traffic.lab.eventually("the new life", || [CLIENT_VM, SERVER_VM].iter().all(|vm| life(vm) == Some(600 + 40)));
    traffic.lab.sh(PILOT_VM, &format!("ip route add {NO_DIRECTOR}"));
    traffic.lab.stops(PILOT_VM, PILOT);
    let missed = |vm: &str| traffic.lab.get(vm, "/status").unwrap_or_default()["identity"]["error"].is_string();
    traffic.lab.eventually("half of the life has passed", || [CLIENT_VM, SERVER_VM].iter().all(|vm| missed(vm)));
    traffic.goes_on("half of a life without a pilot");
    let before = serial(&traffic.lab, CLIENT_VM);
    let lab = traffic.ends_flawless();

    lab.succeeds(["reboot", CLIENT_VM]);
    lab.eventually("a rebooted VM reaches banana without a pilot", || lab.answers(CLIENT_VM, BANANA.host, BANANA));
    assert_eq!(serial(&lab, CLIENT_VM), before);
    lab.starts(PILOT_VM, PILOT);
    lab.eventually("it is renewed", || serial(&lab, CLIENT_VM).is_some_and(|serial| Some(serial) != before));

    lab.eventually("a VM has been off for three lives", || now() > last["end"].as_u64().unwrap() + 3 * LIFE);
    lab.succeeds(["reboot", BYSTANDER_VM]);
    let valid = || certificate(&lab, BYSTANDER_VM)["not_after"].as_u64().is_some_and(|end| end > now());
    lab.eventually("it has a certificate", valid);
    assert_eq!(known(&lab, &bystander)["key"], last["key"]);
    takes_part(&lab, BYSTANDER_VM);
    assert!(lab.pilot()["director"]["error"].is_string(), "the pilot has a director");

    lab.sh(PILOT_VM, &format!("ip route del {NO_DIRECTOR}"));
    lab.eventually("the pilot has its director again", || lab.pilot()["director"]["error"].is_null());
    lab.is_in_agreement();
}

/// Lets the pilot issue by the authority of this variable, or have it as the one `previous?/`.
fn authority(which: &str, variable: &str) -> String {
    let set = |key: &str, part: &str| replace(&format!("{PROPERTY}/{which}{key}"), &format!("(({variable}.{part}))"));
    set("ca_certificate", "certificate") + &set("ca_private_key", "private_key")
}

/// Declares a second root, and an authority under it.
fn next_authority() -> String {
    let certificate = |name: &str, more: &str| {
        let options = format!("{{is_ca: true, common_name: next{more}}}");
        format!(
            "- {{type: replace, path: /variables/-, value: {{name: {NEXT}_{name}, type: certificate, options: {options}}}}}\n"
        )
    };
    certificate("root", "-root") + &certificate("ca", &format!(", ca: {NEXT}_root"))
}

fn both_roots() -> String {
    let root = |name: &str| format!("((/boshy/mesh_identity{name}_root.certificate))\\n");
    replace(&format!("{PROPERTY}/roots"), &format!("\"{}{}\"", root(""), root("_next")))
}

fn next_root() -> String {
    replace(&format!("{PROPERTY}/roots"), &format!("(({NEXT}_root.certificate))"))
}

fn all_trust_one_root(lab: &Lab) -> bool {
    let trusts_one = |vm: &String| certificate(lab, vm)["roots"].as_array().is_some_and(|roots| roots.len() == 1);
    lab.vms().iter().all(trusts_one)
}

/// `boshy identity check STEP` on the pilot's VM: what it prints when it refuses.
fn refusal(lab: &Lab, step: &str) -> Option<String> {
    let output = lab.run(["exec", PILOT_VM, "--", "/var/vcap/packages/boshy/bin/boshy", "identity", "check", step]);
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_root_is_replaced_through_both_under_load_and_in_the_wrong_order_the_command_refuses() {
    let mut traffic = Traffic::start("[]");
    let told = refusal(&traffic.lab, "sign").unwrap();
    assert!(told.contains("the pilot has one root"), "{told}");

    // Both roots, which one VM does not hear of.
    traffic.lab.stops(BYSTANDER_VM, AGENT);
    deploy_with(&traffic.lab, &(next_authority() + &both_roots()));
    traffic.lab.eventually("the command refuses for one VM", || {
        refusal(&traffic.lab, "sign").is_some_and(|told| told.lines().count() == 2 && told.contains("/apricot/"))
    });
    traffic.lab.starts(BYSTANDER_VM, AGENT);
    traffic.lab.eventually("every VM trusts both", || refusal(&traffic.lab, "sign").is_none());
    traffic.goes_on("both roots");

    // The other authority, of which one VM gets no certificate.
    traffic.lab.stops(BYSTANDER_VM, AGENT);
    deploy_with(&traffic.lab, &authority("", &format!("{NEXT}_ca")));
    traffic.lab.eventually("the command refuses for one VM", || {
        refusal(&traffic.lab, "retire").is_some_and(|told| told.lines().count() == 2 && told.contains("/apricot/"))
    });
    traffic.lab.starts(BYSTANDER_VM, AGENT);
    traffic.lab.eventually("every VM has a certificate of it", || refusal(&traffic.lab, "retire").is_none());
    traffic.goes_on("another authority");

    deploy_with(&traffic.lab, &next_root());
    traffic.lab.eventually("every VM trusts the next root alone", || all_trust_one_root(&traffic.lab));
    assert!(traffic.lab.answers(SERVER_VM, APRICOT.host, APRICOT), "a connection that is made now fails");
    traffic.goes_on("the old root");
    traffic.ends_flawless();
}

#[test]
#[ignore = "takes two minutes: make chaos"]
fn a_root_is_replaced_in_two_deploys_by_a_pilot_that_has_both_authorities() {
    let mut traffic = Traffic::start("[]");
    let before = serial(&traffic.lab, BYSTANDER_VM);
    let both = authority("", &format!("{NEXT}_ca")) + &authority("previous?/", "/boshy/mesh_identity_ca");
    deploy_with(&traffic.lab, &(next_authority() + &both + &both_roots()));
    // The pilot waits for two heartbeats of the reports before it issues by the next authority.
    within(Duration::from_secs(180), "every VM has a certificate of the next authority", || {
        refusal(&traffic.lab, "retire").is_none()
    });
    assert_ne!(serial(&traffic.lab, BYSTANDER_VM), before);
    traffic.goes_on("both authorities");

    deploy_with(&traffic.lab, &(next_root() + &format!("- {{type: remove, path: {PROPERTY}/previous}}\n")));
    traffic.lab.eventually("every VM trusts the next root alone", || all_trust_one_root(&traffic.lab));
    assert!(traffic.lab.answers(SERVER_VM, APRICOT.host, APRICOT), "a connection that is made now fails");
    traffic.goes_on("the old root");
    traffic.ends_flawless();
}
