//! Which connections are ended whose peer does not answer.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use boshy_netfilter::DeadPeers;
use socket2::SockRef;

use crate::world::{alone, sh};

/// Short of it, three retransmissions take 1.4 s.
const TIMEOUT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// What a test client has set on its socket.
#[derive(Clone, Copy, Debug)]
enum Mark {
    None,
    Half,
    Whole,
}

/// A connection within the VM, over its loopback.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new(ip: IpAddr, port: u16, mark: Mark) -> Self {
        let listener = TcpListener::bind((ip, port)).unwrap();
        let client = TcpStream::connect((ip, port)).unwrap();
        let socket = SockRef::from(&client);
        if !matches!(mark, Mark::None) {
            socket.set_freebind_v4(true).unwrap();
        }
        if matches!(mark, Mark::Whole) {
            socket.set_multicast_all_v4(false).unwrap();
            socket.set_multicast_loop_v4(false).unwrap();
        }
        client.set_nonblocking(true).unwrap();
        Self { client, server: listener.accept().unwrap().0 }
    }

    /// Writes until the other end takes no more.
    fn fill(&mut self) -> usize {
        let mut written = 0;
        let mut full = Instant::now();
        while full.elapsed() < Duration::from_millis(300) {
            match self.client.write(&[7; 65_536]) {
                Ok(count) => {
                    written += count;
                    full = Instant::now();
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    thread::yield_now();
                }
            }
        }
        written
    }

    /// What the client is told of its connection.
    fn trouble(&self) -> Option<ErrorKind> {
        self.client.take_error().unwrap().map(|error| error.kind())
    }
}

/// No packet for these ports arrives any more, and none of theirs.
fn vanish(ports: &str) {
    sh(&format!(
        "nft 'table inet vanished {{ chain input {{ type filter hook input priority 0; tcp dport {{ {ports} }} drop; tcp sport {{ {ports} }} drop; }}; }}'"
    ));
}

#[test]
fn only_marked_connections_end_whose_peer_was_asked_and_did_not_answer() {
    alone(|| {
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let mut gone = Pair::new(v4, 7001, Mark::Whole);
        let mut gone_by_v6 = Pair::new(v6, 7002, Mark::Whole);
        let mut gone_and_full = Pair::new(v4, 7003, Mark::Whole);
        let mut of_others = Pair::new(v4, 7004, Mark::None);
        let mut half_marked = Pair::new(v4, 7005, Mark::Half);
        let idle = Pair::new(v4, 7006, Mark::Whole);
        let mut full = Pair::new(v4, 8001, Mark::Whole);
        let written = full.fill();
        gone_and_full.fill();
        vanish("7001-7006");
        for pair in [&mut gone, &mut gone_by_v6, &mut of_others, &mut half_marked] {
            pair.client.write_all(b"on its way").unwrap();
        }

        let mut peers = DeadPeers::open().unwrap();
        let mut ended = std::collections::BTreeSet::<SocketAddr>::new();
        let begun = Instant::now();
        while ended.len() < 3 {
            ended.extend(peers.end(TIMEOUT).unwrap().peers);
            assert!(begun.elapsed() < LONG, "{ended:?}");
        }
        assert_eq!(ended, ["127.0.0.1:7001", "[::1]:7002", "127.0.0.1:7003"].map(|text| text.parse().unwrap()).into());
        for pair in [&gone, &gone_by_v6, &gone_and_full] {
            assert_eq!(pair.trouble(), Some(ErrorKind::ConnectionAborted));
        }
        let begun = Instant::now();
        while begun.elapsed() < 4 * TIMEOUT {
            assert_eq!(peers.end(TIMEOUT).unwrap(), boshy_netfilter::Ended::default());
        }
        for pair in [&of_others, &half_marked, &idle, &full] {
            assert_eq!(pair.trouble(), None);
        }
        drop(full.client);
        let mut read = Vec::new();
        full.server.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), written);
    });
}
