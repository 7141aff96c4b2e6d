//! Asks the local Envoy's admin interface whether it is live, and whether it has what it acknowledged.
//!
//! What it has is looked at once a minute and after each change. What differs in two looks in a row is told, and Envoy is told of it again
//! (`boshy_xds::inspection`).

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use awc::Client;
use boshy_supervision::Heart;
use boshy_web::status::InspectionStatus;
use boshy_xds::{
    Flavour, Proxies, Repairs, ResourceSet, Verdicts,
    inspection::{self, Difference, INSPECTED},
};
use err_report::Report;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use crate::clock;

const PERIOD: Duration = Duration::from_secs(1);
/// Between two looks at what Envoy has, when nothing changes.
const INSPECTION: Duration = Duration::from_secs(60);
/// What follows a change is left this time to come to rest.
const SETTLING: Duration = Duration::from_secs(2);
/// Between two looks, however much changes: at 5,000 services each takes 0.34 s of Envoy's main thread.
const REST: Duration = Duration::from_secs(10);
/// What a look may take, and how large its answer may be.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 << 20;
/// Differences that are shown; of all of them the number is.
const SHOWN: usize = 20;

/// What the watcher is made of; it outlives the task.
#[derive(Clone)]
pub(crate) struct Watching {
    /// Envoy's admin address.
    pub(crate) admin: SocketAddr,
    /// Whether it is live; `None` while it does not answer. This task is the only writer.
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
    /// What Envoy is served.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// What it says of that.
    pub(crate) verdicts: Verdicts,
    /// How it asks.
    pub(crate) proxies: Proxies,
    /// By which it is told again.
    pub(crate) repairs: Repairs,
    /// What was found. This task is the only writer.
    pub(crate) inspected: Arc<ArcSwap<InspectionStatus>>,
}

/// Asks once a period, for ever.
pub(crate) async fn watch(watching: Watching, heart: Heart) {
    let client = Client::builder().timeout(PERIOD).finish();
    // Envoy's admin interface, `GET /ready`: 200 when live, 503 otherwise.
    let ready = format!("http://{}/ready", watching.admin);
    let mut inspector = Inspector::new(watching.clone());
    loop {
        heart.beat();
        let live = client.get(&ready).send().await.ok().map(|answer| answer.status().is_success());
        if **watching.live.load() != live {
            info!(?live, "the local Envoy");
            watching.live.store(Arc::new(live));
        }
        if live == Some(true) {
            heart.beat();
            inspector.look_when_due().await;
        }
        sleep(PERIOD).await;
    }
}

struct Inspector {
    watching: Watching,
    client: Client,
    last: Option<Instant>,
    due: Instant,
    /// What differed in the last look. It may have been under way.
    suspects: BTreeSet<Difference>,
}

impl Inspector {
    fn new(watching: Watching) -> Self {
        let client = Client::builder().timeout(LONGEST_LOOK).finish();
        Self { watching, client, last: None, due: Instant::now() + SETTLING, suspects: BTreeSet::new() }
    }

    async fn look_when_due(&mut self) {
        let now = Instant::now();
        if self.watching.served.has_changed().unwrap_or(false) {
            self.watching.served.mark_unchanged();
            let rested = self.last.map_or(now, |last| last + REST);
            self.due = self.due.min((now + SETTLING).max(rested));
        }
        if now < self.due || self.watching.verdicts.connected() == 0 {
            return;
        }
        self.last = Some(now);
        match self.look().await {
            Ok(differences) => {
                let confirmed: Vec<_> = differences.intersection(&self.suspects).cloned().collect();
                // A look that shows something new is followed by another soon, and so is a repair.
                self.due = now + if differences.is_empty() { INSPECTION } else { SETTLING };
                self.suspects = differences;
                self.conclude(confirmed);
            }
            Err(reason) => {
                self.due = now + INSPECTION;
                self.publish(|status| status.error = Some(reason));
            }
        }
    }

    async fn look(&self) -> Result<BTreeSet<Difference>, String> {
        let Watching { admin, served, verdicts, proxies, .. } = &self.watching;
        // Where both ask, what cannot be told of one is not told of the other either.
        let flavour = proxies.list().iter().map(|proxy| proxy.flavour).find(|flavour| *flavour == Flavour::Sotw);
        let flavour = flavour.unwrap_or(Flavour::Delta);
        let mut differences = BTreeSet::new();
        for (kind, path) in INSPECTED {
            let url = format!("http://{admin}{path}");
            let failed = |error: &dyn std::fmt::Display| format!("GET {url}: {error}");
            let mut answer = self.client.get(&url).send().await.map_err(|error| failed(&error))?;
            let body = answer.body().limit(LARGEST_ANSWER).await.map_err(|error| failed(&error))?;
            if !answer.status().is_success() {
                return Err(failed(&answer.status()));
            }
            let found = inspection::read(kind, &body).map_err(|error| Report::new(&error).to_string())?;
            let served = Arc::clone(&served.borrow());
            let accepted = |name: &str| verdicts.accepted_version(kind, name);
            differences.extend(inspection::differences(kind, flavour, &served, accepted, &found));
        }
        Ok(differences)
    }

    fn conclude(&self, confirmed: Vec<Difference>) {
        for difference in confirmed.iter().take(SHOWN) {
            warn!(
                difference = difference.sentence(),
                "Envoy has something else than it acknowledged; it is told again"
            );
        }
        let differing = confirmed.len();
        if differing > 0 {
            let names = confirmed.iter().map(|one| (one.kind, Arc::clone(&one.name))).collect();
            self.watching.repairs.tell_again(names);
        }
        self.publish(|status| {
            *status = InspectionStatus {
                last: Some(clock::now().0),
                differences: confirmed.into_iter().take(SHOWN).collect(),
                differing,
                repairs: status.repairs + differing as u64,
                error: None,
            };
        });
    }

    fn publish(&self, change: impl FnOnce(&mut InspectionStatus)) {
        let mut status = self.watching.inspected.load().as_ref().clone();
        change(&mut status);
        self.watching.inspected.store(Arc::new(status));
    }
}

#[cfg(test)]
#[path = "envoy_watcher_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
