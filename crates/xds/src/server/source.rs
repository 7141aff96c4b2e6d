//! Where a server gets what it serves.

use std::{net::SocketAddr, sync::Arc};

use boshy_mesh::{MeshSnapshot, NodeId};
use tokio::sync::watch;

use crate::{ResourceSet, SharedResources};

/// What a proxy shall have, now and from now on.
pub trait Source: Send + Sync + 'static {
    /// The set of one proxy. A set that is not known yet is the default one; the proxy then waits.
    fn subscribe(&self, node: &NodeId) -> watch::Receiver<Arc<ResourceSet>>;
}

/// One set for whoever asks: the agent's, whose proxy is the one beside it.
impl Source for watch::Receiver<Arc<ResourceSet>> {
    fn subscribe(&self, _: &NodeId) -> watch::Receiver<Arc<ResourceSet>> {
        self.clone()
    }
}

/// The pilot's: snapshots, rendered once for all and completed for each node.
#[derive(Clone, Debug)]
pub struct MeshSource(watch::Receiver<Arc<SharedResources>>);

impl MeshSource {
    /// Renders snapshots as they come, in a task that ends with the last of its readers, or with the sender of the snapshots;
    /// readers then keep what they have.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(mut snapshots: watch::Receiver<Arc<MeshSnapshot>>, capture: SocketAddr) -> Self {
        let first = SharedResources::build(&snapshots.borrow_and_update(), None, capture);
        let (sender, receiver) = watch::channel(Arc::new(first));
        tokio::spawn(async move {
            while next(&mut snapshots, &sender).await {
                let snapshot = snapshots.borrow_and_update().clone();
                let previous = sender.borrow().clone();
                let next = SharedResources::build(&snapshot, Some(&previous), capture);
                sender.send_replace(Arc::new(next));
            }
        });
        Self(receiver)
    }
}

impl Source for MeshSource {
    fn subscribe(&self, node: &NodeId) -> watch::Receiver<Arc<ResourceSet>> {
        let (mut shared, node) = (self.0.clone(), node.clone());
        let first = shared.borrow_and_update().for_node(&node);
        let (sender, receiver) = watch::channel(Arc::new(first));
        tokio::spawn(async move {
            while next(&mut shared, &sender).await {
                let set = shared.borrow_and_update().for_node(&node);
                // Also when nothing changed for this node: the stream then knows that its proxy has this generation.
                sender.send_modify(|current| *current = Arc::new(set.sharing(current)));
            }
            // Fail static: the readers keep what they have, and their streams.
            sender.closed().await;
        });
        receiver
    }
}

/// Waits for a change; false when there will be none, or nobody is there to read it.
async fn next<T, U>(changes: &mut watch::Receiver<T>, readers: &watch::Sender<U>) -> bool {
    tokio::select! {
        changed = changes.changed() => changed.is_ok(),
        () = readers.closed() => false,
    }
}
