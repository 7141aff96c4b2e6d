//! Asks the local Envoy's admin interface whether it is live.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use awc::Client;
use boshy_supervision::Heart;
use tokio::time::sleep;
use tracing::info;

const PERIOD: Duration = Duration::from_secs(1);

/// What the watcher is made of; it outlives the task.
#[derive(Clone)]
pub(crate) struct Watching {
    /// Envoy's admin address.
    pub(crate) admin: SocketAddr,
    /// Whether it is live; `None` while it does not answer. This task is the only writer.
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
}

/// Asks once a period, for ever.
pub(crate) async fn watch(watching: Watching, heart: Heart) {
    let client = Client::builder().timeout(PERIOD).finish();
    // Envoy's admin interface, `GET /ready`: 200 when live, 503 otherwise.
    let ready = format!("http://{}/ready", watching.admin);
    loop {
        heart.beat();
        let live = client.get(&ready).send().await.ok().map(|answer| answer.status().is_success());
        if **watching.live.load() != live {
            info!(?live, "the local Envoy");
            watching.live.store(Arc::new(live));
        }
        sleep(PERIOD).await;
    }
}
