//! Measures how long a change takes to be accepted everywhere.
//!
//! From the moment a snapshot is published, so after the poll that saw the change, until every proxy that was connected at that
//! moment has accepted all of it. An agent acknowledges when its Envoy has. Not measured: a generation that is replaced before
//! it was accepted everywhere, and one that nobody was connected to receive.

use std::sync::Arc;

use arc_swap::ArcSwap;
use boshy_mesh::MeshSnapshot;
use boshy_supervision::Heart;
use boshy_xds::Proxies;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

/// A generation, and how it was accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Converged {
    /// Which.
    pub(crate) generation: u64,
    /// By how many, and how long after it was published; `None` while it is not.
    pub(crate) accepted: Option<(usize, Duration)>,
}

/// What is measured; it outlives the task.
#[derive(Clone)]
pub(crate) struct Measuring {
    /// What is published.
    pub(crate) snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    /// Who accepts it.
    pub(crate) proxies: Proxies,
    /// The newest generation. This task is the only writer.
    pub(crate) converged: Arc<ArcSwap<Converged>>,
}

/// Measures, until nothing is published any more.
pub(crate) async fn measure(measuring: Measuring, heart: Heart) {
    let Measuring { mut snapshot, proxies, converged } = measuring;
    while heart.rest(snapshot.changed()).await.is_ok() {
        let published = Instant::now();
        let generation = snapshot.borrow_and_update().generation;
        if generation == converged.load().generation {
            // An earlier life has seen it, when it was published.
            continue;
        }
        converged.store(Arc::new(Converged { generation, accepted: None }));
        let mut later = snapshot.clone();
        let accepted = async {
            tokio::select! {
                accepted = proxies.accepted(generation) => Some(accepted),
                _ = later.changed() => None,
            }
        };
        if let Some(accepted) = heart.rest(accepted).await
            && accepted > 0
        {
            converged.store(Arc::new(Converged { generation, accepted: Some((accepted, published.elapsed())) }));
        }
    }
}
