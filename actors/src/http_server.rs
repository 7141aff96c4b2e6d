//! Runs HTTP servers. Listeners outlive the actor, so that a restart refuses no connection.

use std::{io, net::TcpListener, os::unix::net::UnixListener, sync::Arc};

use actix::{Actor, Context};
use actix_web::web::ServiceConfig;
use boshy_supervision::Link;
use boshy_tls::ServerTls;
use boshy_web::server::{self, Listener, StartError};

use crate::port::Port;

/// Requests are few, short and answered from memory.
const WORKERS: usize = 1;

/// Where is served.
#[derive(Clone)]
pub(crate) enum Door {
    /// In clear.
    Tcp(Port<TcpListener>),
    /// Over TLS.
    Tls(Port<TcpListener>, ServerTls),
    /// On this machine.
    Unix(Port<UnixListener>),
}

impl Door {
    async fn listener(&self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(port) => Listener::Tcp(port.bound().await.try_clone()?),
            Self::Tls(port, tls) => Listener::Tls(port.bound().await.try_clone()?, tls.clone()),
            Self::Unix(port) => Listener::Unix(port.bound().await.try_clone()?),
        })
    }
}

/// One listener and what is served there.
#[derive(Clone)]
pub(crate) struct Site {
    door: Door,
    configure: Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>,
}

impl Site {
    /// What `configure` mounts, at this door.
    pub(crate) fn new(door: Door, configure: impl Fn(&mut ServiceConfig) + Send + Sync + 'static) -> Self {
        Self { door, configure: Arc::new(configure) }
    }

    /// The same at another door.
    pub(crate) fn also_at(&self, door: Door) -> Self {
        Self { door, configure: Arc::clone(&self.configure) }
    }

    async fn serve(self) -> Result<(), SiteError> {
        let listener = self.door.listener().await.map_err(SiteError::Duplicate)?;
        let configure = self.configure;
        let mut server = server::start(listener, WORKERS, move |config| configure(config))?;
        server.ended().await.map_err(SiteError::Ended)
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
    /// The server ended.
    #[error("serve HTTP")]
    Ended(#[source] io::Error),
}

/// See the module.
pub(crate) struct HttpServer {
    sites: Vec<Site>,
    link: Link,
}

impl HttpServer {
    /// A server for one life.
    pub(crate) fn new(sites: Vec<Site>, link: &Link) -> Self {
        Self { sites, link: link.clone() }
    }
}

impl Actor for HttpServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for site in self.sites.clone() {
            self.link.keep(ctx, "serving HTTP", |heart| async move { heart.rest(site.serve()).await });
        }
    }
}
