//! One agent: its choice among pilots, its connection from an address of its own, its stream, and its answers.
//!
//! It chooses pilots, leaves them and goes back to them by the code of a real agent
//! ([`run_forever`]).

use std::{
    cell::Cell,
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use boshy_xds::{
    agent::{PickerSettings, Reach, Spread, Uri, run_forever},
    session::client::{ASK, RequestToPilot},
};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::Request;
use prost::Message;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    sync::{SemaphorePermit, watch},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use crate::{
    fleet::Fleet,
    holdings::Opening,
    pilot::NAME,
    socket::Counted,
    wire::{Frames, Heard, Response, framed},
};

/// HTTP/2 windows of the stream and of the connection: those of the agent's client.
const WINDOWS: (u32, u32) = (2 << 20, 5 << 20);
const METHOD: &str = "http://pilot/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Lets all agents of a fleet live, in this thread. The set ends them when it is dropped.
#[expect(clippy::disallowed_methods, reason = "a benchmark, which ends by what it waits for")]
pub(crate) fn all_of(fleet: &Rc<Fleet>) -> JoinSet<()> {
    let mut agents = JoinSet::new();
    for number in 0..fleet.size() {
        agents.spawn_local(live(Rc::clone(fleet), number));
    }
    agents
}

/// Has a stream whenever the door is open for this agent.
async fn live(fleet: Rc<Fleet>, number: usize) {
    let agent = Agent { spread: fleet.spread(number), fleet, number };
    // One name, which stands for all pilots.
    let pilots = [Uri::from_static(NAME)];
    let mut door = agent.fleet.door.subscribe();
    while door.wait_for(|door| door.opening(number).is_some()).await.is_ok() {
        let _inside = agent.fleet.comes_in();
        tokio::select! {
            // A connection that ends because the door is closed has not failed.
            biased;
            _ = door.wait_for(|door| door.opening(number).is_none()) => {}
            never = run_forever(&agent, &pilots, PickerSettings::default()) => match never {},
        }
    }
}

struct Agent {
    fleet: Rc<Fleet>,
    number: usize,
    spread: Spread,
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A connection, and the agent's turn until it has a stream.
type Connected<'f> = (Box<dyn Io>, SemaphorePermit<'f>);

impl Reach for Agent {
    async fn run(&self, _: &Uri) -> Duration {
        let opened = Cell::new(None);
        if let Err(error) = Box::pin(self.stream(&opened)).await {
            self.fleet.has_failed(format!("{error:#}"));
        }
        opened.get().map_or(Duration::ZERO, |opened: Instant| opened.elapsed())
    }

    fn connected(&self) -> Option<(Uri, SocketAddr)> {
        Some((Uri::from_static(NAME), self.fleet.pilot_of(self.number)?))
    }

    async fn addresses(&self, _: &Uri) -> Vec<SocketAddr> {
        self.spread.ordered(self.fleet.pilots.iter().copied())
    }

    async fn accepts(&self, _: &Uri, address: SocketAddr) -> bool {
        Box::pin(self.connect_at(address)).await.is_ok()
    }
}

impl Agent {
    /// A stream to the first pilot that accepts. It ends with an error, or when the agent may have none.
    async fn stream(&self, opened: &Cell<Option<Instant>>) -> anyhow::Result<()> {
        let (connected, address) = self.connect().await?;
        let Some(opening) = self.fleet.door.borrow().opening(self.number) else { return Ok(()) };
        let work = stream(&self.fleet, (self.number, address), &opening, connected, opened);
        reading(work, self.number, self.fleet.stalled.subscribe()).await
    }

    async fn connect(&self) -> anyhow::Result<(Connected<'_>, SocketAddr)> {
        for address in self.spread.ordered(self.fleet.pilots.iter().copied()) {
            match self.connect_at(address).await {
                Ok(connected) => return Ok((connected, address)),
                Err(error) if is_refused(&error) => {}
                Err(error) => self.fleet.has_failed(format!("{error:#}")),
            }
        }
        bail!("no pilot accepts a connection")
    }

    async fn connect_at(&self, address: SocketAddr) -> anyhow::Result<Connected<'_>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.fleet.address(self.number).into(), 0)).context("take the VM's address")?;
        let socket = socket.connect(address).await.context("connect")?;
        socket.set_nodelay(true)?;
        let turn = self.fleet.turns.acquire().await?;
        let socket = Counted { socket, traffic: Rc::clone(&self.fleet.traffic) };
        let Some(config) = &self.fleet.tls else { return Ok((Box::new(socket), turn)) };
        let host = Uri::from_static(NAME).host().unwrap_or_default().to_owned();
        let connected = TlsConnector::from(config.clone()).connect(ServerName::try_from(host)?, socket).await;
        Ok((Box::new(connected.context("TLS")?), turn))
    }
}

/// Does the work, but for the time in which this agent is to be stalled: nothing is read from its socket then.
async fn reading<T>(work: impl Future<Output = T>, number: usize, mut stalls: watch::Receiver<Option<usize>>) -> T {
    let is_stalled = |every: &Option<usize>| every.is_some_and(|every| number % every == every - 1);
    let mut work = pin!(work);
    loop {
        let _ = stalls.wait_for(|every| !is_stalled(every)).await;
        tokio::select! {
            biased;
            Ok(_) = stalls.wait_for(is_stalled) => {}
            ended = &mut work => return ended,
        }
    }
}

/// Whether nobody listens, as where a pilot was killed.
fn is_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

async fn stream(
    fleet: &Fleet,
    (number, pilot): (usize, SocketAddr),
    opening: &Opening,
    (socket, turn): Connected<'_>,
    opened: &Cell<Option<Instant>>,
) -> anyhow::Result<()> {
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1).enable_push(false);
    let (mut requests, connection) = builder.handshake::<_, Bytes>(socket).await.context("begin HTTP/2")?;
    let request = Request::post(METHOD).header("content-type", "application/grpc").header("te", "trailers");
    let mut request = request.header("boshy-pacing", "sent");
    if fleet.gzip {
        request = request.header("grpc-accept-encoding", "gzip,identity");
    }
    let request = request.body(())?;
    let (response, mut up) = requests.send_request(request, false).context("open a stream")?;
    let conversation = async {
        let response = response.await.context("open the stream")?;
        ensure!(response.headers().get("grpc-status").is_none(), "the pilot refuses: {:?}", response.headers());
        opened.set(Some(Instant::now()));
        let _stay = fleet.enters(number, pilot);
        let reads_digests = response.headers().get("boshy-digest").is_some_and(|form| form == "1");
        for message in fleet.holdings().borrow().first_messages(opening, number, &fleet.node(number), reads_digests) {
            up.send_data(message, false)?;
        }
        drop(turn);
        converse(fleet, number, &mut up, response.into_body()).await
    };
    tokio::select! {
        ended = conversation => ended,
        ended = connection => ended.context("the connection").and_then(|()| bail!("the pilot ended the connection")),
    }
}

async fn converse(
    fleet: &Fleet,
    number: usize,
    up: &mut SendStream<Bytes>,
    mut down: RecvStream,
) -> anyhow::Result<()> {
    let mut frames = Frames::default();
    while let Some(octets) = down.data().await {
        let octets = octets.context("read")?;
        down.flow_control().release_capacity(octets.len())?;
        frames.push(&octets);
        while let Some(heard) = frames.next() {
            let message = match heard {
                Heard::Plain(message) => message,
                Heard::Compressed(message) => {
                    ensure!(fleet.gzip, "a compressed response, which nobody has asked for");
                    fleet.decompression.read(&message)?
                }
            };
            up.send_data(answer(fleet, number, &message)?, false).context("answer")?;
        }
    }
    let trailers = down.trailers().await.context("read the end")?;
    bail!("the pilot ended the stream: {trailers:?}");
}

/// Takes a response and acknowledges it.
fn answer(fleet: &Fleet, number: usize, message: &Bytes) -> anyhow::Result<Bytes> {
    let response = Response::decode(message.clone()).context("read a response")?;
    let kind = response.kind().with_context(|| format!("a response of the type {:?}", response.type_url))?;
    if response.removed.iter().any(|name| *name == ASK) {
        return Ok(fleet.holdings().borrow().told(number, kind, &response.nonce));
    }
    fleet.hears(number, kind, &response, message)?;
    let Response { type_url, nonce, .. } = response;
    Ok(framed(&[&RequestToPilot::Ack { type_url, nonce }.into_wire(None).encode_to_vec()]))
}
