//! Asks the local Envoy's admin interface whether Envoy is live, and whether it has what it acknowledged.
//!
//! Its configuration is inspected once a minute and after each change. What differs in two inspections in a row is
//! reported and sent to Envoy again (`boshy_xds::inspection`).

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use boshy_http_client::{HttpClient, whole};
use boshy_supervision::Heart;
use boshy_web::status::InspectionStatus;
use boshy_xds::{
    AckStates, Flavour, Proxies, Repairs, ResourceSet,
    inspection::{self, Difference, INSPECTED},
};
use bytes::Bytes;
use err_report::Report;
use http::{Request, StatusCode};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::clock;

const PERIOD: Duration = Duration::from_secs(1);
/// Interval of inspections while nothing changes.
const INSPECTION: Duration = Duration::from_secs(60);
/// Time to let a change take effect before the next inspection.
const SETTLING: Duration = Duration::from_secs(2);
/// Minimum time between two inspections, however much changes: at 5,000 services each takes 0.34 s of Envoy's main
/// thread.
const REST: Duration = Duration::from_secs(10);
/// Limits on the time of an inspection and the size of its answer.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 << 20;
/// Number of differences that are shown. For all of them, only the number is shown.
const SHOWN: usize = 20;

/// Configuration and channels of the watcher; they outlive the task.
#[derive(Clone)]
pub(crate) struct EnvoyWatcherParts {
    /// Envoy's admin address.
    pub(crate) admin: SocketAddr,
    /// Time after which a connection to a vanished instance ends, by the agent's settings.
    pub(crate) peer_timeout: Option<Duration>,
    /// What Envoy's job has set differently; `None` when nothing. This task is the only writer.
    pub(crate) set_otherwise: Arc<ArcSwap<Option<String>>>,
    /// Whether Envoy is live; `None` while it does not answer. This task is the only writer.
    pub(crate) live: Arc<ArcSwap<Option<bool>>>,
    /// The set served to Envoy.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// What Envoy has acknowledged of it.
    pub(crate) ack_states: AckStates,
    /// The connected proxies, for the variant of xDS that Envoy uses.
    pub(crate) proxies: Proxies,
    /// Sends resources again.
    pub(crate) repairs: Repairs,
    /// Result of the inspection. This task is the only writer.
    pub(crate) inspected: Arc<ArcSwap<InspectionStatus>>,
}

/// Checks once per period, forever.
pub(crate) async fn watch(parts: EnvoyWatcherParts, heart: Heart) {
    let mut inspector = Inspector::new(parts.clone());
    loop {
        heart.beat();
        // Status 200 when live, 503 otherwise.
        let live = inspector.admin.get("/ready", PERIOD).await.ok().map(|(status, _)| status.is_success());
        if **parts.live.load() != live {
            info!(?live, "the local Envoy");
            parts.live.store(Arc::new(live));
        }
        if live == Some(true) {
            heart.beat();
            inspector.look_when_due().await;
        }
        sleep(PERIOD).await;
    }
}

/// Envoy's admin interface.
struct Admin {
    address: SocketAddr,
    client: HttpClient,
}

impl Admin {
    fn new(address: SocketAddr) -> Self {
        Self { address, client: HttpClient::plain(PERIOD) }
    }

    /// Status and body of the answer within `limit`, or the sentence about what failed.
    async fn get(&self, path: &str, limit: Duration) -> Result<(StatusCode, Bytes), String> {
        let url = format!("http://{}{path}", self.address);
        let request = Request::get(&url).body(whole("")).map_err(|error| format!("GET {url}: {error}"))?;
        match timeout(limit, self.client.send(request, LARGEST_ANSWER)).await {
            Ok(Ok(answer)) => Ok((answer.status(), answer.into_body())),
            Ok(Err(error)) => Err(format!("GET {url}: {}", Report::new(&error))),
            Err(_) => Err(format!("GET {url}: no answer within {limit:?}")),
        }
    }

    /// The body of a successful answer, or the sentence about what failed.
    async fn body(&self, path: &str) -> Result<Bytes, String> {
        let (status, body) = self.get(path, LONGEST_LOOK).await?;
        if status.is_success() { Ok(body) } else { Err(format!("GET http://{}{path}: {status}", self.address)) }
    }
}

struct Inspector {
    parts: EnvoyWatcherParts,
    admin: Admin,
    last: Option<Instant>,
    due: Instant,
    /// Differences in the last inspection. They may be due to a change in progress.
    suspects: BTreeSet<Difference>,
}

impl Inspector {
    fn new(parts: EnvoyWatcherParts) -> Self {
        let admin = Admin::new(parts.admin);
        Self { parts, admin, last: None, due: Instant::now() + SETTLING, suspects: BTreeSet::new() }
    }

    async fn look_when_due(&mut self) {
        let now = Instant::now();
        if self.parts.served.has_changed().unwrap_or(false) {
            self.parts.served.mark_unchanged();
            let rested = self.last.map_or(now, |last| last + REST);
            self.due = self.due.min((now + SETTLING).max(rested));
        }
        if now < self.due || self.parts.ack_states.connected() == 0 {
            return;
        }
        self.last = Some(now);
        self.compare_settings().await;
        match self.look().await {
            Ok(differences) => {
                let confirmed: Vec<_> = differences.intersection(&self.suspects).cloned().collect();
                // After an inspection with new differences, and after a repair, the next one follows soon.
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

    /// Compares the setting that the jobs of agent and Envoy both have: Envoy's bootstrap needs it before the agent
    /// runs.
    async fn compare_settings(&self) {
        // What fails here is reported by the inspection, which follows.
        let Ok(runtime) = self.admin.body(inspection::RUNTIME).await else { return };
        let (own, envoys) = (self.parts.peer_timeout.unwrap_or_default(), inspection::peer_timeout(&runtime));
        let otherwise = envoys.filter(|envoys| *envoys != own).map(|envoys| {
            format!(
                "`envoy.peer_timeout` is {} s here, and `peer_timeout` is {} s at Envoy",
                own.as_secs(),
                envoys.as_secs()
            )
        });
        self.parts.set_otherwise.store(Arc::new(otherwise));
    }

    async fn look(&self) -> Result<BTreeSet<Difference>, String> {
        let EnvoyWatcherParts { served, ack_states, proxies, .. } = &self.parts;
        // When both variants are in use, state of the world decides: its versions cannot be compared.
        let flavour = proxies.list().iter().map(|proxy| proxy.flavour).find(|flavour| *flavour == Flavour::Sotw);
        let flavour = flavour.unwrap_or(Flavour::Delta);
        let mut differences = BTreeSet::new();
        for (kind, path) in INSPECTED {
            let found = inspection::read(kind, &self.admin.body(path).await?)
                .map_err(|error| Report::new(&error).to_string())?;
            let served = Arc::clone(&served.borrow());
            let accepted = |name: &str| ack_states.acked_version(kind, name);
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
            self.parts.repairs.tell_again(names);
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
        let mut status = self.parts.inspected.load().as_ref().clone();
        change(&mut status);
        self.parts.inspected.store(Arc::new(status));
    }
}

#[cfg(test)]
#[path = "envoy_watcher_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
