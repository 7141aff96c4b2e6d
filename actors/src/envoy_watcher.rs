//! Asks the local Envoy's admin interface whether it is live.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use arc_swap::ArcSwap;
use awc::Client;
use tokio::time::sleep;
use tracing::info;

const PERIOD: Duration = Duration::from_secs(1);

/// What the watcher is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Watching {
    /// Envoy's admin address.
    pub(crate) admin: SocketAddr,
    /// Whether it is live; `None` while it does not answer. This actor is the only writer.
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
}

/// See the module.
pub(crate) struct EnvoyWatcher(pub(crate) Watching);

impl Actor for EnvoyWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(watch(self.0.clone()).into_actor(self));
    }
}

async fn watch(watching: Watching) {
    let client = Client::builder().timeout(PERIOD).finish();
    // Envoy's admin interface, `GET /ready`: 200 when live, 503 otherwise.
    let ready = format!("http://{}/ready", watching.admin);
    loop {
        let live = client.get(&ready).send().await.ok().map(|answer| answer.status().is_success());
        if **watching.live.load() != live {
            info!(?live, "the local Envoy");
            watching.live.store(Arc::new(live));
        }
        sleep(PERIOD).await;
    }
}
