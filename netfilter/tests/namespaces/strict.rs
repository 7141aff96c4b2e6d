//! Tests who reaches a strict port.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use boshy_netfilter::{Found, Guard, Ownership, Ports, Ruleset, Strict};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

use crate::world::{Killed, VM, alone, beside, listen, namespace, one_pair, reach, role, rules, sh};

/// An address outside of the VM, and one that is exempt.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 9);
const MONITOR: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 77);
/// Those of IPv6: of the VM, outside, and exempt.
const VM6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 5);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 9);
const MONITOR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 1, 0x77);
/// An address of the VM in another network, which the director may not know.
const OTHER_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 245, 0, 5);
const PORT: u16 = 9000;
const REFUSED: &str = "Connection refused (os error 111)";

fn with(strict: &Arc<Ports>) -> Ruleset {
    let exempt = ["10.244.0.64/28", "fd00:244::1:0/112"].map(|net| net.parse().unwrap());
    Strict::new(exempt).added_to(rules(&one_pair()), strict)
}

fn port() -> Arc<Ports> {
    Arc::new([PORT].into())
}

/// A VM, and a namespace outside with both other addresses: the process that keeps it, and how to enter it.
fn networks() -> (Killed, String) {
    let (outside, pid) = namespace();
    sh(&format!(
        "ip link add eth0 type veth peer name eth0 netns {pid} && ip addr add {VM}/24 dev eth0 && ip link set eth0 up"
    ));
    let inside = format!("nsenter --net=/proc/{pid}/ns/net");
    sh(&format!(
        "{inside} sh -c 'ip addr add {OUTSIDE}/24 dev eth0 && ip addr add {MONITOR}/24 dev eth0 && ip link set eth0 up'"
    ));
    sh(&format!("ip addr add {VM6}/64 dev eth0 nodad && ip addr add {OTHER_NETWORK}/24 dev eth0"));
    sh(&format!(
        "{inside} sh -c 'ip addr add {OUTSIDE6}/64 dev eth0 nodad && ip addr add {MONITOR6}/64 dev eth0 nodad \
         && ip route add 10.245.0.0/24 dev eth0'"
    ));
    (outside, inside)
}

/// Listens at every address of IPv6, and at no other.
fn listen6() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_only_v6(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

/// What an attempt from outside with this source address ends with, and after how many milliseconds.
fn from_outside<T>(scenario: &T, inside: &str, source: impl Into<IpAddr>) -> (String, u128) {
    let source = source.into();
    let vm = if source.is_ipv4() { IpAddr::from(VM) } else { VM6.into() };
    attempt(scenario, inside, source, vm)
}

fn attempt<T>(scenario: &T, inside: &str, source: IpAddr, at: IpAddr) -> (String, u128) {
    let through: Vec<&str> = inside.split(' ').collect();
    let output = beside(scenario, &format!("{source} {at}"), &through).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = text.lines().find_map(|line| line.split_once("told: ")).unwrap_or_else(|| panic!("{text}")).1;
    let (end, milliseconds) = told.rsplit_once(' ').unwrap();
    (end.to_owned(), milliseconds.parse().unwrap())
}

/// The other process: connects from and to the addresses that its role names, and tells how it ended.
fn connects(role: &str) {
    let (source, vm) = role.split_once(' ').unwrap();
    let (source, vm): (IpAddr, IpAddr) = (source.parse().unwrap(), vm.parse().unwrap());
    let family = if vm.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None).unwrap();
    let at = |address: SocketAddr| SockaddrStorage::from(address);
    bind(socket.as_raw_fd(), &at((source, 0).into())).unwrap();
    let begun = Instant::now();
    let end = match connect(socket.as_raw_fd(), &at((vm, PORT).into())) {
        Ok(()) => "connected".to_owned(),
        Err(error) => io::Error::from(error).to_string(),
    };
    println!("told: {end} {}", begun.elapsed().as_millis());
}

#[test]
fn a_strict_port_is_refused_from_outside_at_once_and_open_to_the_vm_itself_and_to_the_exempt() {
    let scenario = || {};
    alone(move || {
        if let Some(ends) = role() {
            return connects(&ends);
        }
        let (_outside, inside) = networks();
        listen(PORT);
        let _listener = listen6();
        let mut guard = Guard::open(Ownership::WherePossible).unwrap();
        assert_eq!(guard.keep(&with(&Arc::default())).unwrap(), Found::Beginning);
        assert_eq!(from_outside(&scenario, &inside, OUTSIDE).0, "connected", "it is not strict yet");

        assert_eq!(guard.keep(&with(&port())).unwrap(), Found::Untouched);
        let (end, milliseconds) = from_outside(&scenario, &inside, OUTSIDE);
        assert!(end == REFUSED && milliseconds < 500, "{end} after {milliseconds} ms");
        assert_eq!(from_outside(&scenario, &inside, MONITOR).0, "connected");
        assert_eq!(attempt(&scenario, &inside, OUTSIDE.into(), OTHER_NETWORK.into()).0, REFUSED);
        for own in [VM, Ipv4Addr::LOCALHOST] {
            assert!(reach(own, PORT).starts_with("9000 from "), "the VM itself at {own}");
        }
        // The writer is gone; the rules are not. Another one takes them over, and sees what others change.
        drop(guard);
        assert_eq!(from_outside(&scenario, &inside, OUTSIDE).0, REFUSED);
        let mut guard = Guard::open(Ownership::Shared).unwrap();
        assert_eq!(guard.present().unwrap().ports(Strict::SET), port());
        guard.keep(&with(&port())).unwrap();
        sh("nft flush chain inet boshy close");
        let Found::Drifted(drift) = guard.keep(&with(&port())).unwrap() else { panic!("no drift") };
        assert!(drift.to_string().contains("chain close lacks `iif lo accept`"), "{drift}");
        assert_eq!(from_outside(&scenario, &inside, OUTSIDE).0, REFUSED);

        assert_eq!(guard.keep(&with(&Arc::default())).unwrap(), Found::Untouched);
        assert_eq!(from_outside(&scenario, &inside, OUTSIDE).0, "connected");
        assert!(!sh("nft list ruleset").contains("strict"));
    });
}

#[test]
fn a_strict_port_is_refused_over_ipv6_too_and_open_to_the_vm_itself_and_to_the_exempt() {
    let scenario = || {};
    alone(move || {
        if let Some(ends) = role() {
            return connects(&ends);
        }
        let (_outside, inside) = networks();
        let _listener = listen6();
        let mut guard = Guard::open(Ownership::WherePossible).unwrap();
        guard.keep(&with(&Arc::default())).unwrap();
        assert_eq!(from_outside(&scenario, &inside, OUTSIDE6).0, "connected", "it is not strict yet");
        guard.keep(&with(&port())).unwrap();
        let (end, milliseconds) = from_outside(&scenario, &inside, OUTSIDE6);
        assert!(end == REFUSED && milliseconds < 500, "{end} after {milliseconds} ms");
        assert_eq!(from_outside(&scenario, &inside, MONITOR6).0, "connected");
        for own in [VM6, Ipv6Addr::LOCALHOST] {
            TcpStream::connect((own, PORT)).unwrap_or_else(|error| panic!("the VM itself at {own}: {error}"));
        }
    });
}

#[test]
fn a_connection_that_is_open_when_its_port_becomes_strict_lives_on() {
    alone(|| {
        let (_outside, inside) = networks();
        let echo = TcpListener::bind((VM, PORT)).unwrap();
        let (opened, open) = mpsc::channel();
        thread::spawn(move || opened.send(echo.accept().unwrap().0).unwrap());
        // A program outside that repeats what it hears.
        let script = format!("exec 3<>/dev/tcp/{VM}/{PORT}; cat <&3 >&3");
        let through: Vec<&str> = inside.split(' ').collect();
        let client = Command::new(through[0]).args(&through[1..]).args(["bash", "-c", &script]).spawn();
        let _client = Killed(client.unwrap());
        let mut stream: TcpStream = open.recv_timeout(Duration::from_secs(10)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answers = |when: &str| {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{when}: {error}"));
        };
        answers("before");
        Guard::open(Ownership::WherePossible).unwrap().keep(&with(&port())).unwrap();
        answers("after");
    });
}

#[test]
fn what_nft_writes_of_a_listing_of_the_filter_is_recognised() {
    alone(|| {
        let mut guard = Guard::open(Ownership::Shared).unwrap();
        guard.keep(&with(&port())).unwrap();
        let file = "$BOSHY_NETFILTER_TEST_HOME/listing";
        sh(&format!("nft list table inet boshy > {file} && nft delete table inet boshy && nft -f {file}"));
        assert_eq!(guard.keep(&with(&port())).unwrap(), Found::Untouched, "{}", sh("nft list ruleset"));
    });
}
