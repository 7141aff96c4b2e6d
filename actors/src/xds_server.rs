//! Serves ADS: the pilot's mesh to agents and proxies, or the agent's relay to the local Envoy.
//!
//! Its message is [`Published`], which says what to serve. The listener outlives the actor. A restart ends the streams;
//! proxies reconnect on their own, report their resources, and are sent what has changed.

use std::{future::pending, io, net, os::unix, sync::Arc};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use boshy_mesh::MeshSnapshot;
use boshy_supervision::Link;
use boshy_xds::{
    AckStates, AdsService, AgentReports, CAPTURE, Certifier, MeshSource, MeshTold, Proxies, Refusals, Repairs,
    ResourceSet, Security, TransportError,
};
use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use crate::{channel::each, server_socket::ServerSocket};

/// The content to serve has changed: a snapshot of the mesh, or the resources for the Envoy on an agent's VM.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Published<T>(pub(crate) Arc<T>);

/// What to serve, and how; it outlives the actor.
pub(crate) struct XdsServerParts<T> {
    published: watch::Receiver<Arc<T>>,
    serve: Serve<T>,
}

/// Serves the content of a channel forever.
type Serve<T> = Arc<dyn Fn(watch::Receiver<Arc<T>>) -> LocalBoxFuture<'static, Result<(), ServeError>> + Send + Sync>;

/// The pilot's listener and settings.
#[derive(Clone)]
pub(crate) struct MeshServerParts {
    /// Listener for agents and proxies.
    pub(crate) listener: Arc<net::TcpListener>,
    /// TLS settings; `None` for no TLS.
    pub(crate) security: Option<Security>,
    /// Decides about requests for certificates; `None` for no certificates.
    pub(crate) certifier: Option<Arc<dyn Certifier>>,
    /// Settings of the mesh sent to agents.
    pub(crate) told: MeshTold,
    /// The connected proxies.
    pub(crate) proxies: Proxies,
    /// What agents report.
    pub(crate) reports: AgentReports,
}

/// The agent's listener and settings.
#[derive(Clone)]
pub(crate) struct RelayServerParts {
    /// Listener for the local Envoy.
    pub(crate) listener: ServerSocket<unix::net::UnixListener>,
    /// The connected proxies.
    pub(crate) proxies: Proxies,
    /// Which resources Envoy has acknowledged or rejected.
    pub(crate) ack_states: AckStates,
    /// Resources to be sent again.
    pub(crate) repairs: Repairs,
    /// Tunnels that were not opened.
    pub(crate) refusals: Refusals,
}

/// Why serving has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The listener cannot be used.
    #[error("hand the listener to the xDS server")]
    Listener(#[from] io::Error),
    /// The server ended.
    #[error("serve xDS")]
    Transport(#[from] TransportError),
}

impl<T> Clone for XdsServerParts<T> {
    fn clone(&self) -> Self {
        Self { published: self.published.clone(), serve: Arc::clone(&self.serve) }
    }
}

impl XdsServerParts<MeshSnapshot> {
    /// Serves the mesh, whose snapshots arrive through `published`.
    pub(crate) fn mesh(server: MeshServerParts, published: watch::Receiver<Arc<MeshSnapshot>>) -> Self {
        Self { published, serve: Arc::new(move |snapshots| Box::pin(server.clone().serve(snapshots))) }
    }
}

impl XdsServerParts<ResourceSet> {
    /// Serves the local Envoy's resources, which arrive through `published`.
    pub(crate) fn relay(server: RelayServerParts, published: watch::Receiver<Arc<ResourceSet>>) -> Self {
        Self { published, serve: Arc::new(move |sets| Box::pin(server.clone().serve(sets))) }
    }
}

impl MeshServerParts {
    async fn serve(self, snapshots: watch::Receiver<Arc<MeshSnapshot>>) -> Result<(), ServeError> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let service = AdsService::new(MeshSource::new(snapshots, CAPTURE), self.proxies);
        let service = service.telling(self.told).hearing(self.reports);
        let served = match self.security {
            Some(security) => Box::pin(service.serve_tls(listener, security, self.certifier, pending())).await,
            None => service.serve_tcp(listener, pending()).await,
        };
        Ok(served?)
    }
}

impl RelayServerParts {
    async fn serve(self, sets: watch::Receiver<Arc<ResourceSet>>) -> Result<(), ServeError> {
        let listener = self.listener.bound().await.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let service = AdsService::new(sets, self.proxies).recording(self.ack_states).repairing(self.repairs);
        let service = service.counting(self.refusals);
        Ok(service.serve_unix(listener, pending()).await?)
    }
}

/// See the module's documentation.
pub(crate) struct XdsServer<T> {
    parts: XdsServerParts<T>,
    /// The content that the streams of this life read.
    served: watch::Sender<Arc<T>>,
    link: Link,
}

impl<T> XdsServer<T> {
    /// A server for one life.
    pub(crate) fn new(parts: XdsServerParts<T>, link: &Link) -> Self {
        let served = watch::Sender::new(Arc::clone(&parts.published.borrow()));
        Self { parts, served, link: link.clone() }
    }
}

impl<T: 'static> Actor for XdsServer<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.add_message_stream(each(self.parts.published.clone(), |published| Published(Arc::clone(published))));
        let serving = (self.parts.serve)(self.served.subscribe());
        self.link.keep(ctx, "serving xDS", |heart| async move { heart.rest(serving).await });
    }
}

impl<T: 'static> Handler<Published<T>> for XdsServer<T> {
    type Result = ();

    fn handle(&mut self, Published(published): Published<T>, _: &mut Context<Self>) {
        // The first message is the content that this life started with.
        if !Arc::ptr_eq(&self.served.borrow(), &published) {
            self.served.send_replace(published);
        }
    }
}

#[cfg(test)]
#[path = "xds_server_tests.rs"]
mod tests;
