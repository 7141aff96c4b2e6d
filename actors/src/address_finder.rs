//! Looks for the address of this VM, which may come after the agent or change under it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use boshy_mesh::VipRange;
use boshy_supervision::Heart;
use boshy_vm::{NoAddress, Sources, Wanted};
use tokio::{sync::watch, time::interval};
use tracing::info;

const PERIOD: Duration = Duration::from_secs(1);

/// What the finder is made of; it outlives the task.
#[derive(Clone)]
pub(crate) struct Finding {
    /// What the settings say of the VM.
    pub(crate) wanted: Wanted,
    /// Where its address cannot be.
    pub(crate) range: VipRange,
    /// The address; `None` until there is one. One that was found stays until there is another: an interface that is down for a
    /// moment is no reason to take working names away. This task is the only writer.
    pub(crate) found: watch::Sender<Option<Ipv4Addr>>,
    /// Why there is none now. This task is the only writer.
    pub(crate) missing: Arc<ArcSwap<Option<NoAddress>>>,
}

/// Looks once a period, for ever.
pub(crate) async fn find(finding: Finding, heart: Heart) {
    let mut sources = Sources::new(finding.wanted.clone());
    let mut periods = interval(PERIOD);
    loop {
        periods.tick().await;
        heart.beat();
        finding.take(sources.address(finding.range));
    }
}

impl Finding {
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
