//! Runs HTTP servers. Listeners outlive the actor, so that a restart refuses no connection.
//!
//! ```text
//!   ServeSite ──> wait for its socket ── SocketBound ──> server ── ServerEnded ──> fall
//! ```
//!
//! The served data is not sent in messages: requests read it from receivers and wait for no actor.

use std::{io, net::TcpListener, os::unix::net::UnixListener, sync::Arc};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use actix_web::web::ServiceConfig;
use boshy_supervision::Link;
use boshy_tls::ServerTls;
use boshy_web::server::{self, Listener, StartError};

use crate::server_socket::ServerSocket;

/// Requests are few, short and answered from memory.
const WORKERS: usize = 1;

/// Serve this site as soon as its socket is bound.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ServeSite(pub(crate) Site);

/// The socket of a site is bound.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SocketBound {
    listener: io::Result<Listener>,
    configure: Configure,
}

/// A server has ended, which happens only after a failure.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ServerEnded(io::Result<()>);

/// Socket of a site.
#[derive(Clone)]
pub(crate) enum HttpSocket {
    /// Plain text over TCP.
    Tcp(ServerSocket<TcpListener>),
    /// TLS over TCP.
    Tls(ServerSocket<TcpListener>, ServerTls),
    /// A Unix socket.
    Unix(ServerSocket<UnixListener>),
}

impl HttpSocket {
    async fn listener(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(socket) => Listener::Tcp(socket.bound().await.try_clone()?),
            Self::Tls(socket, tls) => Listener::Tls(socket.bound().await.try_clone()?, tls),
            Self::Unix(socket) => Listener::Unix(socket.bound().await.try_clone()?),
        })
    }
}

/// Mounts the endpoints.
type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// One listener and its endpoints.
#[derive(Clone)]
pub(crate) struct Site {
    socket: HttpSocket,
    configure: Configure,
}

impl Site {
    /// The endpoints mounted by `configure`, at this socket.
    pub(crate) fn new(socket: HttpSocket, configure: impl Fn(&mut ServiceConfig) + Send + Sync + 'static) -> Self {
        Self { socket, configure: Arc::new(configure) }
    }

    /// The same endpoints at another socket.
    pub(crate) fn also_at(&self, socket: HttpSocket) -> Self {
        Self { socket, configure: Arc::clone(&self.configure) }
    }
}

/// Why a site is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    /// Its listener could not be duplicated.
    #[error("hand a listener to an HTTP server")]
    Duplicate(#[source] io::Error),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server ended with an error.
    #[error("serve HTTP")]
    Failed(#[source] io::Error),
    /// The server ended without an error.
    #[error("an HTTP server ended")]
    Ended,
}

/// See the module's documentation.
pub(crate) struct HttpServer {
    sites: Vec<Site>,
    link: Link,
}

impl HttpServer {
    /// A server for one life, which starts with these sites.
    pub(crate) fn new(sites: Vec<Site>, link: &Link) -> Self {
        Self { sites, link: link.clone() }
    }

    fn open(listener: io::Result<Listener>, configure: Configure) -> Result<server::Server, SiteError> {
        let listener = listener.map_err(SiteError::Duplicate)?;
        Ok(server::start(listener, WORKERS, move |config| configure(config))?)
    }
}

impl Actor for HttpServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for site in self.sites.clone() {
            ctx.notify(ServeSite(site));
        }
    }
}

impl Handler<ServeSite> for HttpServer {
    type Result = ();

    fn handle(&mut self, ServeSite(Site { socket, configure }): ServeSite, ctx: &mut Context<Self>) {
        let bound = socket.listener().into_actor(self);
        ctx.spawn(bound.map(|listener, _, ctx| ctx.notify(SocketBound { listener, configure })));
    }
}

impl Handler<SocketBound> for HttpServer {
    type Result = ();

    fn handle(&mut self, SocketBound { listener, configure }: SocketBound, ctx: &mut Context<Self>) {
        match Self::open(listener, configure) {
            Ok(mut server) => {
                let ended = async move { server.ended().await }.into_actor(self);
                ctx.spawn(ended.map(|ended, _, ctx| ctx.notify(ServerEnded(ended))));
            }
            Err(error) => self.link.fail(ctx, error),
        }
    }
}

impl Handler<ServerEnded> for HttpServer {
    type Result = ();

    fn handle(&mut self, ServerEnded(ended): ServerEnded, ctx: &mut Context<Self>) {
        self.link.fail(ctx, ended.map_or_else(SiteError::Failed, |()| SiteError::Ended));
    }
}

#[cfg(test)]
#[path = "http_server_tests.rs"]
mod tests;
