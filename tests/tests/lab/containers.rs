//! What a container on a VM reaches.

use crate::{
    driver::{AGENT, ENVOY, Lab},
    manifests::{BANANA, small},
};

const VM: &str = "apricot/0";
/// A bridge, and a container behind it: a network namespace that a process keeps.
const CONTAINER: &str = "ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
    unshare --net sleep 600 & keeper=$!
    until [ \"$(readlink /proc/$keeper/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do :; done
    inside=\"nsenter --net=/proc/$keeper/ns/net\"
    ip link add veth1 type veth peer name eth0 netns $keeper && ip link set veth1 up master docker0
    $inside ip addr add 172.17.0.2/16 dev eth0 && $inside ip link set eth0 up && $inside ip route add default via 172.17.0.1
    echo $keeper > /tmp/container; wait";

#[test]
fn a_container_behind_a_named_bridge_reaches_services_through_the_envoy_of_its_vm() {
    let lab = Lab::with(&small());
    let _container = lab.keeps_running(VM, CONTAINER);
    lab.eventually("the container is there", || lab.holds(VM, "test -s /tmp/container"));
    let vip = lab.vips()[BANANA.host].clone();
    let asks = format!(
        "nsenter --net=/proc/$(cat /tmp/container)/ns/net curl -sf --max-time 2 http://{vip}:{}/ip",
        BANANA.port
    );
    assert!(!lab.holds(VM, &asks), "its bridge is not named");

    let settings = "/var/vcap/jobs/virtual-ip-agent/config/agent.yml";
    lab.sh(VM, &format!("sed -i 's/\"container_interfaces\": \\[/&\"docker*\"/' {settings}"));
    lab.kills(VM, AGENT);
    lab.eventually("the container reaches banana", || lab.holds(VM, &asks));
    assert!(lab.answers(VM, BANANA.host, BANANA), "and so does the VM");
    assert!(lab.holds("apricot/1", "true") && !lab.holds("apricot/1", &reaches_capture(&lab)), "another VM does not");
    lab.is_in_agreement();
    assert_eq!(lab.restarts(VM, ENVOY), 0);
}

/// A probe of the capture port from outside.
fn reaches_capture(lab: &Lab) -> String {
    let address = lab.sh(VM, "ip -4 -o address show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/' | head -n1");
    format!("timeout 5 bash -c '</dev/tcp/{}/15001'", address.trim())
}
