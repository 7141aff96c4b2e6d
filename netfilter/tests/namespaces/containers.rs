//! Tests what a container behind a bridge of the VM reaches.

use std::{net::Ipv4Addr, sync::Arc};

use boshy_netfilter::{Found, Guard, Ownership, Redirect, Ruleset, VipRoute};

use crate::world::{Killed, VIP, VM, alone, beside, listen, namespace, one_pair, reach, redirect, role, sh};

const CONTAINER: &str = "172.17.0.2";
const BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
const OUTSIDE: &str = "10.244.0.9";
const REFUSED: &str = "Connection refused (os error 111)";

fn with(interfaces: &[&str]) -> Ruleset {
    let interfaces: Vec<_> = interfaces.iter().map(ToString::to_string).collect();
    redirect().with_containers(&interfaces).unwrap().ruleset(&one_pair())
}

/// A namespace that is connected to this one, and how to enter it.
pub(crate) fn neighbour(address: &str, gateway: Option<Ipv4Addr>, device: &str, commands: &str) -> (Killed, String) {
    let (keeper, pid) = namespace();
    let inside = format!("nsenter --net=/proc/{pid}/ns/net");
    sh(&format!("ip link add {device} type veth peer name eth0 netns {pid} && ip link set {device} up && {commands}"));
    sh(&format!("{inside} sh -c 'ip addr add {address} dev eth0 && ip link set eth0 up'"));
    if let Some(gateway) = gateway {
        sh(&format!("{inside} ip route add default via {gateway}"));
    }
    (keeper, inside)
}

/// A listener's report on a connection that is opened in a neighbour.
pub(crate) fn reached<T>(scenario: &T, inside: &str, address: Ipv4Addr, port: u16) -> String {
    let through: Vec<&str> = inside.split(' ').collect();
    let output = beside(scenario, &format!("{address}:{port}"), &through).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| Some(line.split_once("told: ")?.1.to_owned())).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_container_behind_a_named_bridge_reaches_virtual_ips_without_a_sysctl_and_nobody_else_the_capture_port() {
    let scenario = || {};
    alone(move || {
        if let Some(at) = role() {
            let at: std::net::SocketAddrV4 = at.parse().unwrap();
            println!("told: {}", reach(*at.ip(), at.port()));
            return;
        }
        sh(&format!(
            "ip link add docker0 type bridge && ip addr add {BRIDGE}/16 dev docker0 && ip link set docker0 up"
        ));
        let (_container, container) =
            neighbour(&format!("{CONTAINER}/16"), Some(BRIDGE), "veth1", "ip link set veth1 master docker0");
        let (_outside, outside) =
            neighbour(&format!("{OUTSIDE}/24"), None, "eth0", &format!("ip addr add {VM}/24 dev eth0"));
        VipRoute::new(redirect().range(), VM).unwrap().ensure().unwrap();
        listen(15001);
        let from = |inside: &str, address, port| reached(&scenario, inside, address, port);
        let captured = format!("15001 from {CONTAINER} to {VIP}:9002");

        let mut guard = Guard::open(Ownership::Shared).unwrap();
        guard.keep(&with(&["br-*"])).unwrap();
        assert_ne!(from(&container, VIP, 9002), captured, "its bridge is not named");
        for named in ["docker0", "dock*"] {
            let rules = with(&[named, "br-*"]);
            assert_eq!(guard.keep(&rules).unwrap(), Found::Untouched);
            assert_eq!(from(&container, VIP, 9002), captured, "{named}");
            // What is no pair is refused, as for programs of the VM.
            assert_eq!(from(&container, VIP, 9003), REFUSED);
            // The VM's own programs are redirected as before, and nobody else meets Envoy.
            assert_eq!(reach(VIP, 9002), format!("15001 from {VM} to {VIP}:9002"));
            assert_eq!(from(&outside, VM, 15001), REFUSED);
            let file = "$BOSHY_NETFILTER_TEST_HOME/listing";
            sh(&format!("nft list table inet boshy > {file} && nft delete table inet boshy && nft -f {file}"));
            assert_eq!(guard.keep(&rules).unwrap(), Found::Untouched, "{}", sh("nft list ruleset"));
        }
        assert_eq!(sh("cat /proc/sys/net/ipv4/conf/docker0/route_localnet").trim(), "0");
        guard.keep(&Redirect::ruleset(&redirect(), &Arc::clone(&one_pair()))).unwrap();
        assert!(from(&outside, VM, 15001).starts_with("15001 from "), "the filter is there only for containers");
    });
}
