//! Tests which ports a virtual IP has.

use std::fmt::Write;

use crate::{
    driver::{AGENT, Lab},
    manifests::{BANANA, sample},
};

const VM: &str = "apricot/0";
const PROVIDER: &str = "banana/0";
/// Ports of ssh, monit, NATS and the BOSH agent, of bosh-dns, of the mesh's capture and peers, and the lowest and
/// highest port.
const PORTS: [u16; 10] = [1, 22, 2822, 4222, 6868, 8853, 15001, 15008, 53080, 65535];
/// curl's exit status for `EPERM`, `ECONNREFUSED` and similar errors: 7 is an immediate "failed to connect"; 28 would
/// be a timeout.
const REFUSED: &str = "7";

/// The sample's banana, which exposes these ports as well.
fn exposing() -> String {
    let mut manifest = sample(1, 1);
    for port in PORTS {
        write!(manifest, "    - name: p{port}\n      number: {port}\n").unwrap();
    }
    manifest
}

/// curl's exit status, and what it printed, for a request from the VM to the service's address.
fn asks(lab: &Lab, port: u16) -> (String, String) {
    let url = format!("http://{}:{port}/ip", BANANA.host);
    let told = lab.sh(VM, &format!("curl -s --max-time 5 {url}; echo \" $?\""));
    let (body, status) = told.trim().rsplit_once(' ').unwrap_or(("", told.trim()));
    (status.to_owned(), body.to_owned())
}

fn answers(lab: &Lab, port: u16) -> bool {
    asks(lab, port).0 == "0"
}

#[test]
fn every_port_can_be_exposed_and_one_that_is_not_is_refused_at_once() {
    let lab = Lab::with(&exposing());
    let address = lab.sh(PROVIDER, "ip -4 -o address show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/' | head -n1");
    let serve = |port: u16| {
        lab.keeps_running(PROVIDER, &format!("exec boshy httpbin --listen {} --port {port}", address.trim()))
    };
    let _servers = PORTS.map(serve);
    for port in PORTS {
        lab.eventually(&format!("port {port} is reached"), || answers(&lab, port));
    }
    // Ports that are not exposed: of the service, and at an address without a service.
    let vip = lab.vips()[BANANA.host].clone();
    for port in [2, 23, 2823, 9001, 15002, 65534] {
        assert_eq!(asks(&lab, port).0, REFUSED, "port {port}");
        assert!(
            !lab.holds(VM, &format!("timeout 5 bash -c '</dev/tcp/{vip}/{port}'")),
            "a probe of port {port} found it open"
        );
    }
    assert!(!lab.holds(VM, "timeout 5 bash -c '</dev/tcp/169.254.255.254/9002'"));
    let listed = lab.sh(VM, "nft list set inet boshy pairs");
    assert!(listed.contains(&format!("{vip} . 22,")) || listed.contains(&format!("{vip} . 22 ")), "{listed}");

    // One port is removed and the others stay; open connections continue, which the tests of traffic show.
    lab.deploys(&exposing().replace("    - name: p4222\n      number: 4222\n", ""));
    lab.eventually("port 4222 is refused", || asks(&lab, 4222).0 == REFUSED);
    assert!(answers(&lab, 22) && answers(&lab, BANANA.port));
    // The kill of an agent removes nothing.
    lab.succeeds(["kill", VM, AGENT]);
    assert!(lab.holds(VM, &format!("curl -sf --max-time 5 http://{vip}:22/ip")), "pairs were lost with the agent");
    lab.eventually("the agent is ready", || lab.get(VM, "/status").is_some_and(|status| status["ready"] == true));
    assert!(lab.holds(VM, &format!("curl -sf --max-time 5 http://{vip}:22/ip")), "pairs were lost by its successor");
}
