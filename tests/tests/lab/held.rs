//! Connections that are open while operators change what they go through.

use crate::{
    connections::{PEER_PORT, with_peer_port},
    driver::{AGENT, Lab, PILOT, PILOT_VM},
    manifests::{BANANA, CHERRY, orchard},
    peers::Peer,
};

const CLIENT_VM: &str = "apricot/0";
/// Of each kind.
const HELD: usize = 20;

/// One cherry whose port for `boshy-test-peer` is exposed by this name and number.
fn cherry(name: &str, number: u16) -> String {
    let exposed = format!("number: 9003\n    - name: {name}\n      number: {number}\n");
    format!("{}\n", orchard()).replace("instances: 2", "instances: 1").replace("number: 9003\n", &exposed)
}

/// Connections to one service: some that say something after each change, and some that say nothing until all are made.
struct Held {
    service: &'static str,
    talking: Peer,
    silent: Peer,
}

impl Held {
    fn open(lab: &Lab, service: &'static str) -> Self {
        let (address, count) = (format!("{}:{PEER_PORT}", lab.vips()[service]), HELD.to_string());
        let hold = || Peer::start(lab, CLIENT_VM, &["hold", &address, &count]);
        let (mut talking, mut silent) = (hold(), hold());
        assert_eq!([talking.hears(), silent.hears()], [count.clone(), count]);
        Self { service, talking, silent }
    }

    fn live_after(&mut self, change: &str) {
        self.talking.tell("again");
        assert_eq!(self.talking.hears(), HELD.to_string(), "to {} after: {change}", self.service);
    }

    fn all_live(mut self) {
        self.silent.tell("again");
        assert_eq!(self.silent.hears(), HELD.to_string(), "silent ones to {}", self.service);
    }
}

/// Whether the client's Envoy has a listener for this port of a service, in a cluster of this name.
fn leads(lab: &Lab, service: &str, port: u16, name: &str) -> bool {
    let ask = |path: &str| lab.sh(CLIENT_VM, &format!("curl -sS --max-time 5 http://127.0.0.1:8001/{path}"));
    let Some(vip) = lab.vips().get(service).cloned() else { return false };
    ask("listeners").contains(&format!("tcp_{vip}_{port}::"))
        && ask("clusters").contains(&format!("out.{service}|{name}::"))
}

#[test]
fn open_connections_live_through_every_change_of_what_they_go_through() {
    let lab = Lab::with(&with_peer_port(1));
    lab.deploys(&cherry("peer", PEER_PORT));
    lab.eventually("cherry is there", || leads(&lab, CHERRY.host, PEER_PORT, "peer"));
    let echo = |vm: &str| Peer::listening(&lab, vm, &["echo", &PEER_PORT.to_string()]);
    let _servers = [echo("banana/0"), echo("cherry/0")];
    let mut held = [BANANA.host, CHERRY.host].map(|service| Held::open(&lab, service));
    let mut lives = |change: &str| held.iter_mut().for_each(|held| held.live_after(change));

    lab.deploys(&cherry("renamed", PEER_PORT));
    lab.eventually("the port has another name", || leads(&lab, CHERRY.host, PEER_PORT, "renamed"));
    lives("another name of a port");

    lab.deploys(&cherry("renamed", PEER_PORT + 1));
    lab.eventually("the port has another number", || {
        leads(&lab, CHERRY.host, PEER_PORT + 1, "renamed") && !leads(&lab, CHERRY.host, PEER_PORT, "renamed")
    });
    lives("another number of a port");

    lab.deploys(&with_peer_port(2));
    lab.eventually("there is another instance", || lab.endpoints(CLIENT_VM, BANANA.host).len() == 4);
    lives("another instance");

    let none = cherry("renamed", PEER_PORT).replace("expose_ports", "unexposed_ports");
    lab.deploys(&none);
    lab.eventually("the service is gone", || !lab.vips().contains_key(CHERRY.host));
    lab.eventually("Envoy has no listener of it", || !leads(&lab, CHERRY.host, PEER_PORT + 1, "renamed"));
    lives("a service that is no more");

    lab.deploys(&cherry("peer", PEER_PORT));
    lab.eventually("the service is back", || leads(&lab, CHERRY.host, PEER_PORT, "peer"));
    lives("a new service");

    lab.kills(PILOT_VM, PILOT).is_in_agreement();
    lives("another pilot");
    lab.kills(CLIENT_VM, AGENT).is_in_agreement();
    lives("another agent");
    held.into_iter().for_each(Held::all_live);
}
