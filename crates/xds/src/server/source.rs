//! Sources of the served resources.

use std::{
    future::{Future, pending},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use boshy_mesh::MeshSnapshot;
use tokio::sync::watch;

use crate::{NotItsOwn, Peer, ResourceSet, SharedResources};

/// The resources of each proxy, now and in the future.
pub trait Source: Send + Sync + 'static {
    /// The sets of one proxy. A set that is not known yet is the default one; the proxy then waits.
    fn subscribe(&self, peer: &Peer) -> Sets;

    /// Checks that a proxy asks for nothing of another VM.
    ///
    /// # Errors
    /// When its node id contradicts its certificate.
    fn admit(&self, _: &Peer) -> Result<(), NotItsOwn> {
        Ok(())
    }

    /// The instance whose VM has an address; `None` when none is known.
    fn resident(&self, _: IpAddr) -> Option<Resident> {
        None
    }

    /// Version of the table of leases that pilots share, by which the sets are made.
    fn table(&self) -> Option<u64> {
        None
    }

    /// Background work of the source, to run while it is served. It does not end; a panic in it is passed on to the
    /// server.
    fn work(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}

/// An instance, by the facts of the director.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its id.
    pub instance: String,
    /// Whether it is an endpoint of a service.
    pub is_called: bool,
}

/// The successive sets of one proxy.
pub struct Sets(Kind);

enum Kind {
    /// The same set for every proxy.
    Whole(watch::Receiver<Arc<ResourceSet>>),
    /// The shared set, completed for one proxy.
    Of { peer: Peer, shared: watch::Receiver<Arc<SharedResources>>, last: Arc<ResourceSet> },
}

impl Sets {
    /// The current set.
    pub fn current(&mut self) -> Arc<ResourceSet> {
        match &mut self.0 {
            Kind::Whole(sets) => sets.borrow_and_update().clone(),
            Kind::Of { peer, shared, last } => {
                let set = shared.borrow_and_update().for_node(&peer.node, peer.scope());
                *last = Arc::new(set.sharing(last));
                Arc::clone(last)
            }
        }
    }

    /// Waits for the next set. Returns also when nothing changed for this proxy, because its stream then learns that
    /// it has this generation. Returns false when no further set will come.
    pub async fn changed(&mut self) -> bool {
        match &mut self.0 {
            Kind::Whole(sets) => sets.changed().await.is_ok(),
            Kind::Of { shared, .. } => shared.changed().await.is_ok(),
        }
    }
}

/// The same set for every proxy. The agent uses it, whose only proxy is the local Envoy.
impl Source for watch::Receiver<Arc<ResourceSet>> {
    fn subscribe(&self, _: &Peer) -> Sets {
        Sets(Kind::Whole(self.clone()))
    }
}

/// The pilot's source: snapshots, rendered once for all proxies and completed for each proxy.
#[derive(Clone, Debug)]
pub struct MeshSource {
    snapshots: watch::Receiver<Arc<MeshSnapshot>>,
    capture: SocketAddr,
    rendered: Arc<watch::Sender<Arc<SharedResources>>>,
}

impl MeshSource {
    /// Renders the current snapshot. Later snapshots are rendered while [`work`](Source::work) runs.
    pub fn new(mut snapshots: watch::Receiver<Arc<MeshSnapshot>>, capture: SocketAddr) -> Self {
        let first = SharedResources::build(&snapshots.borrow_and_update(), None, capture);
        Self { snapshots, capture, rendered: Arc::new(watch::Sender::new(Arc::new(first))) }
    }
}

impl Source for MeshSource {
    fn subscribe(&self, peer: &Peer) -> Sets {
        let (peer, shared) = (peer.clone(), self.rendered.subscribe());
        Sets(Kind::Of { peer, shared, last: Arc::default() })
    }

    fn admit(&self, peer: &Peer) -> Result<(), NotItsOwn> {
        let Some(ip) = peer.node.ip() else { return Ok(()) };
        self.snapshots.borrow().content.workloads.at(ip).map_or(Ok(()), |plan| peer.owns(&plan.workload))
    }

    fn resident(&self, ip: IpAddr) -> Option<Resident> {
        let snapshot = self.snapshots.borrow();
        let plan = snapshot.content.workloads.at(ip)?;
        Some(Resident { instance: plan.workload.id.clone(), is_called: !plan.inbound.is_empty() })
    }

    fn table(&self) -> Option<u64> {
        self.rendered.borrow().table()
    }

    fn work(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { mut snapshots, capture, rendered } = self.clone();
        Box::pin(async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = snapshots.borrow_and_update().clone();
                let previous = rendered.borrow().clone();
                rendered.send_replace(Arc::new(SharedResources::build(&snapshot, Some(&previous), capture)));
            }
            // Fail static: the readers keep their resources and their streams.
            pending::<()>().await;
        })
    }
}
