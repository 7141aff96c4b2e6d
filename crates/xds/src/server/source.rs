//! Where a server gets what it serves.

use std::{
    future::{Future, pending},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
};

use boshy_mesh::{MeshSnapshot, NodeId};
use tokio::sync::watch;

use crate::{ResourceSet, SharedResources};

/// What a proxy shall have, now and from now on.
pub trait Source: Send + Sync + 'static {
    /// The set of one proxy. A set that is not known yet is the default one; the proxy then waits.
    fn subscribe(&self, node: &NodeId) -> Sets;

    /// What has to go on while it is served. It does not end; a panic in it is the server's.
    fn work(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}

/// The sets of one proxy, one after the other.
pub struct Sets(Kind);

enum Kind {
    /// One set for whoever asks.
    Whole(watch::Receiver<Arc<ResourceSet>>),
    /// Completed for one node.
    Of { node: NodeId, shared: watch::Receiver<Arc<SharedResources>>, last: Arc<ResourceSet> },
}

impl Sets {
    /// The set as it is now.
    pub fn current(&mut self) -> Arc<ResourceSet> {
        match &mut self.0 {
            Kind::Whole(sets) => sets.borrow_and_update().clone(),
            Kind::Of { node, shared, last } => {
                let set = shared.borrow_and_update().for_node(node);
                *last = Arc::new(set.sharing(last));
                Arc::clone(last)
            }
        }
    }

    /// Waits for another set, also one in which nothing changed for this node: its stream then knows that the proxy has this
    /// generation. False when there will be none.
    pub async fn changed(&mut self) -> bool {
        match &mut self.0 {
            Kind::Whole(sets) => sets.changed().await.is_ok(),
            Kind::Of { shared, .. } => shared.changed().await.is_ok(),
        }
    }
}

/// One set for whoever asks: the agent's, whose proxy is the one beside it.
impl Source for watch::Receiver<Arc<ResourceSet>> {
    fn subscribe(&self, _: &NodeId) -> Sets {
        Sets(Kind::Whole(self.clone()))
    }
}

/// The pilot's: snapshots, rendered once for all and completed for each node.
#[derive(Clone, Debug)]
pub struct MeshSource {
    snapshots: watch::Receiver<Arc<MeshSnapshot>>,
    capture: SocketAddr,
    rendered: Arc<watch::Sender<Arc<SharedResources>>>,
}

impl MeshSource {
    /// Renders the snapshot that there is, and others as they come while this is [worked](Source::work).
    pub fn new(mut snapshots: watch::Receiver<Arc<MeshSnapshot>>, capture: SocketAddr) -> Self {
        let first = SharedResources::build(&snapshots.borrow_and_update(), None, capture);
        Self { snapshots, capture, rendered: Arc::new(watch::Sender::new(Arc::new(first))) }
    }
}

impl Source for MeshSource {
    fn subscribe(&self, node: &NodeId) -> Sets {
        let (node, shared) = (node.clone(), self.rendered.subscribe());
        Sets(Kind::Of { node, shared, last: Arc::default() })
    }

    fn work(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { mut snapshots, capture, rendered } = self.clone();
        Box::pin(async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = snapshots.borrow_and_update().clone();
                let previous = rendered.borrow().clone();
                rendered.send_replace(Arc::new(SharedResources::build(&snapshot, Some(&previous), capture)));
            }
            // Fail static: the readers keep what they have, and their streams.
            pending::<()>().await;
        })
    }
}
