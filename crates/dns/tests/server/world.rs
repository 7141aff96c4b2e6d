//! A server with a zone of one name, and its clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use boshy_dns::{CurrentZone, ServeError, Sockets, Stats, Zone, serve};
use boshy_mesh::{Hostname, NameTable, Tld};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

pub(crate) const HTTPBIN: &str = "httpbin.banana.sample.boshy.";
pub(crate) const BLUE: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 2);
pub(crate) const GREEN: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 3);
/// Far longer than any step takes; reached only when an answer is lost.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn zone(address: Ipv4Addr, serial: u32) -> Zone {
    let names: NameTable = [(Hostname::parse(HTTPBIN).unwrap(), address)].into_iter().collect();
    Zone::build(&names, &Tld::default(), serial)
}

pub(crate) fn question(id: u16, name: &str, qtype: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.id = id;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), qtype));
    query
}

pub(crate) fn address_in(reply: &Message) -> Option<Ipv4Addr> {
    reply.answers.iter().find_map(|record| match record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    })
}

/// Sockets with a zone; a server runs on them once one is started.
pub(crate) struct World {
    pub(crate) sockets: Sockets,
    pub(crate) zones: CurrentZone,
    pub(crate) stats: Arc<Stats>,
}

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(zone(BLUE, 1))
    }

    pub(crate) fn of(zone: Zone) -> Self {
        let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { sockets, zones: CurrentZone::new(zone), stats: Arc::default() }
    }

    pub(crate) fn start(&self) -> Running {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let server = serve(self.sockets.clone(), self.zones.clone(), Arc::clone(&self.stats), shutdown);
        Running { stop, server: tokio::spawn(server) }
    }

    /// Waits until this many queries have been counted. A server counts after it has answered.
    pub(crate) async fn counted(&self, queries: u64) {
        let enough = async {
            while self.stats.snapshot().queries < queries {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, enough).await.expect("queries arrive");
    }

    pub(crate) async fn client(&self) -> Client {
        Client::new(self.sockets.address()).await
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(DEADLINE, self.server).await.expect("stops").unwrap().unwrap();
    }
}

pub(crate) struct Client(pub(crate) UdpSocket);

impl Client {
    pub(crate) async fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    pub(crate) async fn send(&self, packet: &[u8]) {
        self.0.send(packet).await.unwrap();
    }

    pub(crate) async fn receive(&self) -> Message {
        let mut octets = [0; 4096];
        let length = timeout(DEADLINE, self.0.recv(&mut octets)).await.expect("an answer").unwrap();
        Message::from_vec(&octets[..length]).unwrap()
    }

    pub(crate) async fn ask(&self, query: &Message) -> Message {
        self.send(&query.to_vec().unwrap()).await;
        let reply = self.receive().await;
        assert_eq!(reply.metadata.id, query.metadata.id);
        reply
    }
}

/// A message with its length before it (RFC 1035 section 4.2.2).
pub(crate) fn framed(packet: &[u8]) -> Vec<u8> {
    [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], packet].concat()
}

pub(crate) async fn tcp_send(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(&framed(packet)).await.unwrap();
}

pub(crate) async fn tcp_receive(stream: &mut TcpStream) -> Message {
    let length = timeout(DEADLINE, stream.read_u16()).await.expect("an answer").unwrap();
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await.unwrap();
    Message::from_vec(&octets).unwrap()
}
