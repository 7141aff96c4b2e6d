//! The withdrawal of this VM's endpoints before its jobs stop: whether it is asked for, and which pilots know of it.
//!
//! ```text
//!   boshy withdraw ──> Withdrawal ── stopping ──> Reporter ──> every pilot ──> callers
//!                          ^─────── attempts ────────┘
//! ```
//!
//! It is kept in memory alone: an agent that starts again is on a VM that starts again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_web::{
    status::OwnStop,
    withdrawal::{Withdraw, Withdrawing, Withdrawn},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::clock;

/// From a pilot's answer until callers have dropped the endpoints: the pilot gathers for 50 ms, publishes and pushes, and
/// Envoy's threads take over what it has accepted.
const SETTLE: Duration = Duration::from_secs(1);

/// Whether the VM is about to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// Whether it is.
    pub(crate) now: bool,
    /// Since when this is so.
    pub(crate) since: Instant,
}

/// The latest attempt to report to a pilot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Whether the VM was about to stop.
    pub(crate) stopping: bool,
    /// Whether the pilot knows the VM as an endpoint of a service, or why it has not taken the report.
    pub(crate) taken: Result<bool, String>,
}

/// See the module's documentation. Clones share the state.
#[derive(Clone)]
pub(crate) struct Withdrawal {
    stopping: watch::Sender<Stopping>,
    /// By pilot, by `reporter`.
    attempts: watch::Sender<BTreeMap<String, Attempt>>,
}

impl Default for Withdrawal {
    fn default() -> Self {
        let stopping = Stopping { now: false, since: Instant::now() };
        Self { stopping: watch::Sender::new(stopping), attempts: watch::Sender::default() }
    }
}

impl Withdrawal {
    /// What root on the VM may ask for.
    pub(crate) fn at_desk(&self, pilots: BTreeSet<String>) -> Withdraw {
        let (this, that, pilots) = (self.clone(), self.clone(), Arc::new(pilots));
        let withdraw = move |patience| -> Withdrawing {
            let (this, pilots) = (this.clone(), Arc::clone(&pilots));
            Box::pin(async move { this.withdraw(&pilots, patience).await })
        };
        Withdraw { withdraw: Arc::new(withdraw), take_back: Arc::new(move || that.take_back()) }
    }

    /// Whether the VM is about to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<Stopping> {
        self.stopping.subscribe()
    }

    /// Records an attempt to report to a pilot.
    pub(crate) fn attempted(&self, pilot: &str, attempt: Attempt) {
        self.attempts.send_modify(|attempts| drop(attempts.insert(pilot.to_owned(), attempt)));
    }

    /// Tells the pilots that the VM is about to stop, and waits until each has been asked and callers have had the time to
    /// drop its endpoints, but at most `patience`.
    pub(crate) async fn withdraw(&self, pilots: &BTreeSet<String>, patience: Duration) -> Withdrawn {
        let began = tokio::time::Instant::now();
        self.set(true);
        let mut attempts = self.attempts.subscribe();
        let asked = attempts.wait_for(|attempts| pilots.iter().all(|pilot| told(attempts, pilot).is_some()));
        // What is missing after that time is named in the answer.
        let _ = timeout(patience, asked).await;
        let withdrawn = self.withdrawn(pilots);
        // A name may stand for several pilots: when one does not answer, others may have told the callers.
        if withdrawn.is_called || !withdrawn.untold.is_empty() {
            sleep(SETTLE.min(patience.saturating_sub(began.elapsed()))).await;
        }
        let Withdrawn { told, untold, .. } = &withdrawn;
        if untold.is_empty() {
            info!(?told, "callers no longer get this VM");
        } else {
            warn!(?told, ?untold, "not every pilot knows that this VM is about to stop");
        }
        withdrawn
    }

    /// Tells the pilots that the VM does not stop after all. Returns whether it was about to.
    pub(crate) fn take_back(&self) -> bool {
        let was = self.set(false);
        if was {
            info!("callers get this VM again");
        }
        was
    }

    /// What operators are shown while the VM is about to stop.
    pub(crate) fn status(&self, pilots: &BTreeSet<String>) -> Option<OwnStop> {
        let Stopping { now, since } = *self.stopping.borrow();
        let Withdrawn { told, untold, .. } = self.withdrawn(pilots);
        now.then(|| OwnStop { since: clock::now().0.saturating_sub(since.elapsed().as_secs()), told, untold })
    }

    /// Returns whether this is a change.
    fn set(&self, stopping: bool) -> bool {
        self.stopping.send_if_modified(|known| {
            let changed = known.now != stopping;
            if changed {
                *known = Stopping { now: stopping, since: Instant::now() };
            }
            changed
        })
    }

    fn withdrawn(&self, pilots: &BTreeSet<String>) -> Withdrawn {
        let attempts = self.attempts.borrow();
        let mut withdrawn = Withdrawn::default();
        for pilot in pilots {
            match told(&attempts, pilot) {
                Some(Ok(is_called)) => {
                    withdrawn.is_called |= is_called;
                    withdrawn.told.push(pilot.clone());
                }
                Some(Err(reason)) => drop(withdrawn.untold.insert(pilot.clone(), reason.clone())),
                None => drop(withdrawn.untold.insert(pilot.clone(), "it has not answered yet".to_owned())),
            }
        }
        withdrawn
    }
}

/// What a pilot has answered to the report that the VM is about to stop; `None` before.
fn told<'a>(attempts: &'a BTreeMap<String, Attempt>, pilot: &str) -> Option<&'a Result<bool, String>> {
    attempts.get(pilot).filter(|attempt| attempt.stopping).map(|attempt| &attempt.taken)
}

#[cfg(test)]
#[path = "withdrawal_tests.rs"]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests;
