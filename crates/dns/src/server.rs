//! Sockets, and the server loops that run on them.
//!
//! The sockets are bound independently of the server and outlive it: the owner keeps [`Sockets`] and lends them to each
//! [`serve`] in turn. While no server runs, questions wait in the kernel's queue, and the next server answers them.
//! Questions that a server had taken from the queue when it stopped or panicked are lost: at most one batch, and those
//! that waited for the zone.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use socket2::{Domain, Socket, Type};
use tokio::task::JoinSet;

use crate::{CurrentZone, Stats, tcp, udp};

/// Receive buffer for datagrams that arrive while the loop is busy, in octets; the kernel's own limit may be lower.
const QUEUE: usize = 1 << 20;
/// Connections that wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 1024;
/// Number of ports tried when the kernel chooses one: a port that is free for TCP need not be free for UDP.
const PORT_TRIES: usize = 16;

/// An address on which the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind the DNS server's {transport} socket to {address}")]
pub struct BindError {
    /// "UDP" or "TCP".
    pub transport: &'static str,
    /// The requested address.
    pub address: SocketAddr,
    /// Cause.
    #[source]
    pub source: io::Error,
}

/// Why a server ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket could not be duplicated for the server.
    #[error("cannot hand a socket to the DNS server")]
    Duplicate(#[source] io::Error),
    /// A loop could not use its socket.
    #[error("the DNS server's {transport} socket failed")]
    Socket {
        /// "UDP" or "TCP".
        transport: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// The bound sockets of a server; clones share them.
#[derive(Clone, Debug)]
pub struct Sockets(Arc<Bound>);

#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds TCP and UDP to the same address and port; port 0 lets the kernel choose.
    ///
    /// Pass the address that clients use. On a socket bound to the unspecified address, an answer may leave from
    /// another address of the machine.
    ///
    /// # Errors
    /// When the address is in use or may not be used.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Bound::new(address) {
                Err(error) if tries > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
                bound => return Ok(Self(Arc::new(bound?))),
            }
        }
    }

    /// Takes sockets that another process has bound and handed over.
    ///
    /// # Errors
    /// When they are not sockets.
    pub fn handed_over(udp: UdpSocket, tcp: TcpListener) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self(Arc::new(Bound { address: tcp.local_addr()?, udp, tcp })))
    }

    /// The two sockets, for handing them over.
    pub fn parts(&self) -> (&UdpSocket, &TcpListener) {
        (&self.0.udp, &self.0.tcp)
    }

    /// The bound address, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Bound {
    fn new(wanted: SocketAddr) -> Result<Self, BindError> {
        let failed = |transport| move |source| BindError { transport, address: wanted, source };
        let tcp = bind_tcp(wanted).map_err(failed("TCP"))?;
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        let udp = bind_udp(address).map_err(failed("UDP"))?;
        Ok(Self { address, udp, tcp })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Lingering connections of an earlier process do not prevent this one from binding.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(QUEUE)?;
    socket.set_send_buffer_size(QUEUE)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers questions until `shutdown` is ready, which is not an error. Dropping the future also stops the server.
///
/// It runs on the caller's runtime, with one task per socket: on a runtime of one thread (an actix arbiter) all tasks
/// share that thread.
///
/// # Errors
/// When a socket has become unusable. The sockets stay bound and may be served again.
///
/// # Panics
/// When a loop panicked, with its panic, so that a supervisor sees it.
#[expect(clippy::disallowed_methods, reason = "its end is waited for below, and its panic is the caller's")]
pub async fn serve(
    sockets: Sockets,
    zones: CurrentZone,
    stats: Arc<Stats>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut loops = JoinSet::new();
    let socket = sockets.0.udp.try_clone().map_err(ServeError::Duplicate)?;
    let running = udp::run(socket, zones.clone(), Arc::clone(&stats));
    loops.spawn(async { running.await.map_err(|source| ServeError::Socket { transport: "UDP", source }) });
    let listener = sockets.0.tcp.try_clone().map_err(ServeError::Duplicate)?;
    let running = tcp::run(listener, zones, stats);
    loops.spawn(async { running.await.map_err(|source| ServeError::Socket { transport: "TCP", source }) });

    tokio::select! {
        () = shutdown => Ok(()),
        Some(ended) = loops.join_next() => match ended {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and has cancelled the task.
                Err(_) => Ok(()),
            },
        },
    }
}
