//! The job `bosh-pilot`.

use std::time::Duration;

use boshy_config::PilotSettings;
use boshy_mesh::{FromLinks, MtlsMode, Timestamp};
use serde_json::{Value, json};

use crate::{
    job::{Deployed, Rendered},
    secrets::Authority,
};

fn pilot() -> Deployed {
    Deployed::of("bosh-pilot").with("director.client_secret", "s3cret")
}

fn settings(rendered: &Rendered) -> PilotSettings {
    PilotSettings::load(&rendered.installed().path().join("config/pilot.yml")).unwrap()
}

fn with_xds_tls(deployed: Deployed, authority: &Authority) -> Deployed {
    let pair = authority.issue();
    deployed
        .with("xds.tls.certificate", pair.certificate)
        .with("xds.tls.private_key", pair.private_key)
        .with("xds.tls.client_ca", authority.certificate())
}

#[test]
fn only_the_secret_has_no_default() {
    let error = Deployed::of("bosh-pilot").render().err().unwrap();
    assert!(error.contains(r#"Can't find property '["director.client_secret"]'"#), "{error}");
    let rendered = pilot().rendered();
    let settings = settings(&rendered);
    assert_eq!(settings.director.url.as_str(), "https://10.244.0.2:25555/");
    assert_eq!((settings.director.client.as_str(), settings.director.ca_cert), ("admin", None));
    assert_eq!(settings.director.poll_interval, Duration::from_secs(10));
    assert_eq!((settings.tld.to_string(), settings.vip_range.to_string()), ("boshy".into(), "169.254.255.0/24".into()));
    assert_eq!(settings.state_dir.to_str().unwrap(), "/var/vcap/data/bosh-pilot");
    assert_eq!((settings.http.to_string(), settings.test_hooks), ("0.0.0.0:8080".into(), false));
    assert_eq!(rendered.json("config/pilot.yml")["xds"], json!({"listen": "0.0.0.0:15010"}));
    assert_eq!(rendered.json("config/pilot.yml").get("https"), None);
}

#[test]
fn each_property_arrives() {
    let cases: [(&str, Value, &str); 14] = [
        ("director.url", json!("https://10.0.0.6:25555"), "/director/url"),
        ("director.client", json!("boshy"), "/director/client"),
        ("director.client_secret", json!("\"quotes\": #{1} <%= 1 %> \\ ü"), "/director/client_secret"),
        ("director.poll_interval", json!("3s"), "/director/poll_interval"),
        ("director.full_read_interval", json!("1h30m"), "/director/full_read_interval"),
        ("director.timeout", json!("500ms"), "/director/timeout"),
        ("tld", json!("mesh"), "/tld"),
        ("vip_range", json!("240.0.0.0/16"), "/vip_range"),
        ("leases", json!("director"), "/leases"),
        ("vip_quarantine", json!("2h"), "/vip_quarantine"),
        ("vip_share", json!(80), "/vip_share"),
        ("test_hooks", json!(true), "/test_hooks"),
        ("http.port", json!(9080), "/http/listen"),
        ("xds.port", json!(9010), "/xds/listen"),
    ];
    for (property, value, pointer) in cases {
        let rendered = pilot().with(property, value.clone()).rendered();
        let expected = if property.ends_with(".port") { json!(format!("0.0.0.0:{value}")) } else { value };
        assert_eq!(rendered.json("config/pilot.yml").pointer(pointer), Some(&expected), "{property}");
        settings(&rendered);
    }
    let process = pilot().with("log.filter", "debug").with("log.format", "json").rendered().process();
    assert_eq!(process["env"], json!({"BOSHY_LOG": "debug", "BOSHY_LOG_FORMAT": "json"}));
    let script = pilot().with("ready_timeout", 7).with("http.port", 9080).rendered();
    assert!(
        script.file("bin/post-start").contains("SECONDS + 7") && script.file("bin/post-start").contains(":9080/readyz")
    );
}

#[test]
fn leases_are_on_the_persistent_disk_where_there_is_one() {
    let without = pilot().rendered();
    assert_eq!(
        (&without.process()["ephemeral_disk"], &without.process()["persistent_disk"]),
        (&json!(true), &Value::Null)
    );
    let with = pilot().with_disk().rendered();
    assert_eq!((&with.process()["ephemeral_disk"], &with.process()["persistent_disk"]), (&Value::Null, &json!(true)));
    assert_eq!(settings(&with).state_dir.to_str().unwrap(), "/var/vcap/store/bosh-pilot");
}

#[test]
fn certificates_are_files_that_the_settings_name() {
    let authority = Authority::new();
    let pair = authority.issue();
    let rendered = with_xds_tls(pilot(), &authority)
        .with("director.ca_cert", authority.certificate())
        .with("https.certificate", pair.certificate.clone())
        .with("https.private_key", pair.private_key)
        .with("https.port", 9443)
        .rendered();
    assert_eq!(settings(&rendered).director.ca_cert.unwrap().trim(), authority.certificate().trim());
    let certs = "/var/vcap/jobs/bosh-pilot/config/certs";
    let written = rendered.json("config/pilot.yml");
    assert_eq!(
        written["xds"]["tls"],
        json!({
            "certificate_file": format!("{certs}/xds_certificate.pem"),
            "private_key_file": format!("{certs}/xds_private_key.pem"),
            "client_ca_file": format!("{certs}/xds_client_ca.pem"),
        })
    );
    assert_eq!(written["https"]["listen"], "0.0.0.0:9443");
    assert_eq!(rendered.file("config/certs/https_certificate.pem").trim(), pair.certificate.trim());
    assert!(!rendered.file("config/pilot.yml").contains("PRIVATE KEY"));
}

#[test]
fn a_wrong_property_is_refused_by_name() {
    let cases: [(&str, Value, &str); 22] = [
        ("director.url", json!("10.0.0.6"), "must be an address"),
        ("director.url", json!("https://user:word@10.0.0.6"), "must be an address"),
        ("director.url", json!(7), "must be text"),
        ("director.client", json!(""), "must be text that is not empty"),
        ("director.client_secret", json!(["s3cret"]), "must be text that is not empty, is of type Array"),
        ("director.ca_cert", json!("-----BEGIN nothing"), "holds no certificate that can be read"),
        ("director.ca_cert", json!({"certificate": "x"}), "must be PEM text"),
        ("director.poll_interval", json!("soon"), "must be a length of time"),
        ("director.full_read_interval", json!(5), "must be text"),
        ("director.timeout", json!("10"), "must be a length of time"),
        ("tld", json!("a.b"), "must be one label"),
        ("vip_range", json!("169.254.255.0"), "must be an IPv4 range"),
        ("vip_range", json!("169.254.256.0/24"), "must be an IPv4 range"),
        ("leases", json!("config"), "must be one of"),
        ("vip_share", json!(0), "must be a whole number from 1 to 100"),
        ("vip_share", json!(101), "must be a whole number from 1 to 100"),
        ("vip_share", json!("50%"), "must be a whole number from 1 to 100"),
        ("http.port", json!("8080"), "must be a whole number"),
        ("xds.port", json!(0), "must be a whole number"),
        ("https.port", json!(65_536), "must be a whole number"),
        ("log.format", json!("xml"), "must be one of text, json"),
        ("test_hooks", json!("yes"), "must be one of true, false"),
    ];
    for (property, value, reason) in cases {
        pilot().with(property, value).is_refused(property, reason);
    }
    pilot().with("ready_timeout", "60").is_refused("ready_timeout", "must be a whole number");
}

#[test]
fn certificates_that_do_not_fit_are_refused_by_name() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    pilot()
        .with("xds.tls.certificate", one.certificate.clone())
        .is_refused("xds.tls.private_key", "is needed too when 'xds.tls.certificate' is given");
    pilot().with("https.private_key", one.private_key.clone()).is_refused("https.certificate", "is needed too");
    pilot()
        .with("https.certificate", one.certificate.clone())
        .with("https.private_key", other.private_key)
        .is_refused("https.private_key", "is not the key of 'https.certificate'");
    pilot()
        .with("https.certificate", one.certificate)
        .with("https.private_key", "torn")
        .is_refused("https.private_key", "holds no private key that can be read");
    with_xds_tls(pilot(), &authority)
        .with("xds.tls.client_ca", "torn")
        .is_refused("xds.tls.client_ca", "holds no certificate that can be read");
}

#[test]
fn no_error_shows_a_secret() {
    let error = pilot().with("director.client_secret", json!({"s3cret": 1})).render().err().unwrap();
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn an_authority_arrives_as_files_and_one_that_cannot_issue_is_refused() {
    let (agents, workloads) = (Authority::new(), Authority::new());
    let with_authority = |deployed: Deployed| {
        deployed
            .with("identity.ca_certificate", workloads.certificate())
            .with("identity.ca_private_key", workloads.private_key())
    };
    let deployed = || with_authority(with_xds_tls(pilot(), &agents));
    let rendered = deployed()
        .with("identity.roots", workloads.certificate())
        .with("identity.trust_domain", "mesh.example")
        .with("identity.leaf_life", "12h")
        .rendered();
    let identity = settings(&rendered).identity.unwrap();
    assert_eq!(identity.trust_domain.as_str(), "mesh.example");
    assert_eq!(identity.leaf_life, Duration::from_secs(12 * 3600));
    let certs = "/var/vcap/jobs/bosh-pilot/config/certs";
    assert_eq!(rendered.json("config/pilot.yml")["identity"]["roots_file"], format!("{certs}/identity_roots.pem"));
    assert!(identity.bosh_agents.is_none());
    let succeeding = deployed().with("identity.previous.ca_certificate", workloads.certificate());
    succeeding.is_refused("identity.previous.ca_private_key", "");
    let rendered_with_both = succeeding.with("identity.previous.ca_private_key", workloads.private_key()).rendered();
    assert!(settings(&rendered_with_both).identity.unwrap().open_previous(Timestamp(0)).is_some());
    let hardened = deployed().with("identity.attestation", "bosh-agent");
    let identity = settings(&hardened.clone().with("identity.bosh_agent_ca", agents.certificate()).rendered()).identity;
    assert!(identity.unwrap().bosh_agents.is_some());
    hardened.is_refused("identity.bosh_agent_ca", "is needed when 'identity.attestation' is bosh-agent");
    hardened.with("identity.bosh_agent_ca", "torn").is_refused("identity.bosh_agent_ca", "holds no certificate");
    deployed()
        .with("identity.attestation", "tpm")
        .is_refused("identity.attestation", "must be one of deployment, bosh-agent");
    assert!(settings(&pilot().rendered()).identity.is_none());
    assert_eq!(settings(&rendered).mtls, MtlsMode::Disable);
    let strict = settings(&deployed().with("mtls.mode", "STRICT").rendered());
    assert_eq!(strict.mtls, MtlsMode::Strict);
    pilot()
        .with("mtls.mode", "PERMISSIVE")
        .is_refused("identity.ca_certificate", "is needed when 'mtls.mode' is PERMISSIVE");
    deployed().with("mtls.mode", "off").is_refused("mtls.mode", "must be one of DISABLE, PERMISSIVE, STRICT");
    let linked = |deployed: Deployed| deployed.with("authorization.from_links", "DRY_RUN");
    assert_eq!(settings(&rendered).from_links, FromLinks::Disable);
    assert_eq!(settings(&linked(deployed()).rendered()).from_links, FromLinks::DryRun);
    linked(pilot()).is_refused("identity.ca_certificate", "is needed when 'authorization.from_links' is DRY_RUN");

    with_authority(pilot()).is_refused("xds.tls.certificate", "is needed too when 'identity.ca_certificate' is given");
    let leaf = workloads.issue();
    deployed()
        .with("identity.ca_certificate", leaf.certificate)
        .with("identity.ca_private_key", leaf.private_key)
        .is_refused("identity.ca_certificate", "is no certificate authority; its variable needs `is_ca: true`");
    deployed()
        .with("identity.ca_private_key", agents.private_key())
        .is_refused("identity.ca_private_key", "is not the key of 'identity.ca_certificate'");
    deployed().with("identity.roots", "torn").is_refused("identity.roots", "holds no certificate that can be read");
}
