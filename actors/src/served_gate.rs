//! Passes the served set on to Envoy. A listener that a captured port leads to is taken from Envoy once the port is
//! captured no more, so that no connection is led to a listener that is gone.
//!
//! Everything else is passed on at once, and after [`LONGEST`] so is this.

use std::{sync::Arc, time::Duration};

use boshy_netfilter::Pairs;
use boshy_supervision::Heart;
use boshy_xds::{ResourceSet, ResourceType, captured_ports};
use tokio::{sync::watch, time::timeout};

/// How long a set waits for the rules. They take less than a millisecond, unless they cannot be written.
const LONGEST: Duration = Duration::from_secs(1);

/// Channels of the gate; they outlive the task.
#[derive(Clone)]
pub(crate) struct ServedGateParts {
    /// The set that the relay serves, with followed endpoints.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// The ports that are captured in the kernel.
    pub(crate) captured: watch::Receiver<Arc<Pairs>>,
    /// The set that Envoy is served. This task is the only writer.
    pub(crate) passed: watch::Sender<Arc<ResourceSet>>,
}

/// Passes sets on, forever.
pub(crate) async fn pass(mut parts: ServedGateParts, heart: Heart) {
    loop {
        let next = Arc::clone(&parts.served.borrow_and_update());
        let _ = heart.rest(timeout(LONGEST, parts.captured.wait_for(|captured| leads(captured, &next)))).await;
        parts.passed.send_if_modified(|passed| {
            let changed = !Arc::ptr_eq(passed, &next);
            *passed = next;
            changed
        });
        if heart.rest(parts.served.changed()).await.is_err() {
            return;
        }
    }
}

/// Whether every captured port leads to a listener of the set, as far as its listeners are known.
fn leads(captured: &Pairs, set: &ResourceSet) -> bool {
    captured.is_empty() || !set.of(ResourceType::Listener).is_known() || {
        let served: Pairs = captured_ports(set).iter().map(|captured| captured.at).collect();
        captured.is_subset(&served)
    }
}
