//! Serves ADS: the pilot's mesh to agents and proxies, or the agent's relay to the local Envoy.
//!
//! Its input is [`Published`], by which it learns what to serve. The listener outlives the actor. A restart ends the streams; proxies
//! come back by themselves, say what they have, and are sent what changed.

use std::{future::pending, io, net, os::unix, sync::Arc};

use actix::{Actor, AsyncContext, Context, Handler, Message};
use boshy_mesh::MeshSnapshot;
use boshy_supervision::Link;
use boshy_xds::{
    AdsService, CAPTURE, MeshSource, MeshTold, Proxies, Repairs, ResourceSet, Security, TransportError, Verdicts,
};
use futures::future::LocalBoxFuture;
use tokio::sync::watch;

use crate::{news::each, port::Port};

/// There is something else to serve: a snapshot of the mesh, or the resources of the one Envoy beside an agent.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Published<T>(pub(crate) Arc<T>);

/// Where is served, and what; it outlives the actor.
pub(crate) struct Serving<T> {
    published: watch::Receiver<Arc<T>>,
    serve: Serve<T>,
}

/// Serves what a channel holds, for ever.
type Serve<T> = Arc<dyn Fn(watch::Receiver<Arc<T>>) -> LocalBoxFuture<'static, Result<(), ServeError>> + Send + Sync>;

/// The pilot's door.
#[derive(Clone)]
pub(crate) struct MeshDoor {
    /// Where agents and proxies connect.
    pub(crate) listener: Arc<net::TcpListener>,
    /// What they have to show; `None` for no TLS.
    pub(crate) security: Option<Security>,
    /// What they are told of the mesh as a whole.
    pub(crate) told: MeshTold,
    /// Who is connected.
    pub(crate) proxies: Proxies,
}

/// The agent's door.
#[derive(Clone)]
pub(crate) struct RelayDoor {
    /// Where the local Envoy connects.
    pub(crate) listener: Port<unix::net::UnixListener>,
    /// Who is connected.
    pub(crate) proxies: Proxies,
    /// What Envoy says of each resource.
    pub(crate) verdicts: Verdicts,
    /// What it is to be told again.
    pub(crate) repairs: Repairs,
}

/// Why nothing is served any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The listener cannot be used.
    #[error("hand the listener to the xDS server")]
    Listener(#[from] io::Error),
    /// The server ended.
    #[error("serve xDS")]
    Transport(#[from] TransportError),
}

impl<T> Clone for Serving<T> {
    fn clone(&self) -> Self {
        Self { published: self.published.clone(), serve: Arc::clone(&self.serve) }
    }
}

impl Serving<MeshSnapshot> {
    /// The mesh, whose snapshots come by `published`.
    pub(crate) fn mesh(door: MeshDoor, published: watch::Receiver<Arc<MeshSnapshot>>) -> Self {
        Self { published, serve: Arc::new(move |snapshots| Box::pin(door.clone().serve(snapshots))) }
    }
}

impl Serving<ResourceSet> {
    /// What the local Envoy shall have, which comes by `published`.
    pub(crate) fn relay(door: RelayDoor, published: watch::Receiver<Arc<ResourceSet>>) -> Self {
        Self { published, serve: Arc::new(move |sets| Box::pin(door.clone().serve(sets))) }
    }
}

impl MeshDoor {
    async fn serve(self, snapshots: watch::Receiver<Arc<MeshSnapshot>>) -> Result<(), ServeError> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let service = AdsService::new(MeshSource::new(snapshots, CAPTURE), self.proxies).telling(self.told);
        let served = match self.security {
            Some(security) => service.serve_tls(listener, security, pending()).await,
            None => service.serve_tcp(listener, pending()).await,
        };
        Ok(served?)
    }
}

impl RelayDoor {
    async fn serve(self, sets: watch::Receiver<Arc<ResourceSet>>) -> Result<(), ServeError> {
        let listener = self.listener.bound().await.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let service = AdsService::new(sets, self.proxies).recording(self.verdicts).repairing(self.repairs);
        Ok(service.serve_unix(listener, pending()).await?)
    }
}

/// See the module.
pub(crate) struct XdsServer<T> {
    serving: Serving<T>,
    /// What the streams of this life read.
    served: watch::Sender<Arc<T>>,
    link: Link,
}

impl<T> XdsServer<T> {
    /// A server for one life.
    pub(crate) fn new(serving: Serving<T>, link: &Link) -> Self {
        let served = watch::Sender::new(Arc::clone(&serving.published.borrow()));
        Self { serving, served, link: link.clone() }
    }
}

impl<T: 'static> Actor for XdsServer<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.add_message_stream(each(self.serving.published.clone(), |published| Published(Arc::clone(published))));
        let serving = (self.serving.serve)(self.served.subscribe());
        self.link.keep(ctx, "serving xDS", |heart| async move { heart.rest(serving).await });
    }
}

impl<T: 'static> Handler<Published<T>> for XdsServer<T> {
    type Result = ();

    fn handle(&mut self, Published(published): Published<T>, _: &mut Context<Self>) {
        // The first is what this life began with.
        if !Arc::ptr_eq(&self.served.borrow(), &published) {
            self.served.send_replace(published);
        }
    }
}

#[cfg(test)]
#[path = "xds_server_tests.rs"]
mod tests;
