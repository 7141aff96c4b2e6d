//! Finds the address of this VM, which may appear after the agent's start or change while it runs.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_mesh::VipRange;
use boshy_supervision::Heart;
use boshy_vm::{NoAddress, Sources, Wanted};
use tokio::{sync::watch, time::interval};
use tracing::info;

const PERIOD: Duration = Duration::from_secs(1);

/// Configuration and channels of the finder; they outlive the task.
#[derive(Clone)]
pub(crate) struct AddressFinderParts {
    /// What the settings say about the VM.
    pub(crate) wanted: Wanted,
    /// Range that cannot contain the VM's address.
    pub(crate) range: VipRange,
    /// The address; `None` until one is found. A found address stays until another one is found: an interface that is
    /// down for a moment is no reason to remove working names. This task is the only writer.
    pub(crate) found: watch::Sender<Option<Ipv4Addr>>,
    /// Why there is no address now. This task is the only writer.
    pub(crate) missing: Arc<ArcSwap<Option<NoAddress>>>,
}

/// Looks for the address once per period, forever.
pub(crate) async fn find(parts: AddressFinderParts, heart: Heart) {
    let mut sources = Sources::new(parts.wanted.clone());
    let mut periods = interval(PERIOD);
    loop {
        periods.tick().await;
        heart.beat();
        parts.take(sources.address(parts.range));
    }
}

impl AddressFinderParts {
    fn take(&self, address: Result<Ipv4Addr, NoAddress>) {
        if **self.missing.load() != address.err() {
            self.missing.store(Arc::new(address.err()));
        }
        let Ok(address) = address else { return };
        if self.found.send_if_modified(|known| known.replace(address) != Some(address)) {
            info!(%address, "the address of this VM");
        }
    }
}
