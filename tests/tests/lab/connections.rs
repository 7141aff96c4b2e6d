//! Many connections, idle ones, and ones whose other end has vanished.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    time::{Duration, Instant},
};

use boshy_tests::peer::{End, Outcome};

use crate::{
    driver::{AGENT, ENVOY, Lab},
    load::lost_of_many,
    manifests::{BANANA, Service, sample},
    peers::Peer,
};

/// Exposed ports with `boshy-test-peer` behind them.
pub(crate) const PEER_PORT: u16 = 9400;

/// Services to which connections are opened at once.
const SERVICES: usize = 3;

/// One apricot, and this number of bananas that expose a port for `boshy-test-peer`.
pub(crate) fn with_peer_port(bananas: usize) -> String {
    with_peer_ports(1, bananas, 1)
}

/// The same with this number of clients' VMs and of ports, starting at [`PEER_PORT`].
pub(crate) fn with_peer_ports(apricots: usize, bananas: usize, ports: usize) -> String {
    let exposed = (PEER_PORT..).take(ports).fold("      number: 9002\n".to_owned(), |mut text, port| {
        write!(text, "    - name: peer{port}\n      number: {port}\n").unwrap();
        text
    });
    format!("{}\n", sample(apricots, bananas)).replace("      number: 9002\n", &exposed)
}

fn address(lab: &Lab) -> String {
    format!("{}:{PEER_PORT}", lab.vips()[BANANA.host])
}

/// The first instance, without the mesh.
fn direct_address(lab: &Lab) -> String {
    let endpoints = lab.endpoints("apricot/0", BANANA.host);
    format!("{}:{PEER_PORT}", endpoints.first().unwrap().split(':').next().unwrap())
}

/// Sets the properties `peer_timeout` and `envoy.peer_timeout`.
fn ends_silence_after_5_s(lab: &Lab, vm: &str) {
    for job in [ENVOY, AGENT] {
        lab.sh(vm, &format!("sed -i 's/\"50s\"/\"5s\"/' /var/vcap/jobs/{job}/config/agent.yml"));
        lab.kills(vm, job).is_in_agreement();
    }
}

/// Statistics of a VM's Envoy.
fn statistics(lab: &Lab, vm: &str, filter: &str) -> BTreeMap<String, u64> {
    let url = format!("http://127.0.0.1:8001/stats?filter={filter}");
    let text = lab.succeeds(["exec", vm, "--", "curl", "-sS", "--max-time", "5", &url]);
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// As many connections as Envoy has files for when a process may open 20,000. `BOSHY_LAB_CONNECTIONS` sets another
/// number.
#[test]
fn a_vm_holds_thousands_of_connections_to_one_service_and_to_each_of_several_that_are_opened_at_once() {
    let count: usize = env::var("BOSHY_LAB_CONNECTIONS").map_or(9000, |text| text.parse().unwrap());
    let lab = Lab::with(&with_peer_ports(1, 1, SERVICES));
    let ports: Vec<u16> = (PEER_PORT..).take(SERVICES).collect();
    let _echoes: Vec<Peer> =
        ports.iter().map(|port| Peer::listening(&lab, "banana/0", &["echo", &port.to_string()])).collect();
    for ports in [&ports[..1], &ports] {
        holds(&lab, ports, count / ports.len());
    }
}

/// Opens this number of connections to a service behind each of these ports, all at the same time, and uses each of
/// them twice.
fn holds(lab: &Lab, ports: &[u16], each: usize) {
    let (vip, begun) = (lab.vips()[BANANA.host].clone(), Instant::now());
    let mut clients: Vec<Peer> = ports
        .iter()
        .map(|port| Peer::start(lab, "apricot/0", &["hold", &format!("{vip}:{port}"), &each.to_string()]))
        .collect();
    let answered = |clients: &mut Vec<Peer>| clients.iter_mut().map(Peer::hears).collect::<Vec<_>>();
    let all = vec![each.to_string(); ports.len()];
    assert_eq!(answered(&mut clients), all);
    let opened = begun.elapsed();
    clients.iter_mut().for_each(|client| client.tell("again"));
    assert_eq!(answered(&mut clients), all);
    let look = || statistics(lab, "apricot/0", "(total_connections|upstream_cx_(overflow|active|connect_fail))");
    let open = (each * ports.len()) as u64;
    // Envoy sums its workers' figures up every five seconds.
    lab.eventually("the statistics count the connections", || look()["server.total_connections"] >= open);
    let seen = look();
    eprintln!("{each} connections to each of {} services in {opened:?}", ports.len());
    // A failed attempt is repeated, and occupies a port for a minute.
    let wasted =
        seen.iter().filter(|(name, _)| name.contains(".upstream_cx_overflow") || name.contains("connect_fail"));
    assert!(wasted.into_iter().all(|(_, count)| *count <= open / 100), "{seen:?}");
    drop(clients);
    // Envoy has files for these connections only once.
    lab.eventually("Envoy has closed the connections", || look()["server.total_connections"] < open / 100);
}

#[test]
fn a_peer_that_vanishes_without_a_word_ends_its_connections_idle_or_not() {
    let lab = Lab::with(&with_peer_port(1));
    ends_silence_after_5_s(&lab, "apricot/0");
    let _echo = Peer::listening(&lab, "banana/0", &["echo", &PEER_PORT.to_string()]);
    let mut client = Peer::start(&lab, "apricot/0", &["hold", &address(&lab), "4"]);
    assert_eq!(client.hears(), "4");
    let mut direct = Peer::start(&lab, "apricot/0", &["hold", &direct_address(&lab), "1"]);
    assert_eq!(direct.hears(), "1");

    swallows_packets(&lab, "banana/0", PEER_PORT);
    let vanished = Instant::now();
    direct.tell("ends");
    client.tell("ends");
    assert_eq!(client.hears(), "4", "of two idle connections and two with an octet on its way");
    assert!(vanished.elapsed() < Duration::from_secs(12), "{:?}", vanished.elapsed());
    assert_eq!(direct.hears(), "0", "a connection of another program, which is none of ours");
}

#[test]
fn an_instance_that_does_not_read_for_long_gets_everything_when_it_does() {
    let lab = Lab::with(&with_peer_port(1));
    ends_silence_after_5_s(&lab, "apricot/0");
    let mut server = Peer::listening(&lab, "banana/0", &["serve", &PEER_PORT.to_string()]);
    let mut client = Peer::start(&lab, "apricot/0", &["connect"]);
    // More than the server's kernel buffers for a program that does not read, and less than it and Envoy buffer
    // together.
    server.tell("rest:17000 drain");
    client.tell(&format!("{} send:1000000 close", address(&lab)));
    let sent = heard(&mut client);
    assert_eq!(sent.trouble, "");
    let unread = "ss -Htno state connected '( dport = :9400 )' | grep -q timer:.persist";
    lab.eventually("the instance takes no more", || lab.holds("apricot/0", unread));
    assert_eq!(heard(&mut server), Outcome { received: 1_000_000, end: End::Fin, trouble: String::new() });
}

#[test]
fn a_program_that_vanishes_is_asked_for_as_an_instance_is() {
    let lab = Lab::with(&with_peer_port(1));
    ends_silence_after_5_s(&lab, "apricot/0");
    let _echo = Peer::listening(&lab, "banana/0", &["echo", &PEER_PORT.to_string()]);
    let mut client = Peer::start(&lab, "apricot/0", &["hold", &address(&lab), "1"]);
    assert_eq!(client.hears(), "1");
    let sockets = lab.sh("apricot/0", "ss -Htno state established '( sport = :15001 )'");
    // By default the first probe is sent after 20 s of silence, which `ss` would show in seconds; here after 2 s.
    assert!(sockets.contains("timer:(keepalive,") && !sockets.contains("sec,"), "{sockets}");
}

#[test]
fn an_instance_that_accepts_nothing_for_six_seconds_is_connected_to_then() {
    let lab = Lab::with(&with_peer_port(1));
    let whole = Outcome { received: 1000, end: End::Own, trouble: String::new() };
    let mut server = Peer::listening(&lab, "banana/0", &["late", &PEER_PORT.to_string()]);
    let begun = Instant::now();
    let mut clients = [direct_address(&lab), address(&lab)].map(|address| {
        let mut client = Peer::start(&lab, "apricot/0", &["connect"]);
        client.tell(&format!("{address} send:1000 recv:1000 close"));
        client
    });
    lab.eventually("its backlog has been full for six seconds", || begun.elapsed() > Duration::from_secs(6));
    server.tell("accept");
    assert_eq!(clients.each_mut().map(heard), [whole.clone(), whole]);
}

fn heard(peer: &mut Peer) -> Outcome {
    serde_json::from_str(&peer.hears()).unwrap()
}

#[test]
fn instances_that_swallow_packets_cost_a_connection_a_moment() {
    let lab = Lab::with(&sample(1, 5));
    for index in 0..3 {
        swallows_packets(&lab, &format!("banana/{index}"), BANANA.port);
    }
    // Lets the first failures become known.
    assert_eq!(lost_of_many(&lab, "apricot/0", BANANA, 80), BTreeMap::new());
    let mut seconds = times(&lab, "apricot/0", BANANA, 300);
    seconds.sort_by(f64::total_cmp);
    let (median, worst) = (seconds[seconds.len() / 2], *seconds.last().unwrap());
    eprintln!("three of five instances swallow packets: median {median:.3} s, worst {worst:.3} s");
    assert!(median < 0.3 && worst < 1.1, "median {median}, worst {worst}");
}

/// Seconds until each of this number of connections by eight clients was answered; all are.
fn times(lab: &Lab, vm: &str, service: Service, requests: usize) -> Vec<f64> {
    let Service { host, port, .. } = service;
    let one = format!("curl -sf --max-time 10 -o /dev/null -w '%{{time_total}}\\n' http://{host}:{port}/ip");
    let each = requests / 8;
    let script = format!(
        "into=$(mktemp -d); for c in 1 2 3 4 5 6 7 8; do (for i in $(seq {each}); do {one} || echo lost; done) >$into/$c & done; wait; cat $into/*"
    );
    lab.sh(vm, &script).lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// From now on the VM neither receives nor sends packets of the port, as if it had vanished.
fn swallows_packets(lab: &Lab, vm: &str, port: u16) {
    let chain = |hook: &str, side: &str| {
        format!("chain {hook} {{ type filter hook {hook} priority 0\n tcp {side} {port} drop\n }}\n")
    };
    let rules = format!("table inet vanished {{\n{}{}}}\n", chain("input", "dport"), chain("output", "sport"));
    lab.sh(vm, &format!("nft '{rules}'"));
}
