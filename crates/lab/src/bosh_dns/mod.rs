//! A stand-in for bosh-dns: hands questions to the handlers that a VM's jobs have registered, with bosh-dns's manners.
//!
//! Like bosh-dns it reads `/var/vcap/jobs/*/dns/handlers.json` once, when it starts; matches the longest domain; asks a
//! handler of type `dns` over the protocol the question came by, for at most two seconds; passes a success on as it is,
//! and turns every failure, be it NXDOMAIN, SERVFAIL or silence, into NXDOMAIN. What no handler claims is refused: there
//! is no records.json and nobody to recurse to.

mod handlers;
mod message;

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

use self::{
    handlers::Handlers,
    message::{FORMERR, NXDOMAIN, Query, REFUSED, fails},
};
use crate::{
    error::{Doing, LabError},
    vm::BOSH_DNS,
};

const JOBS: &str = "/var/vcap/jobs";
/// bosh-dns's `recursor_timeout`.
const PATIENCE: Duration = Duration::from_secs(2);
/// From one question to the next on a connection.
const IDLE: Duration = Duration::from_secs(10);
/// Questions asked at the same time; those beyond wait in the socket's buffer.
const AT_ONCE: usize = 256;
/// RFC 6891 lets a client offer up to this over UDP.
const LARGEST: usize = 65_535;

/// Serves until killed.
pub(crate) fn run() -> Result<(), LabError> {
    let handlers = Arc::new(Handlers::load(Path::new(JOBS))?);
    for (domain, upstream) in handlers.iter() {
        tracing::info!(domain, %upstream, "handing questions on");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the DNS server's event loop".to_owned())?;
    let address = SocketAddr::from((BOSH_DNS, 53));
    runtime.block_on(async {
        let udp = UdpSocket::bind(address).await.doing(|| format!("listening on UDP {address}"))?;
        let tcp = TcpListener::bind(address).await.doing(|| format!("listening on TCP {address}"))?;
        tokio::select! {
            ended = serve_udp(Arc::new(udp), Arc::clone(&handlers)) => ended.doing(|| "serving UDP".to_owned()),
            ended = serve_tcp(tcp, handlers) => ended.doing(|| "serving TCP".to_owned()),
        }
    })
}

async fn serve_udp(socket: Arc<UdpSocket>, handlers: Arc<Handlers>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut buffer = vec![0; LARGEST];
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let (question, socket, handlers) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&handlers));
        tokio::spawn(async move {
            if let Some(answer) = answer(&question, &handlers, ask_udp).await {
                // The client may be gone.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, handlers: Arc<Handlers>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (mut client, _) = listener.accept().await?;
        let handlers = Arc::clone(&handlers);
        tokio::spawn(async move {
            // An end, an error and silence are all the end of this connection.
            while let Ok(Ok(question)) = tokio::time::timeout(IDLE, read_framed(&mut client)).await {
                let Some(answer) = answer(&question, &handlers, ask_tcp).await else { break };
                if write_framed(&mut client, &answer).await.is_err() {
                    break;
                }
            }
            drop(permit);
        });
    }
}

/// The answer to a question; `None` for what is no question at all.
async fn answer<Asked: Future<Output = io::Result<Vec<u8>>>>(
    question: &[u8],
    handlers: &Handlers,
    ask: impl FnOnce(SocketAddr, Vec<u8>) -> Asked,
) -> Option<Vec<u8>> {
    let query = match Query::parse(question)? {
        Ok(query) => query,
        Err(malformed) => return Some(malformed.reply(FORMERR)),
    };
    let Some(upstream) = handlers.find(query.name()) else { return Some(query.reply(REFUSED)) };
    match tokio::time::timeout(PATIENCE, ask(upstream, question.to_vec())).await {
        Ok(Ok(answer)) if !fails(&answer) => Some(answer),
        _ => Some(query.reply(NXDOMAIN)),
    }
}

async fn ask_udp(upstream: SocketAddr, question: Vec<u8>) -> io::Result<Vec<u8>> {
    let any = if upstream.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(&question).await?;
    let mut answer = vec![0; LARGEST];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

async fn ask_tcp(upstream: SocketAddr, question: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    write_framed(&mut stream, &question).await?;
    read_framed(&mut stream).await
}

/// RFC 1035, 4.2.2: over TCP a message is preceded by its length.
async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
