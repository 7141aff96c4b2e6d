//! Measures how long a change takes to be accepted by all proxies.
//!
//! The time runs from the publication of a snapshot (after the poll that saw the change) until every proxy that was
//! connected at that moment has accepted all of it. An agent acknowledges when its Envoy has accepted. Not measured: a
//! generation that is replaced before it was accepted everywhere, and one that no proxy was connected to receive.

use std::sync::Arc;

use arc_swap::ArcSwap;
use boshy_mesh::MeshSnapshot;
use boshy_supervision::Heart;
use boshy_xds::Proxies;
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

/// A generation, and its acceptance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Converged {
    /// The generation.
    pub(crate) generation: u64,
    /// Number of proxies that accepted it, and the time since its publication; `None` until all have accepted.
    pub(crate) accepted: Option<(usize, Duration)>,
}

/// Inputs and output of the measurement; they outlive the task.
#[derive(Clone)]
pub(crate) struct ConvergenceParts {
    /// The published snapshots.
    pub(crate) snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    /// The proxies that accept them.
    pub(crate) proxies: Proxies,
    /// The newest generation. This task is the only writer.
    pub(crate) converged: Arc<ArcSwap<Converged>>,
}

/// Measures until the channel of snapshots is closed.
pub(crate) async fn measure(parts: ConvergenceParts, heart: Heart) {
    let ConvergenceParts { mut snapshot, proxies, converged } = parts;
    while heart.rest(snapshot.changed()).await.is_ok() {
        let published = Instant::now();
        let generation = snapshot.borrow_and_update().generation;
        if generation == converged.load().generation {
            // An earlier life saw this generation when it was published.
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
