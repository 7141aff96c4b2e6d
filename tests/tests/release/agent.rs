//! The job `virtual-ip-agent`.

use std::process::Command;

use boshy_config::{AgentSettings, NetfilterBackend, ProxyMode};
use serde_json::{Value, json};

use crate::{
    job::{Deployed, ID, IP, Rendered},
    secrets::Authority,
};

/// An agent that knows a pilot without TLS.
fn plain() -> Deployed {
    Deployed::of("virtual-ip-agent").with("pilots", json!(["http://10.244.3.125:15010"]))
}

fn with_tls(deployed: Deployed) -> Deployed {
    let authority = Authority::new();
    let pair = authority.issue();
    deployed
        .with("pilot_tls.ca", authority.certificate())
        .with("pilot_tls.certificate", pair.certificate)
        .with("pilot_tls.private_key", pair.private_key)
}

fn settings(rendered: &Rendered) -> AgentSettings {
    AgentSettings::load(&rendered.installed().path().join("config/agent.yml")).unwrap()
}

#[test]
fn by_default_pilots_are_found_by_name_and_wanted_with_tls() {
    Deployed::of("virtual-ip-agent").is_refused("pilot_tls.ca", "is needed for https://pilot.boshy.internal:15010");
    let rendered = with_tls(Deployed::of("virtual-ip-agent")).rendered();
    let settings = settings(&rendered);
    assert_eq!(
        settings.pilots.iter().map(url::Url::as_str).collect::<Vec<_>>(),
        ["https://pilot.boshy.internal:15010/"]
    );
    let certs = "/var/vcap/jobs/virtual-ip-agent/config/certs";
    assert_eq!(
        rendered.json("config/agent.yml")["pilot_tls"],
        json!({
            "ca_file": format!("{certs}/pilot_ca.pem"),
            "certificate_file": format!("{certs}/certificate.pem"),
            "private_key_file": format!("{certs}/private_key.pem"),
        })
    );
    assert!(!rendered.file("config/agent.yml").contains("PRIVATE KEY"));
}

#[test]
fn it_knows_its_instance_and_listens_on_loopback_only() {
    let rendered = plain().rendered();
    let settings = settings(&rendered);
    assert_eq!((settings.node.ip, settings.node.id.as_str()), (Some(IP.into()), ID));
    let ports = [settings.dns, settings.http, settings.envoy_admin, settings.capture];
    assert_eq!(ports.map(|port| port.port()), [15053, 15020, 8001, 15001]);
    assert!(ports.iter().all(|port| port.ip().is_loopback()));
    assert_eq!(settings.handler, None, "it is off, and its old port is that of bosh-dns-adapter");
    assert_eq!((settings.proxy, settings.netfilter), (ProxyMode::Required, NetfilterBackend::Netlink));
    assert_eq!((settings.tld.to_string(), settings.vip_range.to_string()), ("boshy".into(), "169.254.255.0/24".into()));
    assert!(!settings.test_hooks);
}

#[test]
fn root_does_something_before_each_start_only_where_the_bosh_agent_vouches() {
    let rendered = plain().rendered();
    assert_eq!((&rendered.process()["hooks"], settings(&rendered).voucher), (&Value::Null, None));
    let rendered = plain().with("attestation", "bosh-agent").rendered();
    let job = "/var/vcap/jobs/virtual-ip-agent";
    assert_eq!(rendered.process()["hooks"], json!({"pre_start": format!("{job}/bin/vouch")}));
    assert_eq!(rendered.json("config/agent.yml")["voucher"], format!("{job}/config/voucher"));
    assert!(settings(&rendered).voucher.is_some());
    assert!(rendered.file("bin/vouch").contains("boshy vouch --bosh /var/vcap/bosh --out $config/voucher --like"));
    plain().with("attestation", "tpm").is_refused("attestation", "must be one of deployment, bosh-agent");
}

#[test]
fn each_property_arrives() {
    let cases: [(&str, Value, &str); 16] = [
        ("pilots", json!(["http://10.0.0.1:15010", "http://10.0.0.2:15010"]), "/pilots"),
        ("tld", json!("mesh"), "/tld"),
        ("vip_range", json!("240.0.0.0/16"), "/vip_range"),
        ("dns.port", json!(9053), "/dns/listen"),
        ("handler.port", json!(9054), "/handler/listen"),
        ("http.port", json!(9020), "/http/listen"),
        ("envoy.mode", json!("absent"), "/envoy/mode"),
        ("envoy.admin_port", json!(9001), "/envoy/admin"),
        ("envoy.capture_port", json!(9002), "/envoy/capture"),
        ("envoy.peer_timeout", json!(7), "/envoy/peer_timeout"),
        ("netfilter.backend", json!("none"), "/netfilter/backend"),
        ("netfilter.container_interfaces", json!(["docker0", "br-*"]), "/netfilter/container_interfaces"),
        ("netfilter.strict_exempt", json!(["10.0.16.0/24", "fd00:16::/64"]), "/netfilter/strict_exempt"),
        ("netfilter.original_src", json!(true), "/netfilter/original_src"),
        ("stop_timeout", json!(3), "/stop_timeout"),
        ("test_hooks", json!(true), "/test_hooks"),
    ];
    for (property, value, pointer) in cases {
        let rendered = plain().with(property, value.clone()).rendered();
        let expected = match property {
            _ if property.ends_with("port") => json!(format!("127.0.0.1:{value}")),
            "envoy.peer_timeout" => json!("7s"),
            _ => value,
        };
        assert_eq!(rendered.json("config/agent.yml").pointer(pointer), Some(&expected), "{property}");
        settings(&rendered);
    }
    let process = plain().with("log.filter", "debug").with("log.format", "json").rendered().process();
    assert_eq!(process["env"], json!({"BOSHY_LOG": "debug", "BOSHY_LOG_FORMAT": "json"}));
    let script = plain().with("ready_timeout", 7).with("http.port", 9080).rendered();
    assert!(
        script.file("bin/post-start").contains("SECONDS + 7")
            && script.file("bin/post-start").contains("127.0.0.1:9080")
    );
}

#[test]
fn callers_are_told_before_any_job_drains_and_a_stop_never_fails_for_it() {
    let rendered = plain().with("withdrawal_timeout", 7).rendered();
    let script = rendered.file("bin/pre-stop");
    assert!(script.contains(" 9 /var/vcap/packages/boshy/bin/boshy withdraw --within 7 ||"), "{script}");
    assert!(plain().rendered().file("bin/pre-stop").contains("--within 5"));
    // Neither program nor agent is there.
    let ended = Command::new("bash").args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && said.contains("Callers may get this VM until its jobs have stopped."),
        "{ended:?}"
    );
    let off = plain().with("withdrawal_timeout", 0).rendered();
    assert!(!off.file("bin/pre-stop").contains("withdraw --"));
    assert!(rendered.file("bin/post-start").contains("boshy withdraw --undo"));
}

#[test]
fn bosh_dns_forwards_the_meshs_names_to_it() {
    let rendered = plain().with("tld", "mesh").with("dns.port", 9053).rendered();
    assert_eq!(
        rendered.json("dns/handlers.json"),
        json!([{
            "domain": "mesh.",
            "cache": {"enabled": false},
            "source": {"type": "dns", "recursors": ["127.0.0.1:9053"]},
        }])
    );
}

#[test]
fn a_consumed_link_takes_the_place_of_the_name() {
    let link = json!({"xds": {"port": 9010}});
    let agent = plain().with_link("pilot", &["10.244.3.125", "10.244.3.126"], link.clone());
    let pilots = |deployed: Deployed| deployed.rendered().json("config/agent.yml")["pilots"].clone();
    // Each instance prefers another pilot. This one has the index 1.
    assert_eq!(pilots(agent.clone()), json!(["http://10.244.3.126:9010", "http://10.244.3.125:9010"]));
    assert_eq!(pilots(with_tls(agent)), json!(["https://10.244.3.126:9010", "https://10.244.3.125:9010"]));
    plain().with_link("pilot", &[], link).is_refused("consumes.pilot", "must be a list of at least one address");
}

#[test]
fn it_has_one_capability_and_reads_what_bosh_says_of_the_instance() {
    let process = plain().rendered().process();
    assert_eq!(process["capabilities"], json!(["NET_ADMIN"]));
    assert_eq!(process["additional_volumes"], json!([{"path": "/var/vcap/instance", "mount_only": true}]));
}

#[test]
fn a_wrong_property_is_refused_by_name() {
    let cases: [(&str, Value, &str); 27] = [
        ("pilots", json!("http://10.0.0.1:15010"), "must be a list"),
        ("pilots", json!([]), "must be a list of at least one address"),
        ("tld", json!("Boshy"), "must be one label"),
        ("tld", json!(5), "must be text"),
        ("vip_range", json!("::/64"), "must be an IPv4 range"),
        ("vip_range", json!("10.0.0.0/33"), "must be an IPv4 range"),
        ("dns.port", json!("53"), "must be a whole number"),
        ("handler.port", json!(70_000), "must be a whole number"),
        ("http.port", json!(-1), "must be a whole number"),
        ("envoy.mode", json!("optional"), "must be one of required, absent"),
        ("envoy.admin_port", json!(true), "must be a whole number"),
        ("envoy.capture_port", json!({}), "must be a whole number"),
        ("envoy.peer_timeout", json!(4), "must be a whole number of seconds from 5 to 86400, or 0"),
        ("netfilter.backend", json!("pf"), "must be one of netlink, none"),
        ("netfilter.container_interfaces", json!(["*"]), "must be a list of names of interfaces"),
        ("netfilter.container_interfaces", json!("docker0"), "must be a list of names of interfaces"),
        ("netfilter.strict_exempt", json!("10.0.16.0/24"), "must be a list of ranges"),
        ("netfilter.strict_exempt", json!(["10.0.16.0/24", "10.0.16.300/24"]), "must be a list of ranges"),
        ("netfilter.strict_exempt", json!(["fd00:16::/129"]), "must be a list of ranges"),
        ("log.filter", json!(3), "must be text"),
        ("log.format", json!("xml"), "must be one of text, json"),
        ("ready_timeout", json!(-1), "must be a whole number of seconds"),
        ("stop_timeout", json!(16), "must be a whole number from 0 to 15"),
        ("withdrawal_timeout", json!(61), "must be a whole number of seconds from 0 to 60"),
        ("withdrawal_timeout", json!("5"), "must be a whole number of seconds from 0 to 60"),
        ("test_hooks", json!("no"), "must be one of true, false"),
        ("pilot_tls.ca", json!("torn"), "is needed too"),
    ];
    for (property, value, reason) in cases {
        let named = if property == "pilot_tls.ca" { "pilot_tls.certificate" } else { property };
        plain().with(property, value).is_refused(named, reason);
    }
    plain().with("pilots", json!(["http://10.0.0.1:15010", "10.0.0.2"])).is_refused("pilots[1]", "must be an address");
    with_tls(plain()).with("pilot_tls.ca", "torn").is_refused("pilot_tls.ca", "holds no certificate that can be read");
    let other = Authority::new().issue();
    with_tls(plain())
        .with("pilot_tls.private_key", other.private_key)
        .is_refused("pilot_tls.private_key", "is not the key of 'pilot_tls.certificate'");
}
