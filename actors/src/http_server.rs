//! Runs HTTP servers. Listeners outlive the actor, so that a restart refuses no connection.

use std::{net::TcpListener, sync::Arc};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, WrapFuture};
use actix_web::web::ServiceConfig;
use boshy_supervision::Link;
use boshy_tls::ServerTls;
use boshy_web::server::{self, StartError};

use crate::port::Port;

/// Requests are few, short and answered from memory.
const WORKERS: usize = 1;

/// One listener and what is served there.
#[derive(Clone)]
pub(crate) struct Site {
    listener: Port<TcpListener>,
    tls: Option<ServerTls>,
    configure: Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>,
}

impl Site {
    /// What `configure` mounts, on `listener`.
    pub(crate) fn new(
        listener: Port<TcpListener>,
        configure: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        Self { listener, tls: None, configure: Arc::new(configure) }
    }

    /// The same on another listener, over TLS.
    pub(crate) fn over_tls(&self, listener: TcpListener, tls: ServerTls) -> Self {
        Self { listener: Port::of(listener), tls: Some(tls), configure: Arc::clone(&self.configure) }
    }

    async fn start(&self) -> Result<server::Server, SiteError> {
        let listener = self.listener.bound().await.try_clone().map_err(SiteError::Duplicate)?;
        let configure = Arc::clone(&self.configure);
        let configure = move |config: &mut ServiceConfig| configure(config);
        Ok(match &self.tls {
            Some(tls) => server::start_tls(listener, WORKERS, tls, configure)?,
            None => server::start(listener, WORKERS, configure)?,
        })
    }
}

/// Why a site is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    /// Its listener could not be duplicated.
    #[error("hand a listener to an HTTP server")]
    Duplicate(#[source] std::io::Error),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server ended.
    #[error("serve HTTP")]
    Ended(#[source] std::io::Error),
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
            let serving = async move { site.start().await?.ended().await.map_err(SiteError::Ended) };
            ctx.spawn(serving.into_actor(self).map(|ended: Result<(), SiteError>, server, ctx| {
                if let Err(error) = ended {
                    server.link.fail(ctx, error);
                }
            }));
        }
    }
}
