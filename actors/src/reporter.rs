//! Reports to every pilot what this VM can do, which roots it trusts and whether it is about to stop.
//!
//! ```text
//!   Envoy's answers ─┐                 ┌──> a pilot
//!   identity ────────┼──> AgentReport ─┼──> another pilot
//!   stopping ────────┘                 └──> ...
//! ```
//!
//! A VM has a stream to one pilot, and each pilot must know all VMs: it decides for all how a service is reached. A
//! report is sent when it changes and repeated as a heartbeat, to each pilot on its own, so that one that is away costs
//! the others nothing.
//!
//! Of a VM without a certificate, pilots hear only whether it is about to stop. It reports that it is, and for a while
//! that it no longer is: longer than a pilot believes an earlier report.

use std::{sync::Arc, time::Duration};

use boshy_backoff::{Backoff, Retries};
use boshy_mesh::{AgentReport, HEARTBEAT, REPORT_LIFE, Timestamp};
use boshy_supervision::Heart;
use boshy_xds::{
    AckStates, ResourceSet,
    agent::{accepts_roots, accepts_tunnels},
};
use futures::future::{BoxFuture, join_all};
use tokio::{sync::watch, time::sleep};
use tracing::{debug, info, warn};

use crate::{
    held_identity::Held,
    identity_keeper::Failure,
    withdrawal::{Attempt, Stopping, Withdrawal},
};

/// Inputs and pilots of the reporter; they outlive the task.
#[derive(Clone)]
pub(crate) struct ReporterParts {
    /// The pilots.
    pub(crate) desks: Vec<Arc<dyn Desk>>,
    /// What is reported.
    pub(crate) vm: ReportedVm,
    /// When it is reported.
    pub(crate) pace: Pace,
    /// Where it is recorded what the pilots know.
    pub(crate) withdrawal: Withdrawal,
}

/// What a report is made of.
#[derive(Clone)]
pub(crate) struct ReportedVm {
    /// What the local Envoy is to have.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// What it has acknowledged.
    pub(crate) ack_states: AckStates,
    /// The VM's certificate.
    pub(crate) held: watch::Receiver<Arc<Held>>,
    /// Whether the VM is about to stop.
    pub(crate) stopping: watch::Receiver<Stopping>,
    /// The time of day.
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Where a pilot takes reports.
pub(crate) trait Desk: Send + Sync {
    /// Name of the pilot, for the log.
    fn name(&self) -> String;
    /// Sends a report. Returns whether the pilot knows the VM as an endpoint of a service.
    fn report(&self, report: AgentReport) -> BoxFuture<'_, Result<bool, Failure>>;
    /// Waits until a stream to this pilot opens: it may have been restarted, and know nothing.
    fn reopened(&self) -> BoxFuture<'_, ()>;
}

/// When something is reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A report that has not changed.
    pub(crate) heartbeat: Backoff,
    /// A report that was not taken.
    pub(crate) retry: Backoff,
    /// How long changes gather. Envoy answers in thousands of messages.
    pub(crate) gather: Duration,
    /// Longest time between two looks at the clock, by which a certificate ends.
    pub(crate) look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Backoff { first: HEARTBEAT, longest: HEARTBEAT, jitter: 0.3 },
            retry: Backoff { first: Duration::from_secs(1), longest: HEARTBEAT, jitter: 0.5 },
            gather: Duration::from_millis(100),
            look: Duration::from_secs(60),
        }
    }
}

/// Reports forever.
pub(crate) async fn report(parts: ReporterParts, heart: Heart) {
    let ReporterParts { desks, vm, pace, withdrawal } = parts;
    let (current, told) = watch::channel(None);
    let tells = desks.iter().map(|desk| tell(&**desk, told.clone(), pace, &withdrawal));
    heart.rest(async { tokio::join!(vm.observe(current, pace), join_all(tells)) }).await;
}

impl ReportedVm {
    async fn observe(mut self, current: watch::Sender<Option<AgentReport>>, pace: Pace) {
        let mut acks = self.ack_states.changes();
        loop {
            let now = self.report();
            current.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
            tokio::select! {
                Ok(()) = acks.changed() => {}
                Ok(()) = self.served.changed() => {}
                Ok(()) = self.held.changed() => {}
                Ok(()) = self.stopping.changed() => {}
                () = sleep(pace.look) => {}
            }
            sleep(pace.gather).await;
        }
    }

    /// What there is to report; `None` when there is nothing that a pilot would hear or has not heard.
    fn report(&self) -> Option<AgentReport> {
        let (held, stopping) = (Arc::clone(&self.held.borrow()), *self.stopping.borrow());
        let Some(issued) = held.issued().filter(|issued| issued.leaf.is_valid_at((self.now)())) else {
            return of_stop(stopping);
        };
        let has_roots = self.ack_states.connected() == 0 || accepts_roots(issued.chain().roots_pem(), &self.ack_states);
        Some(AgentReport {
            able: accepts_tunnels(&self.served.borrow(), &self.ack_states),
            roots: if has_roots { issued.roots.clone() } else { Default::default() },
            issuer: issued.issuer.clone(),
            stopping: stopping.now,
        })
    }
}

/// What a VM without a certificate has to report.
fn of_stop(Stopping { now, since }: Stopping) -> Option<AgentReport> {
    (now || since.elapsed() <= REPORT_LIFE).then(|| AgentReport { stopping: now, ..AgentReport::default() })
}

/// Reports to one pilot.
async fn tell(desk: &dyn Desk, mut current: watch::Receiver<Option<AgentReport>>, pace: Pace, withdrawal: &Withdrawal) {
    let (mut retries, mut trouble) = (Retries::new(pace.retry), None);
    loop {
        let Ok(report) = current.wait_for(Option::is_some).await.map(|report| report.clone().unwrap_or_default())
        else {
            return;
        };
        let (stopping, is_vital) = (report.stopping, report != AgentReport::default());
        let taken = desk.report(report).await;
        let attempt = Attempt { stopping, taken: taken.as_ref().map_or_else(|f| Err(f.reason.clone()), |is| Ok(*is)) };
        withdrawal.attempted(&desk.name(), attempt);
        let failed = taken.err();
        log(desk, trouble.as_ref(), failed.as_ref().filter(|_| is_vital));
        if failed.is_some() {
            tokio::select! {
                () = sleep(retries.failed()) => {}
                () = desk.reopened() => {}
                // The jobs of this VM wait for it.
                Ok(_) = current.wait_for(|now| now.as_ref().is_some_and(|now| now.stopping != stopping)) => {}
            }
        } else {
            retries.succeeded();
            tokio::select! {
                () = sleep(pace.heartbeat.pause(1, rand::random())) => {}
                () = desk.reopened() => {}
                Ok(()) = current.changed() => {}
            }
        }
        trouble = failed.filter(|_| is_vital);
    }
}

fn log(desk: &dyn Desk, before: Option<&Failure>, now: Option<&Failure>) {
    let pilot = desk.name();
    match (before, now) {
        (before, Some(Failure { reason, remedy })) if before.is_none_or(|before| before.reason != *reason) => {
            warn!(pilot, reason, remedy, "a pilot takes no report of this VM");
        }
        (_, Some(_)) => debug!(pilot, "the pilot still takes no report"),
        (Some(_), None) => info!(pilot, "the pilot takes reports again"),
        (None, None) => {}
    }
}

#[cfg(test)]
#[path = "reporter_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
