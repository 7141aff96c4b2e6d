//! Tests where connections end up.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use boshy_netfilter::{Found, Guard, Ownership, Pairs, Redirect, VipRoute};

use crate::world::{BOTH, VIP, VM, alone, device, guarded, listen, one_pair, pairs, reach, redirect, rules, sh};

const REFUSED: &str = "Connection refused (os error 111)";
/// Ports of ssh, monit, NATS, the BOSH agent, bosh-dns and the mesh, and the lowest and highest port.
const PORTS: [u16; 11] = [1, 22, 2822, 4222, 6868, 8853, 9002, 15001, 15008, 53080, 65535];

/// Adds the virtual IP as an address of the VM, so that a connection that is not redirected also ends at a listener and
/// can be recognised.
fn with_reachable_vip() {
    sh("ip addr add 169.254.255.9/32 dev lo");
}

/// A VM as in production: the range is reached through boshy's route, and no interface has the address.
fn with_route() {
    device();
    VipRoute::new(redirect().range(), VM).unwrap().ensure().unwrap();
}

#[test]
fn only_tcp_to_a_pair_is_redirected_and_the_original_destination_is_known() {
    alone(|| {
        with_reachable_vip();
        sh("ip addr add 169.254.254.9/32 dev lo");
        listen(15001);
        listen(9002);
        assert_eq!(reach(VIP, 9002), "9002 from 169.254.255.9 to none");
        for ownership in BOTH {
            let mut guard = guarded(ownership, &one_pair());
            assert_eq!(reach(VIP, 9002), "15001 from 169.254.255.9 to 169.254.255.9:9002", "{ownership:?}");
            let outside = reach("169.254.254.9".parse().unwrap(), 9002);
            assert!(outside.starts_with("9002 from 169.254.254.9"), "{outside}");
            assert!(reach("127.0.0.1".parse().unwrap(), 9002).starts_with("9002 from 127.0.0.1"));
            guard.remove().unwrap();
            assert!(reach(VIP, 9002).starts_with("9002 "), "{ownership:?}");
        }
    });
}

#[test]
fn every_port_may_be_a_pair_and_what_is_none_is_refused_at_once() {
    alone(|| {
        with_route();
        PORTS.into_iter().for_each(listen);
        let mut guard = guarded(Ownership::WherePossible, &Arc::default());
        for port in PORTS {
            let begun = Instant::now();
            assert_eq!(reach(VIP, port), REFUSED, "port {port}");
            assert!(begun.elapsed() < Duration::from_millis(500), "port {port}: {:?}", begun.elapsed());
        }
        let all: Arc<Pairs> = Arc::new(PORTS.map(|port| std::net::SocketAddrV4::new(VIP, port)).into());
        assert_eq!(guard.keep(&rules(&all)).unwrap(), Found::Untouched);
        for port in PORTS {
            assert_eq!(reach(VIP, port), format!("15001 from {VM} to {VIP}:{port}"));
            // The same port of another virtual IP, and another port of this virtual IP.
            assert_eq!(reach(Ipv4Addr::new(169, 254, 255, 8), port), REFUSED);
            assert_eq!(reach(VIP, port ^ 0x100), REFUSED);
        }
    });
}

#[test]
fn no_port_of_the_vm_itself_is_touched() {
    alone(|| {
        with_route();
        PORTS.into_iter().for_each(listen);
        let who = |address, port| reach(address, port).split(" to ").next().unwrap().to_owned();
        let own = || PORTS.map(|port| [VM, Ipv4Addr::LOCALHOST].map(|address| who(address, port)));
        let before = own();
        let all: Arc<Pairs> = Arc::new(PORTS.map(|port| std::net::SocketAddrV4::new(VIP, port)).into());
        guarded(Ownership::WherePossible, &all);
        assert_eq!(own(), before);
    });
}

#[test]
fn a_datagram_to_the_range_is_refused_as_by_a_closed_port() {
    alone(|| {
        with_route();
        let outcome = |address: Ipv4Addr, port| -> io::Result<()> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            socket.connect((address, port))?;
            socket.send(b"question")?;
            socket.recv(&mut [0; 8]).map(drop)
        };
        let closed = outcome(VM, 53).unwrap_err().to_string();
        assert_eq!(closed, REFUSED);
        guarded(Ownership::WherePossible, &one_pair());
        for port in [53, 443, 9002] {
            assert_eq!(outcome(VIP, port).unwrap_err().to_string(), closed, "port {port}");
        }
    });
}

#[test]
fn connections_that_are_open_survive_the_end_of_their_pair() {
    alone(|| {
        use std::io::{Read, Write};
        with_route();
        let echo = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 15001)).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).unwrap();
            }
        });
        let mut guard = guarded(Ownership::WherePossible, &one_pair());
        let mut stream = std::net::TcpStream::connect((VIP, 9002)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut answers = |when: &str| {
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap_or_else(|error| panic!("{when}: {error}"));
        };
        answers("with its pair");
        guard.keep(&rules(&pairs(["169.254.255.9:9003"]))).unwrap();
        assert_eq!(reach(VIP, 9002), REFUSED);
        answers("without its pair");
    });
}

#[test]
fn no_connection_escapes_while_rules_are_replaced_and_other_pairs_come_and_go() {
    alone(|| {
        with_reachable_vip();
        listen(15001);
        listen(9002);
        let wider = Redirect::new("169.254.254.0/23".parse().unwrap(), 15001).unwrap();
        let narrow = redirect();
        let (one, more) = (one_pair(), pairs(["169.254.255.9:9002", "169.254.255.9:9003"]));
        for ownership in BOTH {
            let (mut guard, mut redirect) = (guarded(ownership, &one_pair()), narrow.clone());
            let (stop, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let connecting = thread::spawn({
                let (stop, connected) = (stop.clone(), connected.clone());
                move || {
                    let mut ends = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        ends.push(reach(VIP, 9002));
                        connected.store(ends.len(), Ordering::Relaxed);
                    }
                    ends
                }
            });
            let (deadline, mut swaps) = (Instant::now() + Duration::from_secs(30), 0);
            while (swaps < 200 || connected.load(Ordering::Relaxed) < 500) && Instant::now() < deadline {
                guard.keep(&redirect.ruleset(if swaps % 2 == 0 { &more } else { &one })).unwrap();
                if swaps % 10 == 0 {
                    drop(guard);
                    redirect = if swaps % 20 == 0 { wider.clone() } else { narrow.clone() };
                    guard = Guard::open(ownership).unwrap();
                    assert_eq!(guard.keep(&redirect.ruleset(&more)).unwrap(), Found::Beginning);
                }
                swaps += 1;
            }
            stop.store(true, Ordering::Relaxed);
            let ends = connecting.join().unwrap();
            let escaped: Vec<_> = ends.iter().filter(|end| !end.starts_with("15001 ")).collect();
            println!("{ownership:?}: {swaps} changes, {} connections", ends.len());
            assert!(escaped.is_empty(), "{ownership:?}: {} of {}: {:?}", escaped.len(), ends.len(), escaped[0]);
            assert!(swaps >= 200 && ends.len() >= 500, "{swaps} changes, {} connections", ends.len());
            guard.remove().unwrap();
        }
    });
}
