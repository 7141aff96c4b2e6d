//! Serves ADS: the pilot's mesh to agents and proxies, or the agent's relay to the local Envoy.
//!
//! The listener outlives the actor. A restart ends the streams; proxies come back by themselves, say what they have, and
//! are sent what changed.

use std::{future::pending, io, net, os::unix, sync::Arc};

use actix::{Actor, Context};
use boshy_mesh::MeshSnapshot;
use boshy_supervision::Link;
use boshy_xds::{
    AdsService, CAPTURE, MeshSource, MeshTold, Proxies, Repairs, ResourceSet, Security, TransportError, Verdicts,
};
use tokio::sync::watch;

use crate::port::Port;

/// Where is served, and what; it outlives the actor.
#[derive(Clone)]
pub(crate) enum Serving {
    /// The pilot's.
    Mesh {
        /// Where agents and proxies connect.
        listener: Arc<net::TcpListener>,
        /// What they have to show; `None` for no TLS.
        security: Option<Security>,
        /// What they are told of the mesh as a whole.
        told: MeshTold,
        /// What there is.
        snapshot: watch::Receiver<Arc<MeshSnapshot>>,
        /// Who is connected.
        proxies: Proxies,
    },
    /// The agent's.
    Relay {
        /// Where the local Envoy connects.
        listener: Port<unix::net::UnixListener>,
        /// What there is.
        served: watch::Receiver<Arc<ResourceSet>>,
        /// Who is connected.
        proxies: Proxies,
        /// What Envoy says of each resource.
        verdicts: Verdicts,
        /// What it is to be told again.
        repairs: Repairs,
    },
}

/// Why nothing is served any more.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("hand the listener to the xDS server")]
    Listener(#[from] io::Error),
    #[error("serve xDS")]
    Transport(#[from] TransportError),
}

impl Serving {
    async fn serve(self) -> Result<(), ServeError> {
        match self {
            Self::Mesh { listener, security, told, snapshot, proxies } => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let service = AdsService::new(MeshSource::new(snapshot, CAPTURE), proxies).telling(told);
                let served = match security {
                    Some(security) => service.serve_tls(listener, security, pending()).await,
                    None => service.serve_tcp(listener, pending()).await,
                };
                Ok(served?)
            }
            Self::Relay { listener, served, proxies, verdicts, repairs } => {
                let listener = listener.bound().await.try_clone()?;
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let service = AdsService::new(served, proxies).recording(verdicts).repairing(repairs);
                Ok(service.serve_unix(listener, pending()).await?)
            }
        }
    }
}

/// See the module.
pub(crate) struct XdsServer {
    serving: Serving,
    link: Link,
}

impl XdsServer {
    /// A server for one life.
    pub(crate) fn new(serving: Serving, link: &Link) -> Self {
        Self { serving, link: link.clone() }
    }
}

impl Actor for XdsServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let serving = Box::pin(self.serving.clone().serve());
        self.link.keep(ctx, "serving xDS", |heart| async move { heart.rest(serving).await });
    }
}
