//! Looks for the address of this VM, which may come after the agent or change under it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context};
use arc_swap::ArcSwap;
use boshy_mesh::VipRange;
use boshy_vm::{NoAddress, Sources, Wanted};
use tokio::sync::watch;
use tracing::info;

const PERIOD: Duration = Duration::from_secs(1);

/// What the finder is made of; it outlives the actor.
#[derive(Clone)]
pub(crate) struct Finding {
    /// What the settings say of the VM.
    pub(crate) wanted: Wanted,
    /// Where its address cannot be.
    pub(crate) range: VipRange,
    /// The address; `None` until there is one. One that was found stays until there is another: an interface that is down for a
    /// moment is no reason to take working names away. This actor is the only writer.
    pub(crate) found: watch::Sender<Option<Ipv4Addr>>,
    /// Why there is none now. This actor is the only writer.
    pub(crate) missing: Arc<ArcSwap<Option<NoAddress>>>,
}

/// See the module.
pub(crate) struct AddressFinder {
    finding: Finding,
    sources: Sources,
}

impl AddressFinder {
    /// A finder for one life.
    pub(crate) fn new(finding: Finding) -> Self {
        let sources = Sources::new(finding.wanted.clone());
        Self { finding, sources }
    }

    /// Looks once.
    pub(crate) fn look(&mut self) {
        let Finding { range, found, missing, .. } = &self.finding;
        let address = self.sources.address(*range);
        if **missing.load() != address.err() {
            missing.store(Arc::new(address.err()));
        }
        let Ok(address) = address else { return };
        let changed = found.send_if_modified(|known| known.replace(address) != Some(address));
        if changed {
            info!(%address, "the address of this VM");
        }
    }
}

impl Actor for AddressFinder {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.look();
        ctx.run_interval(PERIOD, |finder, _| finder.look());
    }
}
