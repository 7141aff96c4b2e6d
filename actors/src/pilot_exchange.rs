//! Keeps one stream to a pilot, and what came over it on disk.
//!
//! The relay decides what is served, answered and acknowledged (`boshy_xds::relay`); this actor tries one pilot after the other and
//! writes down what is worth keeping. A fresh life begins with what the last one published.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use boshy_mesh::NodeId;
use boshy_xds::{
    Verdicts,
    client::{Backoff, Exchange, ExchangeSettings, Outlets, PilotPicker, Uri},
    relay::{Relay, RelaySettings, Stored},
};
use bytes::Bytes;
use tokio::{
    task,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use crate::{error_chain::chain, state_file};

/// Changes within this time are written once.
const SETTLING: Duration = Duration::from_millis(200);

/// What the exchange is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Exchanging {
    /// Who we are to the pilot.
    pub(crate) node: NodeId,
    /// Pilots in order of preference; never empty.
    pub(crate) pilots: Vec<Uri>,
    /// How names wait for the local Envoy.
    pub(crate) relay: RelaySettings,
    /// What the local Envoy says.
    pub(crate) verdicts: Verdicts,
    /// Where everything is published.
    pub(crate) outlets: Outlets,
    /// What is kept on disk.
    pub(crate) file: PathBuf,
}

/// See the module.
pub(crate) struct PilotExchange(pub(crate) Exchanging);

impl Actor for PilotExchange {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(converse(self.0.clone()).into_actor(self));
        ctx.spawn(keep(self.0.clone()).into_actor(self));
    }
}

async fn converse(exchanging: Exchanging) {
    let Exchanging { node, pilots, relay, verdicts, outlets, .. } = exchanging;
    let stored = outlets.stored.borrow().as_ref().clone();
    let mut picker = PilotPicker::new(pilots, Backoff::default()).expect("settings name at least one pilot");
    let mut exchange = Exchange::new(node, ExchangeSettings::default(), Relay::new(relay, stored), verdicts, outlets);
    let mut attempt = picker.first();
    loop {
        // Idling never ends by itself; the pause does.
        let _ = timeout(attempt.pause, exchange.idle()).await;
        let ended = exchange.stream(&attempt.pilot).await;
        attempt = picker.after(ended.lived, rand::random());
    }
}

/// Writes what is worth keeping whenever it changes. A disk that refuses is tried again with the next change.
async fn keep(exchanging: Exchanging) {
    let mut stored = exchanging.outlets.stored.subscribe();
    while stored.changed().await.is_ok() {
        sleep(SETTLING).await;
        let content = stored.borrow_and_update().encode();
        let file = exchanging.file.clone();
        match task::spawn_blocking(move || state_file::replace(&file, &content)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = chain(&error), "a restart without a pilot will begin with older state"),
            Err(error) => error!(%error, "writing state ended early"),
        }
    }
}

/// What an earlier process kept. A file that cannot be used is as good as none: the pilot tells everything again.
pub(crate) fn restore(file: &std::path::Path) -> Option<Arc<Stored>> {
    let content = match state_file::read(file) {
        Ok(content) => Bytes::from(content?),
        Err(error) => {
            warn!(error = chain(&error), "beginning without kept state");
            return None;
        }
    };
    match Stored::decode(&content) {
        Ok(stored) => {
            info!(names = stored.answered().len(), "beginning with kept state");
            Some(Arc::new(stored))
        }
        Err(error) => {
            warn!(file = %file.display(), error = chain(&error), "beginning without kept state");
            None
        }
    }
}
