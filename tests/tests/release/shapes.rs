//! Instances of every kind that a director creates: each job's templates are rendered, and the real agent runs with the
//! result.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    job::{Deployed, JOBS, program},
    manifests::as_shipped,
};

/// Differences of a template's `spec` from that of an instance on one manual network. On a dynamic network, a director
/// has no address when it renders templates, and uses 127.0.0.1.
fn shapes() -> Vec<(&'static str, Value)> {
    let manual = |ip: &str| json!({"type": "manual", "ip": ip, "default": ["dns", "gateway"]});
    let further = |kind: &str, ip: &str| json!({"type": kind, "ip": ip});
    let dynamic = json!({"type": "dynamic", "ip": "127.0.0.1", "netmask": "127.0.0.1", "default": ["dns", "gateway"]});
    vec![
        ("manual", json!({})),
        ("dynamic", json!({"ip": null, "networks": {"d": dynamic}})),
        ("dynamic without a name", json!({"ip": null, "address": null, "networks": {"d": dynamic}})),
        (
            "vip beside manual",
            json!({"ip": "192.168.7.2", "networks": {"p": manual("192.168.7.2"), "v": further("vip", "34.1.2.3")}}),
        ),
        (
            "two networks",
            json!({"ip": "10.0.1.5", "networks": {"a": further("manual", "10.9.0.5"), "b": manual("10.0.1.5")}}),
        ),
        (
            "no network with a default",
            json!({"ip": null, "networks": {"a": further("manual", "10.9.0.5"), "b": further("manual", "10.0.1.5")}}),
        ),
        ("a prefix", json!({"ip": "10.20.0.16", "networks": {"a": {"ip": "10.20.0.16", "prefix": "28"}}})),
        ("an address with a prefix", json!({"ip": "10.20.0.16/28", "networks": {"a": manual("10.20.0.16/28")}})),
        ("IPv6 alone", json!({"ip": "fd00::5", "networks": {"a": manual("fd00::5")}})),
        ("IPv6 prefix", json!({"ip": "fd00::/64", "networks": {"a": manual("fd00::/64")}})),
        (
            "IPv6 first",
            json!({"ip": "fd00::5", "networks": {"a": manual("fd00::5"), "b": further("manual", "10.0.1.5")}}),
        ),
        ("no network", json!({"ip": null, "networks": {}})),
        ("first of its group", json!({"bootstrap": true, "index": 0})),
        ("no zone, no links", json!({"az": null, "links": {}})),
    ]
}

fn shaped(deployed: Deployed, shape: &Value) -> Deployed {
    let mut deployed = deployed;
    deployed.context.otherwise = shape.as_object().cloned().unwrap_or_else(Map::new);
    deployed
}

#[test]
fn every_template_of_the_addon_is_filled_in_for_every_shape_of_instance() {
    for (name, shape) in shapes() {
        for job in JOBS {
            if let Err(error) = shaped(as_shipped(job), &shape).render() {
                panic!("{job} on an instance of shape {name:?}: {error}");
            }
        }
    }
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn curl(url: &str) -> String {
    let output = Command::new("curl").args(["-s", "--noproxy", "*", "--max-time", "5", url]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A port below those that the kernel gives to sockets, so that no other socket takes it between this look and its use.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_100);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

fn agent_on(shape: &Value) -> (Deployed, u16) {
    let (dns, http) = (free_port(), free_port());
    let agent = Deployed::of("virtual-ip-agent")
        .with("pilots", json!(["http://127.0.0.1:1"]))
        .with("netfilter.backend", "none")
        .with("dns.port", dns)
        .with("http.port", http)
        .with("envoy.admin_port", 1);
    (shaped(agent, shape), http)
}

/// Its files, with a data directory and records that do not belong to this machine.
fn installed(rendered: &crate::job::Rendered, data: &Path) -> tempfile::TempDir {
    let folder = rendered.installed();
    let file = folder.path().join("config/agent.yml");
    let text = fs::read_to_string(&file).unwrap().replace("/var/vcap/data/virtual-ip-agent", data.to_str().unwrap());
    fs::write(file, text).unwrap();
    folder
}

#[test]
fn the_real_agent_lives_with_what_comes_of_every_shape() {
    for (name, shape) in shapes() {
        let (deployed, http) = agent_on(&shape);
        let data = tempfile::tempdir().unwrap();
        let folder = installed(&deployed.rendered(), data.path());
        let config = folder.path().join("config/agent.yml");
        let log = data.path().join("agent.log");
        let child = Command::new(program("BOSHY_BIN"))
            .args(["agent", "--config", config.to_str().unwrap()])
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut agent = Agent(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        let status: Value = loop {
            if let Ok(status) = serde_json::from_str(&curl(&format!("http://127.0.0.1:{http}/status"))) {
                break status;
            }
            let lives = Instant::now() < deadline && agent.0.try_wait().unwrap().is_none();
            assert!(lives, "{name}: no status at port {http}\n{}", fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(status["node"].as_str().unwrap().contains(crate::job::ID), "{name}: {}", status["node"]);
        drop(agent);
        let bootstrap = Command::new(program("BOSHY_BIN"))
            .args(["envoy-bootstrap", "--config", config.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(bootstrap.status.success(), "{name}: {}", String::from_utf8_lossy(&bootstrap.stderr));
    }
}

/// A deploy waits this long for a missing service, and then continues.
#[test]
fn no_script_of_the_addon_fails_a_deploy_or_waits_longer_than_it_says() {
    for (job, port) in [("virtual-ip-agent", "http.port"), ("bosh-envoy", "admin_port")] {
        // One port gives no answer; the other accepts connections and sends nothing.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for taken in [1, silent.local_addr().unwrap().port()] {
            let mut deployed = Deployed::of(job).with(port, taken).with("ready_timeout", 1);
            if job == "virtual-ip-agent" {
                deployed = deployed.with("pilots", json!(["http://127.0.0.1:1"])).with("dns.port", taken);
            }
            let rendered = deployed.rendered();
            let begun = Instant::now();
            let output = Command::new("bash").args(["-c", rendered.file("bin/post-start")]).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{job}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("yet"), "{job}");
            assert!(begun.elapsed() < Duration::from_secs(15), "{job}: {:?}", begun.elapsed());
        }
    }
}
