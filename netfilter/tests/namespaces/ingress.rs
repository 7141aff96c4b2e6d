//! Tests where connections to captured ports end up.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::Arc,
    thread,
    time::Duration,
};

use boshy_netfilter::{Found, Guard, Ingress, Ownership, Pairs, ReturnPath, Ruleset, Strict};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockopt, setsockopt, socket,
    sockopt::{IpTransparent, Mark, OriginalDst},
};

use crate::{
    containers::{neighbour, reached},
    world::{Killed, VM, alone, listen, one_pair, pairs, reach, role, rules, said, sh},
};

const OUTSIDE: &str = "10.244.0.9";
const REFUSED: &str = "Connection refused (os error 111)";
const PORT: u16 = 9000;
const MARK: u32 = 0xb005_1357;

fn captured() -> Arc<Pairs> {
    pairs(["10.244.0.5:9000"])
}

fn with(port: u16, captured: &Arc<Pairs>, original_src: bool) -> Ruleset {
    Ingress::new(port, MARK).added_to(rules(&one_pair()), captured, original_src)
}

/// A VM, and a machine outside.
fn networks() -> (Killed, String) {
    neighbour(&format!("{OUTSIDE}/24"), None, "eth0", &format!("ip addr add {VM}/24 dev eth0"))
}

/// What a process outside does: connects to the address that its role names, and tells what it hears.
fn is_outside() -> bool {
    let Some(at) = role() else { return false };
    let at: SocketAddrV4 = at.parse().unwrap();
    println!("told: {}", reach(*at.ip(), at.port()));
    true
}

#[test]
fn what_arrives_from_outside_at_a_captured_port_reaches_envoy_and_nothing_else_does() {
    let scenario = || {};
    alone(move || {
        if is_outside() {
            return;
        }
        let (_outside, outside) = networks();
        let from_outside = |port| reached(&scenario, &outside, VM, port);
        // The last one is that of an Envoy that is dead.
        [PORT, PORT + 1, 22, 15006].into_iter().for_each(listen);
        let mut guard = Guard::open(Ownership::WherePossible).unwrap();
        guard.keep(&with(15006, &Arc::default(), false)).unwrap();
        assert_eq!(from_outside(PORT), format!("{PORT} from {OUTSIDE} to {VM}:{PORT}"));

        assert_eq!(guard.keep(&with(15006, &captured(), false)).unwrap(), Found::Untouched);
        assert_eq!(from_outside(PORT), format!("15006 from {OUTSIDE} to {VM}:{PORT}"));
        for other in [PORT + 1, 22] {
            assert!(from_outside(other).starts_with(&format!("{other} from {OUTSIDE}")), "{other}");
        }
        // As Envoy dials it, and as monit and bosh-dns check it.
        for own in [VM, Ipv4Addr::LOCALHOST] {
            assert!(reach(own, PORT).starts_with(&format!("{PORT} from ")), "{own}");
        }

        guard.keep(&with(15007, &captured(), false)).unwrap();
        assert_eq!(from_outside(PORT), REFUSED, "no Envoy");
        assert!(from_outside(PORT + 1).starts_with(&format!("{} from", PORT + 1)));
        guard.keep(&with(15007, &Arc::default(), false)).unwrap();
        assert!(from_outside(PORT).starts_with(&format!("{PORT} from {OUTSIDE}")));
    });
}

#[test]
fn a_captured_port_that_is_closed_otherwise_has_no_way_around_envoy() {
    let scenario = || {};
    alone(move || {
        if is_outside() {
            return;
        }
        let (_outside, outside) = networks();
        sh("ip addr add 10.244.0.6/24 dev eth0");
        [PORT, 15006].into_iter().for_each(listen);
        let closed = Strict::new([]).added_to(with(15006, &captured(), false), &Arc::new([PORT].into()));
        Guard::open(Ownership::WherePossible).unwrap().keep(&closed).unwrap();
        assert_eq!(reached(&scenario, &outside, VM, PORT), format!("15006 from {OUTSIDE} to {VM}:{PORT}"));
        assert_eq!(reached(&scenario, &outside, Ipv4Addr::new(10, 244, 0, 6), PORT), REFUSED);
        assert!(reach(VM, PORT).starts_with("9000 from "), "the VM itself");
    });
}

#[test]
fn a_connection_that_was_captured_lives_on_when_its_port_is_captured_no_more() {
    alone(|| {
        let (_outside, outside) = networks();
        let envoy = TcpListener::bind((VM, 15006)).unwrap();
        let mut guard = Guard::open(Ownership::WherePossible).unwrap();
        guard.keep(&with(15006, &captured(), false)).unwrap();
        let script = format!("exec 3<>/dev/tcp/{VM}/{PORT}; cat <&3 >&3");
        let through: Vec<&str> = outside.split(' ').collect();
        let client = std::process::Command::new(through[0]).args(&through[1..]).args(["bash", "-c", &script]).spawn();
        let _client = Killed(client.unwrap());
        let mut stream = envoy.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        guard.keep(&with(15006, &Arc::default(), false)).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    });
}

/// As Envoy's filter `original_src` does it: connects to the program with the caller's address, and hands its answer on.
fn proxies_with_original_source() {
    let listener = TcpListener::bind((VM, 15006)).unwrap();
    thread::spawn(move || {
        for caller in listener.incoming().map(Result::unwrap) {
            let answer = connected_as(&caller).and_then(said).unwrap_or_else(|error| error.to_string());
            let _ = (&caller).write_all(answer.as_bytes());
        }
    });
}

fn connected_as(caller: &TcpStream) -> io::Result<TcpStream> {
    let std::net::SocketAddr::V4(source) = caller.peer_addr()? else { unreachable!("IPv4 alone is captured") };
    let program = SockaddrIn::from(getsockopt(caller, OriginalDst)?);
    let upstream = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    setsockopt(&upstream, IpTransparent, &true)?;
    setsockopt(&upstream, Mark, &MARK)?;
    let [a, b, c, d] = source.ip().octets();
    bind(upstream.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0))?;
    connect(upstream.as_raw_fd(), &program)?;
    Ok(upstream.into())
}

#[test]
fn a_program_sees_the_callers_address_where_that_is_wanted_and_its_answers_return_to_envoy() {
    let scenario = || {};
    alone(move || {
        if is_outside() {
            return;
        }
        let (_outside, outside) = networks();
        let from_outside = |port| reached(&scenario, &outside, VM, port);
        proxies_with_original_source();
        [PORT, PORT + 1].into_iter().for_each(listen);
        let mut back = ReturnPath::new(MARK).unwrap();
        let before = sh("ip rule; ip route show table all");
        assert_eq!((back.ensure().unwrap(), back.ensure().unwrap()), (true, false));
        let mut guard = Guard::open(Ownership::Shared).unwrap();
        let wanted = with(15006, &captured(), true);
        guard.keep(&wanted).unwrap();
        for filter in [0, 1, 2] {
            sh(&format!("for each in all lo eth0; do echo {filter} > /proc/sys/net/ipv4/conf/$each/rp_filter; done"));
            assert_eq!(from_outside(PORT), format!("{PORT} from {OUTSIDE} to {VM}:{PORT}"), "rp_filter {filter}");
        }
        // What is not captured takes no part in it.
        assert_eq!(from_outside(PORT + 1), format!("{} from {OUTSIDE} to {VM}:{}", PORT + 1, PORT + 1));
        assert!(reach(VM, PORT).starts_with(&format!("{PORT} from {VM}")));

        let file = "$BOSHY_NETFILTER_TEST_HOME/listing";
        sh(&format!("nft list table inet boshy > {file} && nft delete table inet boshy && nft -f {file}"));
        assert_eq!(guard.keep(&wanted).unwrap(), Found::Untouched, "{}", sh("nft list ruleset"));

        sh("ip rule del fwmark 0xb0051357 && ip route flush table 176");
        assert!(back.ensure().unwrap(), "what something else removed is back");
        assert_eq!(from_outside(PORT), format!("{PORT} from {OUTSIDE} to {VM}:{PORT}"));
        back.remove().unwrap();
        back.remove().unwrap();
        assert_eq!(sh("ip rule; ip route show table all"), before);
    });
}

#[test]
fn a_route_of_others_in_the_table_of_the_way_back_stays() {
    alone(|| {
        sh("ip route add local 0.0.0.0/0 dev lo table 176");
        let mut back = ReturnPath::new(MARK).unwrap();
        let error = back.ensure().unwrap_err();
        assert!(error.to_string().contains("table 176 already has a route"), "{error}");
        back.remove().unwrap();
        assert!(sh("ip route show table 176").contains("local default"));
    });
}
