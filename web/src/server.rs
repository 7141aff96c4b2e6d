//! A running HTTP server with connection limits: in plain text, over TLS, or on a Unix socket.
//!
//! A client that exceeds the limit loses its own connection that has been idle longest, and affects no other client. So
//! `/healthz` is answered however many connections a client holds open.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    time::Duration,
};

use actix_http::{HttpService, error::DispatchError};
use actix_rt::net::{TcpStream, UnixStream};
use actix_service::{ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App,
    dev::{AppConfig, ServerHandle},
    http::KeepAlive,
    web::{PayloadConfig, ServiceConfig},
};
use boshy_admission::{Admission, Full, Guarded, Limits, Patience};
use boshy_tls::ServerTls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// From the beginning of a connection, or of a request, to the last byte of the request's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a client to close its side of a connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than the longest period of polling clients (60 s), so that their connections stay open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time to finish the requests in progress when the server stops.
const SHUTDOWN_SECONDS: u64 = 3;
/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limits on open connections. Each polling client has one, from its VM's address; behind a proxy, many come from one
/// address.
const LIMITS: Limits = Limits { of_one_address: 256, in_all: 4096 };
/// A client that reads nothing of its answer is cut. The HTTP server's own timeouts cover the other cases.
const PATIENCE: Patience = Patience { unused: None, unread: Some(Duration::from_secs(20)) };
/// ALPN protocols (RFC 7301): HTTP/1.1 only.
pub const ALPN: &[&[u8]] = &[b"http/1.1"];
/// Largest request body in bytes. No endpoint reads a body.
const MAX_BODY: usize = 4096;

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}")]
pub struct StartError {
    /// Address to listen on.
    pub address: String,
    #[source]
    source: io::Error,
}

/// A running server. Dropping it stops it at once, so that a crashed owner leaves no listening socket behind.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

/// Sockets to serve on.
#[derive(Debug)]
pub enum Listener {
    /// Plain text over TCP.
    Tcp(TcpListener),
    /// TLS over TCP. Each connection uses the certificate that is current when it is accepted.
    Tls(TcpListener, ServerTls),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    fn name(&self) -> String {
        let name = match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix(listener) => listener
                .local_addr()
                .map(|address| address.as_pathname().map(|path| path.display().to_string()).unwrap_or_default()),
        };
        name.unwrap_or_else(|_| "a listener without an address".to_owned())
    }

    /// Prepares the socket for an event loop.
    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.set_nonblocking(true),
            Self::Unix(listener) => listener.set_nonblocking(true),
        }
    }
}

/// Serves HTTP/1.1 with `workers` worker threads. `configure` runs once on each. Call it within an actix system or a
/// tokio runtime. Signals are left to the process.
///
/// # Errors
/// When the listener cannot be used or a worker cannot be started.
pub fn start<F>(listener: Listener, workers: usize, configure: F) -> Result<Server, StartError>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let limits = LIMITS.within_descriptors();
    let admission = Admission::new(limits);
    let (name, address) = (listener.name(), listener.address());
    let refused = |source| StartError { address: name.clone(), source };
    listener.prepare().map_err(refused)?;
    let builder = actix_server::Server::build()
        .workers(workers)
        // Never reached: connections that are being cut count in addition to the admitted ones.
        .max_concurrent_connections(2 * limits.in_all)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    let builder = match listener {
        Listener::Tcp(listener) => builder.listen(&name, listener, move || {
            let admission = admission.clone();
            fn_service(move |socket: TcpStream| ready(admit(socket, &admission))).and_then(http(configure.clone()))
        }),
        Listener::Tls(listener, tls) => builder.listen(&name, listener, move || {
            let (admission, tls) = (admission.clone(), tls.clone());
            let shaken = move |socket: TcpStream| {
                let (admitted, tls) = (admit(socket, &admission), tls.clone());
                async move { shake(admitted?, &tls).await }
            };
            fn_service(shaken).and_then(http(configure.clone()))
        }),
        Listener::Unix(listener) => builder.listen_uds(&name, listener, move || {
            let admission = admission.clone();
            let admit = move |socket: UnixStream| {
                let place = admission.admit(None, &CancellationToken::new()).map_err(full);
                ready(place.map(|place| (Guarded::new(socket, place, PATIENCE), None)))
            };
            fn_service(admit).and_then(http(configure.clone()))
        }),
    };
    let server = builder.map_err(refused)?.run();
    tracing::info!(address = name, workers, "serving HTTP");
    let handle = server.handle();
    #[expect(clippy::disallowed_methods, reason = "whoever starts a server waits for its end by `Server::ended`")]
    let task = actix_rt::spawn(server);
    Ok(Server { address, handle, task })
}

/// The HTTP service that `configure` mounts, on any kind of socket.
fn http<IO, F>(
    configure: F,
) -> impl ServiceFactory<(IO, Option<SocketAddr>), Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let app = App::new().app_data(PayloadConfig::new(MAX_BODY)).configure(configure);
    HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1(map_config(app, |()| AppConfig::default()))
}

type Admitted<IO> = (Guarded<IO>, Option<SocketAddr>);

fn full(Full: Full) -> DispatchError {
    DispatchError::Io(io::ErrorKind::QuotaExceeded.into())
}

fn admit(socket: TcpStream, admission: &Admission) -> Result<Admitted<TcpStream>, DispatchError> {
    let peer = socket.peer_addr().ok();
    let place = admission.admit(peer.map(|peer| peer.ip()), &CancellationToken::new()).map_err(full)?;
    socket.set_nodelay(true).map_err(DispatchError::Io)?;
    Ok((Guarded::new(socket, place, PATIENCE), peer))
}

/// Runs the TLS handshake on the guarded socket. It fails when the connection is cut for a newcomer.
async fn shake(
    (socket, peer): Admitted<TcpStream>,
    tls: &ServerTls,
) -> Result<(TlsStream<Guarded<TcpStream>>, Option<SocketAddr>), DispatchError> {
    let shaken = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls.current()).accept(socket)).await;
    let late = |_| DispatchError::SlowRequestTimeout;
    Ok((shaken.map_err(late)?.map_err(DispatchError::Io)?, peer))
}

impl Server {
    /// The listening address; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until the server has ended, which does not happen without a failure.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await.map_err(io::Error::other)?
    }

    /// Stops accepting connections, finishes the requests in progress, and ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The call itself triggers the stop; the future it returns only waits. After `stop` the server has ended
        // already.
        drop(self.handle.stop(false));
    }
}
