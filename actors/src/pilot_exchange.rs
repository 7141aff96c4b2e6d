//! Keeps one stream to a pilot, and what came over it on disk.
//!
//! The relay decides what is served, answered and acknowledged (`boshy_xds::relay`); this actor tries one pilot after the other and
//! writes down what is worth keeping. A fresh life begins with what the last one published.

use std::{future::pending, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, WrapFuture};
use arc_swap::ArcSwap;
use boshy_config::NodeSettings;
use boshy_mesh::NodeId;
use boshy_tls::ClientTls;
use boshy_xds::{
    Verdicts,
    client::{Backoff, Exchange, ExchangeSettings, Outlets, PilotPicker, Uri},
    relay::{Relay, RelaySettings, Stored},
};
use bytes::Bytes;
use err_report::Report;
use tokio::{
    sync::watch,
    task,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::state_file;

/// Changes within this time are written once.
const SETTLING: Duration = Duration::from_millis(200);
/// Pause before a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What the exchange is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Exchanging {
    /// Who we are to the pilot, but for the address.
    pub(crate) node: NodeSettings,
    /// The VM's address. Without one there is nothing that a pilot could do for us.
    pub(crate) address: watch::Receiver<Option<Ipv4Addr>>,
    /// Pilots in order of preference; never empty.
    pub(crate) pilots: Vec<Uri>,
    /// For pilots by `https`.
    pub(crate) tls: Option<ClientTls>,
    /// How names wait for the local Envoy.
    pub(crate) relay: RelaySettings,
    /// What the local Envoy says.
    pub(crate) verdicts: Verdicts,
    /// Where everything is published.
    pub(crate) outlets: Outlets,
    /// What is kept on disk.
    pub(crate) file: PathBuf,
    /// Why nothing can be kept on disk; `None` while it can. This actor is the only writer.
    pub(crate) unkept: Arc<ArcSwap<Option<String>>>,
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

/// Speaks as the node that this VM is. At another address it is another node, with another stream.
async fn converse(exchanging: Exchanging) {
    let mut address = exchanging.address.clone();
    loop {
        let Ok(ip) = address.wait_for(Option::is_some).await.map(|ip| *ip) else { return };
        tokio::select! {
            () = converse_as(exchanging.node.id_at(ip), exchanging.clone()) => {}
            _ = address.wait_for(|now| *now != ip) => {}
        }
    }
}

async fn converse_as(node: NodeId, exchanging: Exchanging) {
    let Exchanging { pilots, tls, relay, verdicts, outlets, .. } = exchanging;
    let stored = outlets.stored.borrow().as_ref().clone();
    let mut picker = PilotPicker::new(pilots, Backoff::default()).expect("settings name at least one pilot");
    let relay = Relay::new(relay, stored);
    let mut exchange = Exchange::new(node, ExchangeSettings::default(), relay, verdicts, outlets).showing(tls);
    let mut attempt = picker.first();
    loop {
        // Idling never ends by itself; the pause does.
        let _ = timeout(attempt.pause, exchange.idle()).await;
        let ended = exchange.stream(&attempt.pilot).await;
        attempt = picker.after(ended.lived, rand::random());
    }
}

/// Writes what is worth keeping whenever it changes. A disk that refuses is tried again.
async fn keep(exchanging: Exchanging) {
    let mut stored = exchanging.outlets.stored.subscribe();
    loop {
        let again = async {
            match **exchanging.unkept.load() {
                Some(_) => sleep(AGAIN).await,
                None => pending().await,
            }
        };
        tokio::select! {
            changed = stored.changed() => if changed.is_err() { return },
            () = again => {}
        }
        sleep(SETTLING).await;
        let content = stored.borrow_and_update().encode();
        let file = exchanging.file.clone();
        let unkept = match task::spawn_blocking(move || state_file::replace(&file, &content)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Report::new(&error).to_string()),
            Err(error) => Some(Report::new(&error).to_string()),
        };
        exchanging.unkept.store(Arc::new(unkept));
    }
}

/// What an earlier process kept. A file that cannot be used is as good as none: the pilot tells everything again.
pub(crate) fn restore(file: &std::path::Path) -> Option<Arc<Stored>> {
    let content = match state_file::read(file) {
        Ok(content) => Bytes::from(content?),
        Err(error) => {
            warn!(error = Report::new(&error).to_string(), "beginning without kept state");
            return None;
        }
    };
    match Stored::decode(&content) {
        Ok(stored) => {
            info!(names = stored.answered().len(), "beginning with kept state");
            Some(Arc::new(stored))
        }
        Err(error) => {
            warn!(file = %file.display(), error = Report::new(&error).to_string(), "beginning without kept state");
            None
        }
    }
}
