//! One agent: its connection from an address of its own, its stream, and its answers.

use std::{future::Future, net::SocketAddr, pin::pin, rc::Rc, time::Duration};

use anyhow::{Context, bail, ensure};
use boshy_xds::session::client::{ASK, RequestToPilot};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::Request;
use prost::Message;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use crate::{
    fleet::Fleet,
    holdings::Opening,
    socket::Counted,
    wire::{Frames, Response, framed},
};

/// HTTP/2 windows of the stream and of the connection: those of the agent's client.
const WINDOWS: (u32, u32) = (2 << 20, 5 << 20);
const METHOD: &str = "http://pilot/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Between a connection that failed and the next one.
const PAUSE: Duration = Duration::from_millis(100);

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
    let mut door = fleet.door.subscribe();
    loop {
        let may = door.wait_for(|door| door.opening(number).is_some()).await;
        let Some(opening) = may.ok().and_then(|door| door.opening(number)) else { return };
        tokio::select! {
            ended = connection(&fleet, number, &opening) => {
                fleet.has_failed(ended.map_or_else(|error| format!("{error:#}"), |()| "the pilot ended it".to_owned()));
                sleep(PAUSE).await;
            }
            _ = door.wait_for(|door| door.opening(number).is_none()) => {}
        }
    }
}

async fn connection(fleet: &Rc<Fleet>, number: usize, opening: &Opening) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(fleet.address(number).into(), 0)).context("take the VM's address")?;
    let socket = socket.connect(fleet.pilot).await.context("connect")?;
    socket.set_nodelay(true)?;
    let socket = Counted { socket, traffic: Rc::clone(&fleet.traffic) };
    let stalls = fleet.stalled.subscribe();
    match &fleet.tls {
        None => reading(stream(fleet, number, opening, socket), number, stalls).await,
        Some(config) => {
            let name = ServerName::from(fleet.pilot.ip());
            let socket = TlsConnector::from(config.clone()).connect(name, socket).await.context("TLS")?;
            reading(stream(fleet, number, opening, socket), number, stalls).await
        }
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

async fn stream<S: AsyncRead + AsyncWrite + Unpin>(
    fleet: &Fleet,
    number: usize,
    opening: &Opening,
    socket: S,
) -> anyhow::Result<()> {
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1).enable_push(false);
    let (mut requests, connection) = builder.handshake::<S, Bytes>(socket).await.context("begin HTTP/2")?;
    let request = Request::post(METHOD).header("content-type", "application/grpc").header("te", "trailers").body(())?;
    let (response, mut up) = requests.send_request(request, false).context("open a stream")?;
    let conversation = async {
        let response = response.await.context("open the stream")?;
        ensure!(response.headers().get("grpc-status").is_none(), "the pilot refuses: {:?}", response.headers());
        let reads_digests = response.headers().get("boshy-digest").is_some_and(|form| form == "1");
        for message in fleet.holdings().borrow().first_messages(opening, number, &fleet.node(number), reads_digests) {
            up.send_data(message, false)?;
        }
        converse(fleet, number, &mut up, response.into_body()).await
    };
    tokio::select! {
        ended = conversation => ended,
        ended = connection => Ok(ended.context("the connection")?),
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
        loop {
            match frames.next() {
                Ok(None) => break,
                Ok(Some(message)) => up.send_data(answer(fleet, number, &message)?, false).context("answer")?,
                Err(_) => bail!("a compressed response, which nobody has asked for"),
            }
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
