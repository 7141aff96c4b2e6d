//! A stand-in for bosh-dns: it answers the names of `records.json`, and forwards other questions to the handlers that a
//! VM's jobs have registered. It behaves like bosh-dns:
//!
//! * It reads `/var/vcap/jobs/*/dns/handlers.json` once at its start, and checks every second whether `records.json`
//!   has changed.
//! * It selects the handler with the longest matching domain.
//! * It asks a handler of type `dns` over the protocol of the question, for at most two seconds. It passes a success on
//!   unchanged, and turns every failure (NXDOMAIN, SERVFAIL or no answer) into NXDOMAIN.
//! * It asks a handler of type `http` over a new connection, and turns every failure into SERVFAIL.
//! * It refuses a name that is neither BOSH's nor matched by a handler, because there is no recursor.
//!
//! Not implemented: the health of instances, the API on port 53080, caches, records of types other than A.

#![expect(
    clippy::disallowed_methods,
    reason = "a stage for tests, which fail by what they wait for; nothing of it is run by the release's jobs"
)]

mod error;
mod handlers;
mod http;
mod message;
mod records;

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rand::seq::SliceRandom;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
};

pub use self::error::DnsError;
use self::{
    error::Doing,
    handlers::{Handlers, Upstream},
    message::{FORMERR, NXDOMAIN, Query, REFUSED, SERVFAIL, fails},
    records::{Found, Records},
};

/// Address at which bosh-dns listens on every VM.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 2);

const JOBS: &str = "/var/vcap/jobs";
const RECORDS: &str = "/var/vcap/instance/dns/records.json";
/// Interval at which the records' file is checked.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The name whose answer shows that bosh-dns works.
const UPCHECK: &str = "upcheck.bosh-dns.";
/// RFC 1035, 4.2.1: the size that an answer over UDP may always have.
const UDP_ROOM: usize = 512;
/// bosh-dns's `recursor_timeout`.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest idle time between two questions on a connection.
const IDLE: Duration = Duration::from_secs(10);
/// Number of questions processed at the same time; others wait in the socket's buffer.
const AT_ONCE: usize = 256;
/// RFC 6891: the largest size that a client may offer over UDP.
const LARGEST: usize = 65_535;

/// Sources of the answers.
struct Names {
    handlers: Handlers,
    records: watch::Receiver<Arc<Records>>,
}

/// Serves until killed. Closes stdin once it listens, to signal that to the parent process.
///
/// # Errors
/// When the handlers cannot be read or the addresses are taken.
pub fn run() -> Result<(), DnsError> {
    let handlers = Handlers::load(Path::new(JOBS))?;
    for (domain, upstream) in handlers.iter() {
        tracing::info!(domain, ?upstream, "handing questions on");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .doing(|| "starting the DNS server's event loop".to_owned())?;
    let address = SocketAddr::from((ADDRESS, 53));
    runtime.block_on(async {
        let udp = UdpSocket::bind(address).await.doing(|| format!("listening on UDP {address}"))?;
        let tcp = TcpListener::bind(address).await.doing(|| format!("listening on TCP {address}"))?;
        let (changed, records) = watch::channel(Arc::default());
        let mut file = Follower::default();
        file.look(&changed);
        let names = Arc::new(Names { handlers, records });
        let nothing = File::open("/dev/null").doing(|| "opening /dev/null".to_owned())?;
        nix::unistd::dup2_stdin(&nothing).doing(|| "letting go of stdin".to_owned())?;
        tokio::select! {
            ended = serve_udp(Arc::new(udp), Arc::clone(&names)) => ended.doing(|| "serving UDP".to_owned()),
            ended = serve_tcp(tcp, names) => ended.doing(|| "serving TCP".to_owned()),
            () = follow(file, changed) => Ok(()),
        }
    })
}

async fn follow(mut file: Follower, changed: watch::Sender<Arc<Records>>) {
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        file.look(&changed);
    }
}

/// Tracks which version of the records' file was read last.
#[derive(Default)]
struct Follower {
    seen: Option<(u64, i64, i64)>,
}

impl Follower {
    /// Reads the file when it has changed. A missing or broken file changes nothing.
    fn look(&mut self, changed: &watch::Sender<Arc<Records>>) {
        let Ok(file) = fs::metadata(RECORDS) else { return };
        let now = Some((file.ino(), file.mtime(), file.mtime_nsec()));
        if now == self.seen {
            return;
        }
        self.seen = now;
        match fs::read_to_string(RECORDS).map_err(|error| error.to_string()).and_then(|text| Records::read(&text)) {
            Ok(records) => drop(changed.send_replace(Arc::new(records))),
            Err(error) => tracing::warn!(%error, "cannot read {RECORDS}, keeping the records before"),
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, names: Arc<Names>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut buffer = vec![0; LARGEST];
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let (question, socket, names) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&names));
        tokio::spawn(async move {
            if let Some(answer) = answer(&question, &names, UDP_ROOM, ask_udp).await {
                // The client may have gone away.
                let _ = socket.send_to(&answer, client).await;
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, names: Arc<Names>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.map_err(io::Error::other)?;
        let (mut client, _) = listener.accept().await?;
        let names = Arc::clone(&names);
        tokio::spawn(async move {
            // End of file, an error and a timeout all end this connection.
            while let Ok(Ok(question)) = tokio::time::timeout(IDLE, read_framed(&mut client)).await {
                let Some(answer) = answer(&question, &names, LARGEST, ask_tcp).await else { break };
                if write_framed(&mut client, &answer).await.is_err() {
                    break;
                }
            }
            drop(permit);
        });
    }
}

/// The answer to a question; `None` when the message is not a question. An answer made here has at most `room` bytes.
async fn answer<Asked: Future<Output = io::Result<Vec<u8>>>>(
    question: &[u8],
    names: &Names,
    room: usize,
    ask: impl FnOnce(SocketAddr, Vec<u8>) -> Asked,
) -> Option<Vec<u8>> {
    let query = match Query::parse(question)? {
        Ok(query) => query,
        Err(malformed) => return Some(malformed.reply(FORMERR)),
    };
    if query.name() == UPCHECK {
        return Some(query.addresses(&[(Ipv4Addr::LOCALHOST, 0)], room));
    }
    let records = Arc::clone(&names.records.borrow());
    match records.find(query.name()) {
        Found::NotOurs => {}
        Found::Nothing => return Some(query.reply(NXDOMAIN)),
        Found::Addresses(mut addresses) => {
            addresses.shuffle(&mut rand::rng());
            let addresses: Vec<_> = addresses.into_iter().map(|address| (address, 0)).collect();
            return Some(query.addresses(&addresses, room));
        }
    }
    Some(match names.handlers.find(query.name()) {
        None => query.reply(REFUSED),
        Some(Upstream::Dns(upstream)) => {
            match tokio::time::timeout(PATIENCE, ask(*upstream, question.to_vec())).await {
                Ok(Ok(answer)) if !fails(&answer) => answer,
                _ => query.reply(NXDOMAIN),
            }
        }
        Some(Upstream::Http(endpoint)) => match endpoint.ask(query.name(), query.kind()).await {
            Ok(addresses) => query.addresses(&addresses, room),
            Err(error) => {
                tracing::debug!(name = query.name(), %error, "a handler does not answer");
                query.reply(SERVFAIL)
            }
        },
    })
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

/// RFC 1035, 4.2.2: over TCP, a message is preceded by its length.
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
