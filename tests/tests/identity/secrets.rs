//! No key is in any log, error, status, metric, debug text, or file but its own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use boshy_tests::{AGENT_IP, AgentPlan, Detour, Operated, log_everything, until, with_own_network};

use crate::site::{NAME, ONE, SHOP, Site, Vm, key};

const VM: Vm = Vm { address: AGENT_IP, ..ONE };
/// Where a P-256 key in PKCS#8 has its secret number (RFC 5915, RFC 5958).
const SECRET: std::ops::Range<usize> = 36..68;

#[test]
fn no_key_is_in_any_log_error_status_metric_debug_text_or_file_but_its_own() {
    with_own_network(|| {
        let log = log_everything();
        let site = Site::new();
        site.lists(&[VM]);
        let way = Detour::new(VM.address, site.pilot.xds_address());
        let agent = AgentPlan::of_pilot_at(&format!("https://{NAME}:{}", way.entrance().port()), &site.shared).starts();
        agent.answers(SHOP, site.pilot.vip(SHOP));
        agent.shows("the VM has a certificate", |status| status["identity"]["certificate"].is_object());
        let own = agent.state_dir().join("identity");
        let keys = [("the VM's", key_in(&own)), ("the authority's", site.mesh.key_pem())];
        let shared = [("the deployment's", site.shared.read("key")), ("its authority's", site.deployment.key_pem())];

        let found = fs::read_to_string(&own).unwrap();
        assert!(forms(&keys[0].1).iter().any(|form| found.contains(form)), "a key in plain sight is not found");

        // What can go wrong with a key at hand does.
        let errors = [
            site.asks(VM.address, &site.shared, &key()).unwrap_err(),
            site.asks(ONE.address, &site.shared, &key()).unwrap_err(),
            site.sends(VM.address, &site.shared, &keys[0].1).unwrap_err(),
            site.director.pilot().refuses_authority(&site.mesh.pem(), &keys[0].1),
            site.director.pilot().refuses_authority(&site.mesh.key_pem(), &keys[1].1.replace('\n', " ")),
        ];
        site.pilot.panics("certificate_authority");
        agent.panics("identity_keeper");
        agent.shows("it is back", |status| status["identity"]["certificate"].is_object());

        let mut told: Vec<_> = errors.into_iter().map(|error| ("an error", error)).collect();
        told.push(("the pilot's settings", site.pilot.settings()));
        told.push(("the agent's settings", agent.settings()));
        for page in ["/status", "/metrics"] {
            told.push((page, site.pilot.get(page).body));
            told.push((page, agent.get(page).body));
        }
        told.push(("a file", files_but(&[&own, &own.with_extension("copy")], agent.state_dir())));
        told.push(("a file", files_but(&[], site.pilot.state_dir())));
        let log = until("all is logged", &log, |log| log.contains("issued a certificate") && log.contains("TRACE"));
        told.push(("the log", log));
        for (whose, key) in keys.iter().chain(&shared) {
            for (place, text) in &told {
                let found = forms(key).into_iter().find(|form| text.contains(form));
                assert_eq!(found, None, "{whose} key is in {place}");
            }
        }
    });
}

/// The private key in an agent's file of its identity, which others cannot read.
fn key_in(file: &Path) -> String {
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let content = fs::read_to_string(file).unwrap();
    let key = &content[content.find("-----BEGIN PRIVATE KEY").unwrap()..];
    key[..key.find("\\n\"").unwrap()].replace("\\r", "").replace("\\n", "\n")
}

/// What a text that gives a key away would contain.
fn forms(key: &str) -> Vec<String> {
    let secret = &pem::parse(key).unwrap().into_contents()[SECRET];
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let list = format!("{secret:?}");
    let lines = key.lines().filter(|line| !line.starts_with("---")).map(str::to_owned);
    let numbers = list.trim_matches(['[', ']']).to_owned();
    lines.chain([hex.to_uppercase(), hex, numbers]).collect()
}

/// The content of all files of a directory but some.
fn files_but(some: &[&Path], directory: &Path) -> String {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let others = files.filter(|path| path.is_file() && !some.contains(&path.as_path()));
    others.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
}
