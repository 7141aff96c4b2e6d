//! A running HTTP server with its limits, in clear or over TLS.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::HttpService;
use actix_service::map_config;
use actix_web::{
    App, HttpServer,
    dev::{AppConfig, ServerHandle},
    http::KeepAlive,
    web::{PayloadConfig, ServiceConfig},
};
use boshy_tls::ServerTls;
use tokio::task::JoinHandle;

/// From the first octet of a request to the last of its head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// For a client to take the end of a connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than the longest period of polling clients (60 s), so that they keep their connection.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For requests that are being answered when the server stops.
const SHUTDOWN_SECONDS: u64 = 3;
/// Open connections per worker; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// HTTP/1.1 and nothing else, in ALPN (RFC 7301).
pub const ALPN: &[&[u8]] = &[b"http/1.1"];
/// No endpoint takes a body.
const MAX_BODY: usize = 4096;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}")]
pub struct StartError {
    /// Where it should have listened.
    pub address: String,
    #[source]
    source: io::Error,
}

/// A running server. Dropping it ends it at once, so that a crashed owner leaves no listening socket behind.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

/// Makes a listener fit for an event loop, and tells where it listens.
fn prepare(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    let unusable = |source| StartError { address: "a listener without an address".into(), source };
    let address = listener.local_addr().map_err(unusable)?;
    let refused = |source| StartError { address: address.to_string(), source };
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(address)
}

/// Serves HTTP/1.1 on a listener with so many worker threads. `configure` runs once on each worker. To be called within an actix
/// system or a tokio runtime; signals are left to the process.
///
/// # Errors
/// When the listener cannot be used or a worker cannot be started.
pub fn start<F>(listener: TcpListener, workers: usize, configure: F) -> Result<Server, StartError>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let address = prepare(&listener)?;
    let refused = |source| StartError { address: address.to_string(), source };
    let app = move || App::new().app_data(PayloadConfig::new(MAX_BODY)).configure(configure.clone());
    let server = HttpServer::new(app)
        .workers(workers)
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(REQUEST_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .max_connections(MAX_CONNECTIONS)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)
        .map_err(refused)?
        .run();
    tracing::info!(%address, workers, "serving HTTP");
    Ok(Server { address, handle: server.handle(), task: actix_rt::spawn(server) })
}

/// Serves HTTP/1.1 over TLS, and else as [`start`] does. The certificate of a connection is the current one. A handshake may take
/// three seconds, the framework's limit.
///
/// # Errors
/// When the listener cannot be used or a worker cannot be started.
pub fn start_tls<F>(listener: TcpListener, workers: usize, tls: &ServerTls, configure: F) -> Result<Server, StartError>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let address = prepare(&listener)?;
    let refused = |source| StartError { address: address.to_string(), source };
    let tls = tls.to_config();
    // `HttpServer` would offer HTTP/2 as well.
    let service = move || {
        let app = App::new().app_data(PayloadConfig::new(MAX_BODY)).configure(configure.clone());
        HttpService::build()
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(REQUEST_TIMEOUT)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .h1(map_config(app, |()| AppConfig::default()))
            .rustls_0_23(tls.clone())
    };
    let server = actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections(MAX_CONNECTIONS)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen("https", listener, service)
        .map_err(refused)?
        .run();
    tracing::info!(%address, workers, "serving HTTP over TLS");
    Ok(Server { address, handle: server.handle(), task: actix_rt::spawn(server) })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the server has ended, which it does not do by itself.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.task).await.map_err(io::Error::other)?
    }

    /// Takes no further connections, finishes what is being answered, and ends.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The order is given by the call; what it returns only waits. After `stop` nobody is left to take it.
        drop(self.handle.stop(false));
    }
}
