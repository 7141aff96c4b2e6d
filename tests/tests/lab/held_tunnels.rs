//! What becomes of held tunnels when the Envoy at either end is replaced.

use std::{collections::BTreeMap, thread};

use crate::{
    connections::{PEER_PORT, with_peer_port},
    driver::{ENVOY, Lab},
    load::lost_of_many,
    manifests::BANANA,
    mtls::{is_tunnelled, issue_identities, switch},
    peers::Peer,
};

const CALLER: &str = "apricot/0";
const PROVIDER: &str = "banana/0";
const HELD: usize = 100;
/// Short connections that are made meanwhile: more than one connection between Envoys carries in its life.
const SHORT: usize = 2000;

/// Replaces the Envoy of a VM, and returns which of the short connections were lost meanwhile, by how they ended.
fn replaces(lab: &Lab, vm: &str) -> BTreeMap<String, usize> {
    // Without it, the kernel resets a connection that waits at a socket which the old Envoy closes.
    lab.sh(vm, "sysctl -qw net.ipv4.tcp_migrate_req=1");
    let taken_over = || lab.log(vm, ENVOY).matches("the new Envoy accepts connections").count();
    let before = taken_over();
    thread::scope(|scope| {
        let many = scope.spawn(|| lost_of_many(lab, CALLER, BANANA, SHORT));
        lab.sh(vm, "kill -HUP $(cat /var/vcap/sys/run/bpm/bosh-envoy/bosh-envoy.pid)");
        lab.eventually("the second has taken over", || taken_over() > before);
        many.join().unwrap()
    })
}

/// Running Envoys of a VM.
fn envoys(lab: &Lab, vm: &str) -> usize {
    lab.sh(vm, "pgrep -xc envoy || true").trim().parse().unwrap()
}

#[test]
fn a_replaced_envoy_at_either_end_ends_no_held_tunnel_and_costs_no_new_one() {
    let lab = Lab::with(&with_peer_port(1));
    issue_identities(&lab);
    switch(&lab, "permissive");
    lab.eventually("banana is reached over mutual TLS", || is_tunnelled(&lab, BANANA));
    lab.is_in_agreement();
    let _echo = Peer::listening(&lab, PROVIDER, &["echo", &PEER_PORT.to_string()]);
    let (address, count) = (format!("{}:{PEER_PORT}", lab.vips()[BANANA.host]), HELD.to_string());
    let mut held = Peer::start(&lab, CALLER, &["hold", &address, &count]);
    assert_eq!(held.hears(), count);
    for vm in [PROVIDER, CALLER] {
        let lost = replaces(&lab, vm);
        held.tell("again");
        let alive = held.hears();
        eprintln!(
            "{vm}: {alive} of {HELD} held tunnels live, {} of {SHORT} short connections lost",
            lost.values().sum::<usize>()
        );
        assert_eq!(alive, count, "held tunnels through {vm}");
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(envoys(&lab, vm), 2, "the first Envoy of {vm} stays for the tunnels that it holds");
    }
    drop(held);
    lab.eventually("the first Envoys end with their last tunnel", || {
        [PROVIDER, CALLER].iter().all(|vm| envoys(&lab, vm) == 1)
    });
    lab.is_in_agreement();
}
