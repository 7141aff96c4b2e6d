//! Tests the server on loopback sockets with an independent client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers are no tests to the lint")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_dns::{CurrentZone, PATIENCE, Rcode, ServeError, Sockets, Stats, Zone, serve};
use boshy_mesh::{Hostname, NameTable, Tld};
use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

const HTTPBIN: &str = "httpbin.banana.sample.boshy.";
const BLUE: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);
const GREEN: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 3);
/// Far longer than any step takes; reached only when an answer is lost.
const DEADLINE: Duration = Duration::from_secs(20);

fn zone(address: Ipv4Addr, serial: u32) -> Zone {
    let names: NameTable = [(Hostname::parse(HTTPBIN).unwrap(), address)].into_iter().collect();
    Zone::build(&names, &Tld::default(), serial)
}

fn question(id: u16, name: &str, qtype: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.id = id;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    query
}

fn address_in(reply: &Message) -> Option<Ipv4Addr> {
    reply.answers.iter().find_map(|record| match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    })
}

/// Sockets with a zone; a server runs on them once one is started.
struct World {
    sockets: Sockets,
    zones: CurrentZone,
    stats: Arc<Stats>,
}

struct Running {
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl World {
    fn new() -> Self {
        Self::of(zone(BLUE, 1))
    }

    fn of(zone: Zone) -> Self {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { sockets, zones: CurrentZone::new(zone), stats: Arc::default() }
    }

    fn start(&self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let server = serve(self.sockets.clone(), self.zones.clone(), Arc::clone(&self.stats), shutdown);
        Running { stop, server: tokio::spawn(server) }
    }

    /// Waits until this many queries have been counted. A server counts after it has answered.
    async fn counted(&self, queries: u64) {
        let enough = async {
            while self.stats.snapshot().queries < queries {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, enough).await.expect("queries arrive");
    }

    async fn client(&self) -> Client {
        Client::new(self.sockets.address()).await
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(DEADLINE, self.server).await.expect("stops").unwrap().unwrap();
    }
}

struct Client(UdpSocket);

impl Client {
    async fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    async fn send(&self, packet: &[u8]) {
        self.0.send(packet).await.unwrap();
    }

    async fn receive(&self) -> Message {
        let mut octets = [0; 4096];
        let length = timeout(DEADLINE, self.0.recv(&mut octets)).await.expect("an answer").unwrap();
        Message::from_vec(&octets[..length]).unwrap()
    }

    async fn ask(&self, query: &Message) -> Message {
        self.send(&query.to_vec().unwrap()).await;
        let reply = self.receive().await;
        assert_eq!(reply.metadata.id, query.metadata.id);
        reply
    }
}

async fn tcp_send(stream: &mut TcpStream, packet: &[u8]) {
    let length = packet.len() as u16;
    stream.write_all(&[&length.to_be_bytes()[..], packet].concat()).await.unwrap();
}

async fn tcp_receive(stream: &mut TcpStream) -> Message {
    let length = timeout(DEADLINE, stream.read_u16()).await.expect("an answer").unwrap();
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await.unwrap();
    Message::from_vec(&octets).unwrap()
}

#[tokio::test]
async fn udp_and_tcp_give_the_same_answers() {
    let world = World::new();
    let _server = world.start();
    let client = world.client().await;
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    for (name, qtype) in [
        (HTTPBIN, RecordType::A),
        ("HTTPBIN.Banana.sample.boshy.", RecordType::A),
        (HTTPBIN, RecordType::AAAA),
        ("banana.sample.boshy.", RecordType::A),
        ("nope.boshy.", RecordType::A),
        ("boshy.", RecordType::SOA),
        ("boshy.", RecordType::NS),
        ("boshy.", RecordType::AXFR),
        ("example.org.", RecordType::A),
    ] {
        let query = question(1, name, qtype);
        let over_udp = client.ask(&query).await;
        tcp_send(&mut stream, &query.to_vec().unwrap()).await;
        assert_eq!(over_udp, tcp_receive(&mut stream).await, "{name} {qtype}");
    }
}

#[tokio::test]
async fn rfc7766_6_2_1_1_questions_may_follow_each_other_on_a_connection_without_waiting() {
    let world = World::new();
    let _server = world.start();
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    for id in 0..50 {
        tcp_send(&mut stream, &question(id, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
    }
    for id in 0..50 {
        let reply = tcp_receive(&mut stream).await;
        assert_eq!((reply.metadata.id, address_in(&reply)), (id, Some(BLUE)));
    }
}

#[tokio::test]
async fn what_is_not_plain_is_answered_on_udp_and_a_response_is_not() {
    let world = World::new();
    let _server = world.start();
    let client = world.client().await;

    let mut chaos = question(1, "version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(client.ask(&chaos).await.metadata.response_code, ResponseCode::Refused);
    let mut update = question(2, "boshy.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(client.ask(&update).await.metadata.response_code, ResponseCode::NotImp);
    let good = question(3, HTTPBIN, RecordType::A).to_vec().unwrap();
    client.send(&good[..20]).await;
    assert_eq!(client.receive().await.metadata.response_code, ResponseCode::FormErr);
    client.send(&[&good[..12], &[0; 5000]].concat()).await;
    assert_eq!(client.receive().await.metadata.response_code, ResponseCode::FormErr);

    let mut response = good.clone();
    response[2] |= 0x80;
    client.send(&response).await;
    client.send(&good[..11]).await;
    let reply = client.ask(&question(4, HTTPBIN, RecordType::A)).await;
    assert_eq!(address_in(&reply), Some(BLUE), "the next answer belongs to the next question");

    world.counted(7).await;
    let stats = world.stats.snapshot();
    assert_eq!((stats.queries, stats.dropped, stats.cut_short, stats.fallback), (7, 2, 1, 4));
    let by_code = [Rcode::NoError, Rcode::FormErr, Rcode::NotImp, Rcode::Refused].map(|rcode| stats.answered(rcode));
    assert_eq!(by_code, [1, 2, 1, 1]);
}

#[tokio::test]
async fn a_malformed_message_on_tcp_is_answered_and_the_connection_goes_on() {
    let world = World::new();
    let _server = world.start();
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    let good = question(9, HTTPBIN, RecordType::A).to_vec().unwrap();
    tcp_send(&mut stream, &good[..14]).await;
    assert_eq!(tcp_receive(&mut stream).await.metadata.response_code, ResponseCode::FormErr);
    tcp_send(&mut stream, &good).await;
    assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(BLUE));
    tcp_send(&mut stream, &good[..5]).await;
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "closed");
}

#[tokio::test]
async fn questions_wait_for_the_next_server_and_none_is_lost() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(world.client().await);
    }
    for round in 0..3 {
        for client in &clients {
            client.send(&question(round, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        }
        let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
        tcp_send(&mut stream, &question(round, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        let server = world.start();
        for client in &clients {
            assert_eq!(client.receive().await.metadata.id, round);
        }
        assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(BLUE));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_is_swapped_under_load_without_a_wrong_or_a_lost_answer() {
    const WINDOW: u16 = 32;
    const SWAPS: u32 = 200;
    let world = World::new();
    let _server = world.start();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (address, zones) = (world.sockets.address(), world.zones.clone());
            tokio::spawn(async move {
                let client = Client::new(address).await;
                let mut rounds = 0;
                // Continue until the last swap, and then once more.
                loop {
                    let last = zones.load().serial() == SWAPS;
                    for id in 0..WINDOW {
                        client.send(&question(id, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
                    }
                    let mut seen = [false; WINDOW as usize];
                    for _ in 0..WINDOW {
                        let reply = client.receive().await;
                        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                        let address = address_in(&reply).expect("an address");
                        assert!(address == GREEN || address == BLUE && !last, "{address} after the last swap: {last}");
                        assert!(!std::mem::replace(&mut seen[usize::from(reply.metadata.id)], true), "answered twice");
                    }
                    rounds += 1;
                    if last {
                        return rounds;
                    }
                }
            })
        })
        .collect();
    for serial in 2..=SWAPS {
        let before = world.stats.snapshot().queries;
        world.zones.store(zone(if serial % 2 == 0 { GREEN } else { BLUE }, serial));
        world.counted(before + 64).await;
    }
    for asker in askers {
        let rounds: u32 = timeout(DEADLINE, asker).await.expect("no answer is lost").unwrap();
        assert!(rounds > 1);
    }
}

fn not_known_yet() -> World {
    World::of(Zone::not_known_yet(&Tld::default()))
}

#[tokio::test]
async fn what_is_not_known_yet_is_waited_for_and_holds_up_nothing_else() {
    let world = not_known_yet();
    let _server = world.start();
    let (client, other) = (world.client().await, world.client().await);
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    let query = question(1, HTTPBIN, RecordType::A).to_vec().unwrap();
    client.send(&query).await;
    tcp_send(&mut stream, &query).await;
    let outside = other.ask(&question(2, "example.org.", RecordType::A)).await;
    assert_eq!(outside.metadata.response_code, ResponseCode::Refused);
    // The question over UDP and this one are counted on arrival.
    world.counted(2).await;
    world.zones.store(zone(GREEN, 1));
    assert_eq!(address_in(&client.receive().await), Some(GREEN));
    assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(GREEN));
}

#[tokio::test]
async fn what_is_waited_for_in_vain_is_servfail_before_a_forwarder_gives_up() {
    const { assert!(PATIENCE.as_millis() < 2000, "bosh-dns waits two seconds and says that the name does not exist") };
    let world = not_known_yet();
    let _server = world.start();
    let client = world.client().await;
    let began = Instant::now();
    let reply = client.ask(&question(1, HTTPBIN, RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    tcp_send(&mut stream, &question(2, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
    assert_eq!(tcp_receive(&mut stream).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn there_is_room_for_so_many_that_wait_and_the_next_is_answered_at_once() {
    const MORE: u64 = 1100;
    let world = not_known_yet();
    let _server = world.start();
    let client = world.client().await;
    let began = Instant::now();
    for id in 0..MORE {
        client.send(&question(id as u16, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        world.counted(id + 1).await;
    }
    let reply = client.receive().await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.metadata.id >= 1024 || began.elapsed() > PATIENCE, "{}", reply.metadata.id);
    world.zones.store(zone(GREEN, 1));
    let mut found = 0;
    while found == 0 {
        found += usize::from(address_in(&client.receive().await).is_some());
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = World::new();
    let error = Sockets::bind(world.sockets.address()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot bind the DNS server's TCP socket to {}", world.sockets.address()));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn ipv6_clients_are_served_too() {
    let sockets = Sockets::bind("[::1]:0".parse().unwrap()).unwrap();
    let zones = CurrentZone::new(zone(BLUE, 1));
    tokio::spawn(serve(sockets.clone(), zones, Arc::default(), std::future::pending()));
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    socket.connect(sockets.address()).await.unwrap();
    assert_eq!(address_in(&Client(socket).ask(&question(5, HTTPBIN, RecordType::A)).await), Some(BLUE));
}

/// A question with its length before it (RFC 1035 section 4.2.2).
fn framed(query: &Message) -> Vec<u8> {
    let query = query.to_vec().unwrap();
    [&u16::try_from(query.len()).unwrap().to_be_bytes()[..], &query].concat()
}

/// Asks over a connection and reads the answer.
async fn ask_over(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&framed(&question(7, HTTPBIN, RecordType::A))).await?;
    let length = stream.read_u16().await?;
    stream.read_exact(&mut vec![0; usize::from(length)]).await.map(drop)
}

/// Repeats an action for some time and returns the longest duration of one.
async fn slowest(time: Duration, mut act: impl AsyncFnMut()) -> Duration {
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < time {
        let at = Instant::now();
        act().await;
        slowest = slowest.max(at.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slowest
}

/// Checks that newcomers are served while TCP clients keep asking one valid question every three seconds.
async fn is_there_for_newcomers(clients: usize) {
    let world = World::new();
    let running = world.start();
    let address = world.sockets.address();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask_over(&mut stream).await.unwrap();
        asking.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if ask_over(&mut stream).await.is_err() {
                    return;
                }
            }
        });
    }
    // Long enough for two questions from each client.
    let time = Duration::from_secs(7);
    let over_tcp = slowest(time, async || {
        let served = async { ask_over(&mut TcpStream::connect(address).await.unwrap()).await.unwrap() };
        timeout(DEADLINE, served).await.expect("a newcomer is served");
    });
    let client = world.client().await;
    let over_udp = slowest(time, async || {
        let answer = client.ask(&question(9, HTTPBIN, RecordType::A)).await;
        assert_eq!(address_in(&answer), Some(BLUE));
    });
    let (over_tcp, over_udp) = tokio::join!(over_tcp, over_udp);
    assert!(over_tcp < Duration::from_secs(1), "{clients} clients: a newcomer waited {over_tcp:?}");
    assert!(over_udp < Duration::from_secs(1), "{clients} clients: an answer over UDP took {over_udp:?}");
    asking.abort_all();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_clients_that_ask_every_three_seconds_hold_up_neither_newcomers_nor_udp() {
    tokio::join!(
        is_there_for_newcomers(64),
        is_there_for_newcomers(70),
        is_there_for_newcomers(128),
        is_there_for_newcomers(300)
    );
}
