//! Sockets, and what runs on them.
//!
//! The sockets are bound apart from the server and outlive it: the owner keeps [`Sockets`] and lends them to each
//! [`serve`] in turn. While no server runs, questions wait in the kernel's queue, and the next one answers them. What a server
//! had already taken from the queue when it was stopped or panicked is lost: at most one batch per socket.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZeroUsize,
    sync::Arc,
};

use arc_swap::ArcSwap;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinSet;

use crate::{Stats, Zone, tcp, udp};

/// Where the zone is read from: an atomic pointer, swapped whole by whoever learns of a new name table.
pub type Zones = Arc<ArcSwap<Zone>>;

/// Room for datagrams that arrive while the loop is busy, in octets; the kernel's own limit may be lower.
const QUEUE: usize = 1 << 20;
/// How many ports are tried when the kernel chooses one, as one that is free for TCP need not be for UDP.
const PORT_TRIES: usize = 16;

/// An address on which the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind the DNS server's {transport} socket to {address}")]
pub struct BindError {
    /// "UDP" or "TCP".
    pub transport: &'static str,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// Why a server ended by itself.
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
        /// Why.
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
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds TCP and UDP to the same address and port; port 0 lets the kernel choose. `loops` UDP sockets share the port, and
    /// the kernel spreads clients over them: one is right for a single thread.
    ///
    /// Give the address that clients ask: bound to the unspecified one, an answer may leave from another address of the machine.
    ///
    /// # Errors
    /// When the address is in use or may not be used.
    pub fn bind(address: SocketAddr, loops: NonZeroUsize) -> Result<Self, BindError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Bound::new(address, loops) {
                Err(error) if tries > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
                bound => return Ok(Self(Arc::new(bound?))),
            }
        }
    }

    /// The address with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Bound {
    fn new(wanted: SocketAddr, loops: NonZeroUsize) -> Result<Self, BindError> {
        let failed = |transport| move |source| BindError { transport, address: wanted, source };
        // TCP first: unlike UDP sockets that share a port, a listener tells that another server is there.
        let tcp = bind_tcp(wanted).map_err(failed("TCP"))?;
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        let share = loops.get() > 1;
        let udp =
            (0..loops.get()).map(|_| bind_udp(address, share)).collect::<io::Result<_>>().map_err(failed("UDP"))?;
        Ok(Self { address, udp, tcp })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of an earlier process that linger do not keep this one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, share: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(QUEUE)?;
    socket.set_send_buffer_size(QUEUE)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers questions until `shutdown` is ready, which is no error. Dropping the future stops the server as well.
///
/// It runs on the runtime it is called on, one task per socket: on a runtime of one thread (an actix arbiter) all share that
/// thread.
///
/// # Errors
/// When a socket cannot be used any more. The sockets stay bound and may be served again.
///
/// # Panics
/// When a loop panicked, with its panic, so that a supervisor sees it.
pub async fn serve(
    sockets: Sockets,
    zones: Zones,
    stats: Arc<Stats>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut loops = JoinSet::new();
    for socket in &sockets.0.udp {
        let socket = socket.try_clone().map_err(ServeError::Duplicate)?;
        let running = udp::run(socket, Arc::clone(&zones), Arc::clone(&stats));
        loops.spawn(async { running.await.map_err(|source| ServeError::Socket { transport: "UDP", source }) });
    }
    let listener = sockets.0.tcp.try_clone().map_err(ServeError::Duplicate)?;
    let running = tcp::run(listener, zones, stats);
    loops.spawn(async { running.await.map_err(|source| ServeError::Socket { transport: "TCP", source }) });

    tokio::select! {
        () = shutdown => Ok(()),
        Some(ended) = loops.join_next() => match ended {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled by the runtime, which is going away.
                Err(_) => Ok(()),
            },
        },
    }
}
