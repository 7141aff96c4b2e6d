//! Tests settings files as operators write them.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{fs, path::PathBuf, time::Duration};

use boshy_config::{AgentSettings, EnvoySettings, PilotSettings, SettingsError};
use err_report::Report;

fn example(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.yml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn pilot(text: &str) -> Result<PilotSettings, SettingsError> {
    let (_dir, path) = file(text);
    PilotSettings::load(&path)
}

fn agent(text: &str) -> Result<AgentSettings, SettingsError> {
    let (_dir, path) = file(text);
    AgentSettings::load(&path)
}

/// A root that may issue certificates, and its key.
fn authority() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    (root(&key), key.serialize_pem())
}

/// A new root with this key.
fn root(key: &rcgen::KeyPair) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(key).unwrap().pem()
}

/// The example with its commented defaults enabled.
fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if rest.split('#').next().is_some_and(is_setting) => line.replacen("# ", "", 1),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_setting(text: &str) -> bool {
    text.trim_start().split_once(':').is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

#[test]
fn the_pilot_example_is_accepted_and_its_comments_are_the_defaults() {
    let text = example("pilot.example.yml");
    let written = pilot(&uncommented(&text)).unwrap();
    assert!(uncommented(&text).contains("\ntld: boshy"), "the defaults were switched on");
    assert_eq!(format!("{:?}", pilot(&text).unwrap()), format!("{written:?}"));
}

#[test]
fn the_agent_example_is_accepted_and_its_comments_are_the_defaults() {
    let text = example("agent.example.yml");
    let written = agent(&uncommented(&text)).unwrap();
    assert!(uncommented(&text).contains("\nenvoy:\n  admin"), "the defaults were switched on");
    assert_eq!(format!("{:?}", agent(&text).unwrap()), format!("{written:?}"));
}

#[test]
fn an_unknown_key_is_refused_with_file_key_and_reason() {
    let text = example("agent.example.yml").replace("\nnode:", "\ncolour: red\nnode:");
    let error = agent(&text).unwrap_err().to_string();
    assert!(error.contains("settings.yml: ") && error.contains("unknown field `colour`"), "{error}");
    let text = example("pilot.example.yml").replace("\n  client:", "\n  colour: red\n  client:");
    let error = pilot(&text).unwrap_err().to_string();
    assert!(error.contains("director") && error.contains("unknown field `colour`"), "{error}");
}

#[test]
fn a_wrong_type_names_its_key() {
    let text = example("pilot.example.yml").replace("# poll_interval: 10s", "poll_interval: often");
    let error = pilot(&text).unwrap_err().to_string();
    assert!(error.contains("director.poll_interval"), "{error}");
}

/// One deployment's VM may lie in the range that another deployment has chosen. The agent reports this and keeps
/// running.
#[test]
fn a_range_over_this_vm_is_for_the_agent_to_tell() {
    let text = format!("{}\nvip_range: 10.244.0.0/24\n", example("agent.example.yml"));
    assert_eq!(agent(&text).unwrap().node.ip, Some("10.244.0.130".parse().unwrap()));
}

#[test]
fn a_vm_need_not_know_its_address() {
    for node in ["{}", "{id: 673e}", "{ip: null}", "{ip: 'fd00::5'}"] {
        let text = example("agent.example.yml").replace("node:\n  ip: 10.244.0.130 #", &format!("node: {node} #"));
        let node = agent(&text).unwrap().node;
        assert_eq!(node.id_at(None).as_str().split('~').nth(1), Some("0.0.0.0"));
        assert!(node.ip.is_none_or(|ip| ip.is_ipv6()));
    }
}

#[test]
fn a_range_over_the_director_or_a_pilot_is_refused() {
    let error = pilot(&format!("{}\nvip_range: 10.0.0.0/24\n", example("pilot.example.yml"))).unwrap_err().to_string();
    assert!(error.contains("director.url: 10.0.0.6 lies in vip_range"), "{error}");
    let error =
        agent(&format!("{}\nvip_range: 10.244.3.0/24\n", example("agent.example.yml"))).unwrap_err().to_string();
    assert!(error.contains("pilots[0]: 10.244.3.125 lies in vip_range"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = PilotSettings::load("/nonexistent/pilot.yml".as_ref()).unwrap_err();
    assert_eq!(error.to_string(), "/nonexistent/pilot.yml: cannot be read");
    let text = example("agent.example.yml").replace("pilots:", "pilots: [");
    assert!(matches!(agent(&text), Err(SettingsError::Syntax { .. })));
}

#[test]
fn a_director_is_spoken_to_in_clear_only_on_loopback() {
    let insecure = example("pilot.example.yml").replace("https://10.0.0.6", "http://10.0.0.6");
    assert!(pilot(&insecure).unwrap_err().to_string().contains("director.url: must begin with https://"));
    let local = example("pilot.example.yml").replace("https://10.0.0.6", "http://127.0.0.1");
    assert!(pilot(&local).is_ok());
}

#[test]
fn secrets_are_not_shown() {
    let settings = pilot(&example("pilot.example.yml")).unwrap();
    assert_eq!(settings.director.client, "boshy");
    assert!(!format!("{settings:?}").contains("set-me"));
}

/// The example with its TLS settings enabled, and certificate files at the paths it names.
fn over_tls(role: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["pilot.boshy.internal".to_owned()]).unwrap();
    for name in ["ca.crt", "agent.crt", "pilot.crt"] {
        fs::write(dir.path().join(name), made.cert.pem()).unwrap();
    }
    for name in ["agent.key", "pilot.key"] {
        fs::write(dir.path().join(name), made.signing_key.serialize_pem()).unwrap();
    }
    let (ca, key) = authority();
    let files = [("identity_ca.pem", &ca), ("identity_ca_key.pem", &key), ("identity_roots.pem", &ca)];
    let more = [("identity_previous_ca.pem", &ca), ("identity_previous_ca_key.pem", &key), ("bosh_agent_ca.pem", &ca)];
    for (name, text) in files.into_iter().chain(more) {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let text = example(&format!("{role}.example.yml"));
    let text = text.replace("pilots:\n  - http://10.244.3.125:15010\n", "");
    let shown = |line: &str| match line.strip_prefix("## ") {
        Some(rest) if is_setting(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text = text.lines().map(shown).collect::<Vec<_>>().join("\n");
    let job = if role == "agent" { "virtual-ip-agent" } else { "bosh-pilot" };
    let certificates = dir.path().display().to_string();
    (dir, text.replace(&format!("/var/vcap/jobs/{job}/config/certs"), &certificates))
}

#[test]
fn what_the_examples_show_of_tls_is_accepted() {
    let (_dir, text) = over_tls("agent");
    let settings = agent(&text).unwrap();
    assert_eq!(settings.pilots[0].as_str(), "https://pilot.boshy.internal:15010/");
    assert!(settings.pilot_tls.is_some());
    let (_dir, text) = over_tls("pilot");
    let settings = pilot(&text).unwrap();
    let identity = settings.identity.unwrap();
    assert_eq!((identity.trust_domain.as_str(), identity.leaf_life), ("boshy", Duration::from_secs(24 * 3600)));
    let client_ca = settings.xds_tls.unwrap().client_ca;
    let names: Vec<_> = client_ca.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(names, ["ca.crt", "identity_ca.pem", "identity_roots.pem"]);
    let https = settings.https.unwrap();
    assert_eq!((https.listen.port(), https.files.client_ca), (8443, Vec::new()));
}

#[test]
fn mutual_tls_is_off_unless_it_is_asked_for_and_needs_certificates() {
    use boshy_mesh::MtlsMode::{Disable, Strict};
    let (_dir, text) = over_tls("pilot");
    assert_eq!(pilot(&text).unwrap().mtls, Disable);
    let strict = text.replace("# mtls: {mode: DISABLE}", "mtls: {mode: STRICT}");
    assert_eq!(pilot(&strict).unwrap().mtls, Strict);
    let plain = example("pilot.example.yml").replace("# mtls: {mode: DISABLE}", "mtls: {mode: STRICT}");
    let said = Report::new(pilot(&plain).unwrap_err()).to_string();
    assert!(said.contains("mtls.mode: needs `identity`"), "{said}");
}

#[test]
fn links_say_nothing_unless_that_is_asked_for_and_need_certificates() {
    use boshy_mesh::FromLinks::{Disable, Enforce};
    let enforced =
        |text: &str| text.replace("# authorization: {from_links: DISABLE}", "authorization: {from_links: ENFORCE}");
    let (_dir, text) = over_tls("pilot");
    assert_eq!(pilot(&text).unwrap().from_links, Disable);
    assert_eq!(pilot(&enforced(&text)).unwrap().from_links, Enforce);
    let said = Report::new(pilot(&enforced(&example("pilot.example.yml"))).unwrap_err()).to_string();
    assert!(said.contains("authorization.from_links: needs `identity`"), "{said}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_with_key_file_and_reason() {
    let words = |error: SettingsError| Report::new(error).to_string();
    let (dir, text) = over_tls("agent");
    fs::write(dir.path().join("agent.key"), "").unwrap();
    let said = words(agent(&text).unwrap_err());
    assert!(said.contains("pilot_tls.private_key_file: ") && said.contains("agent.key: holds no PEM"), "{said}");
    let (dir, text) = over_tls("pilot");
    fs::remove_file(dir.path().join("ca.crt")).unwrap();
    let said = words(pilot(&text).unwrap_err());
    assert!(said.contains("xds.tls.client_ca_file: ") && said.contains("ca.crt: cannot be read: No such"), "{said}");
    let said = words(pilot(&text.replace("pilot.key", "pilot.kye")).unwrap_err());
    assert!(said.contains(": https.private_key_file: "), "{said}");
}

#[test]
fn a_pilot_by_https_needs_a_certificate_to_show() {
    let text = example("agent.example.yml").replace("http://10.244", "https://10.244");
    let error = agent(&text).unwrap_err().to_string();
    assert!(error.contains("pilot_tls: is missing; https://10.244.3.125:15010/ wants"), "{error}");
    let text = example("agent.example.yml").replace("http://10.244", "ftp://10.244");
    let error = agent(&text).unwrap_err().to_string();
    assert!(error.contains("pilots[0]: must begin with https://"), "{error}");
}

#[test]
fn where_envoy_is_started_only_what_concerns_it_need_be_there() {
    let (_dir, path) =
        file("node: {ip: 10.244.0.130}\nenvoy: {admin: '127.0.0.1:8002'}\nads_socket: /shared/ads.sock\n");
    let settings = EnvoySettings::load(&path).unwrap();
    assert_eq!((settings.node.ip, settings.admin.port()), (Some("10.244.0.130".parse().unwrap()), 8002));
    assert_eq!(settings.ads_socket, PathBuf::from("/shared/ads.sock"));
    assert!(AgentSettings::load(&path).unwrap_err().to_string().contains("state_dir: is missing"));
    let (_dir, path) = file("node: {ip: 10.244.0.130}\nads_sokcet: /shared/ads.sock\n");
    assert!(EnvoySettings::load(&path).unwrap_err().to_string().contains("unknown field `ads_sokcet`"));
}

#[test]
fn an_authority_that_cannot_issue_certificates_is_refused_with_key_and_reason() {
    let refused = |name: &str, content: &str| {
        let (dir, text) = over_tls("pilot");
        fs::write(dir.path().join(name), content).unwrap();
        Report::new(pilot(&text).unwrap_err()).to_string()
    };
    let no_authority = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap().cert.pem();
    for (name, content, key, reason) in [
        ("identity_ca.pem", &*no_authority, "identity.ca_certificate_file", "no certificate authority"),
        ("identity_ca.pem", "", "identity.ca_certificate_file", "holds no PEM certificate"),
        (
            "identity_ca_key.pem",
            &authority().1,
            "identity.ca_private_key_file",
            "does not belong to the CA certificate",
        ),
        ("identity_ca_key.pem", "", "identity.ca_private_key_file", "no PEM private key"),
        ("identity_roots.pem", &no_authority, "identity.roots_file", "is no certificate authority"),
        ("identity_previous_ca.pem", "", "identity.previous.ca_certificate_file", "holds no PEM certificate"),
        ("identity_previous_ca_key.pem", "", "identity.previous.ca_private_key_file", "no PEM private key"),
        ("bosh_agent_ca.pem", &no_authority, "identity.bosh_agent_ca_file", "is no certificate authority"),
    ] {
        let error = refused(name, content);
        assert!(error.contains(&format!("{key}: ")) && error.contains(reason), "{error}");
    }
}

#[test]
fn the_deployments_ca_must_not_be_that_of_the_identities() {
    let (dir, text) = over_tls("pilot");
    let (other, key) = authority();
    let ca = fs::read_to_string(dir.path().join("identity_ca.pem")).unwrap();
    // As one of two, as it is; and issued again with the same key.
    let again = {
        let key = rcgen::KeyPair::from_pem(&fs::read_to_string(dir.path().join("identity_ca_key.pem")).unwrap());
        root(&key.unwrap())
    };
    assert_ne!(again, ca);
    for shared in [format!("{other}{ca}"), again] {
        fs::write(dir.path().join("ca.crt"), shared).unwrap();
        let error = Report::new(pilot(&text).unwrap_err()).to_string();
        assert!(error.contains("xds.tls.client_ca_file: must be another CA than `identity` has"), "{error}");
    }
    fs::write(dir.path().join("ca.crt"), root(&rcgen::KeyPair::from_pem(&key).unwrap())).unwrap();
    pilot(&text).unwrap();
}

#[test]
fn identities_need_tls_and_a_life_that_can_be_renewed() {
    let (_dir, text) = over_tls("pilot");
    let error = pilot(&text.replace("leaf_life: 24h", "leaf_life: 11s")).unwrap_err().to_string();
    assert!(error.contains("identity.leaf_life: must be from 12s to 90d"), "{error}");
    let plain = text.replace("  tls:\n", "").lines().filter(|line| !is_of_xds_tls(line)).collect::<Vec<_>>().join("\n");
    let error = pilot(&plain).unwrap_err().to_string();
    assert!(error.contains("xds.tls: is needed with `identity`"), "{error}");
}

fn is_of_xds_tls(line: &str) -> bool {
    line.starts_with("    ") && line.contains("_file: ")
}
