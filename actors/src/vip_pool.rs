//! Hands out virtual IPs, and remembers them.
//!
//! A table is on disk before anybody learns of it. A table that cannot be read is an answer, not a crash: the pilot goes on
//! serving what it has, says so in its status, and looks again at the next request.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Context, Handler, Message};
use arc_swap::ArcSwap;
use boshy_mesh::{Hostname, LeaseState, Leases, Reconciled, VipRange};
use boshy_web::status::PoolStatus;
use tracing::{info, warn};

use crate::{
    clock,
    sealed::{SealError, Sealed},
    state_file::{self, StateFileError},
};

/// Give exactly these names an address, and let the others' rest.
#[derive(Message)]
#[rtype(result = "Result<Reconciled, LeaseError>")]
pub(crate) struct ReconcileLeases {
    /// Every service there is.
    pub(crate) wanted: BTreeSet<Hostname>,
}

/// Why there are no leases.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// The table cannot be read or written.
    #[error("keep virtual-IP leases")]
    File(#[from] StateFileError),
    /// The table on disk is refused.
    #[error("{} {source}; restore it, or move it away to derive addresses from names again", file.display())]
    Refused {
        /// Where it is.
        file: PathBuf,
        /// What is wrong with it.
        source: SealError,
    },
}

/// What the pool is made of.
#[derive(Clone)]
pub(crate) struct PoolSettings {
    /// The lease file.
    pub(crate) file: PathBuf,
    /// Where addresses come from.
    pub(crate) range: VipRange,
    /// How long a freed one rests.
    pub(crate) quarantine: Duration,
}

/// See the module.
pub(crate) struct VipPool {
    settings: PoolSettings,
    /// `None` until the file was read.
    leases: Option<Leases>,
    status: Arc<ArcSwap<PoolStatus>>,
}

impl VipPool {
    /// A pool that reads its file when first asked, and shows itself in `status`.
    pub(crate) fn new(settings: PoolSettings, status: Arc<ArcSwap<PoolStatus>>) -> Self {
        Self { settings, leases: None, status }
    }

    fn reconcile(&mut self, wanted: &BTreeSet<Hostname>) -> Result<Reconciled, LeaseError> {
        let PoolSettings { file, range, quarantine } = &self.settings;
        let before = match &self.leases {
            Some(leases) => leases.clone(),
            None => restore(file)?,
        };
        let reconciled = before.reconcile(wanted, *range, clock::now(), *quarantine);
        if reconciled.leases != before {
            state_file::replace(file, &reconciled.leases.seal())?;
            log_changes(&before, &reconciled.leases);
        }
        self.leases = Some(reconciled.leases.clone());
        self.status.store(Arc::new(status(*range, &reconciled)));
        Ok(reconciled)
    }
}

fn restore(file: &Path) -> Result<Leases, LeaseError> {
    let Some(content) = state_file::read(file)? else { return Ok(Leases::default()) };
    Leases::unseal(&content).map_err(|source| LeaseError::Refused { file: file.to_owned(), source })
}

/// An empty pool, before anybody asked.
pub(crate) fn unused(range: VipRange) -> PoolStatus {
    status(range, &Reconciled { leases: Leases::default(), refused: BTreeSet::new() })
}

fn status(range: VipRange, reconciled: &Reconciled) -> PoolStatus {
    let held = reconciled.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held).count();
    PoolStatus {
        range,
        capacity: range.capacity(),
        held: held as u64,
        resting: (reconciled.leases.iter().len() - held) as u64,
        refused: reconciled.refused.iter().cloned().collect(),
    }
}

fn log_changes(before: &Leases, after: &Leases) {
    for (host, lease) in after.iter() {
        let known = before.iter().find(|(name, _)| *name == host).map(|(_, lease)| lease.state);
        match (known, lease.state) {
            (Some(LeaseState::Held), LeaseState::Released(_)) => {
                info!(%host, vip = %lease.vip, "virtual IP rests");
            }
            (Some(LeaseState::Released(_)) | None, LeaseState::Held) => {
                info!(%host, vip = %lease.vip, "virtual IP leased");
            }
            _ => {}
        }
    }
}

impl Actor for VipPool {
    type Context = Context<Self>;
}

impl Handler<ReconcileLeases> for VipPool {
    type Result = Result<Reconciled, LeaseError>;

    fn handle(&mut self, message: ReconcileLeases, _: &mut Context<Self>) -> Self::Result {
        let reconciled = self.reconcile(&message.wanted)?;
        for host in &reconciled.refused {
            warn!(%host, range = %self.settings.range, "no virtual IP is free for this service; choose a larger vip_range");
        }
        Ok(reconciled)
    }
}
