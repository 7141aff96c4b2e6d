//! Assigns virtual IPs and persists them.
//!
//! A table is on disk before it is published. While it cannot be written, only what is also in the last written table
//! is published. A table that cannot be read is an error value, not a crash: the pilot keeps serving its snapshot,
//! reports the error in its status, and tries again at the next request.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, Message, WrapFuture};
use arc_swap::ArcSwap;
use boshy_mesh::{
    Claims, LeaseRules, LeaseState, Leases, MeshSnapshot, Moment, Reconciled, Shortage, Unclaimed, Withdrawals,
};
use boshy_state::{ReadError, StateFileError};
use boshy_web::status::{Lack, LackChange, PoolStatus};
use err_report::Report;
use tracing::{error, info};

use crate::{
    clock::{Clock, Stamp},
    lease_file::{self, LeaseFileError},
    shared_leases::SharedLeases,
};

/// The progress of a quarantine is written whenever this fraction of it has passed, for a pilot that starts on another
/// machine.
const PROGRESS: u32 = 10;

/// Assign addresses to exactly these names, and quarantine the addresses of all others.
#[derive(Message)]
#[rtype(result = "Result<Leased, LeaseError>")]
pub(crate) struct ReconcileLeases {
    /// The claims to each name.
    pub(crate) claims: Claims,
    /// The published snapshot.
    pub(crate) published: Arc<MeshSnapshot>,
    /// The oldest generation that every connected proxy has accepted; `None` when none is connected.
    pub(crate) accepted: Option<u64>,
}

/// The leases, and for how long they stay.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    /// The leases.
    pub(crate) reconciled: Reconciled,
    /// Until when the same request, beside a snapshot with these leases, has the same answer and nothing is to be
    /// written. `None` when that may change at any time.
    pub(crate) until: Option<Moment>,
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
        /// Path of the file.
        file: PathBuf,
        /// Why it is refused.
        source: LeaseFileError,
    },
    /// Several pilots share the table, and there is none yet.
    #[error("the pilots have not agreed on leases yet")]
    NotAgreed,
}

/// Configuration and channels of the pool; they outlive the actor.
#[derive(Clone)]
pub(crate) struct VipPoolParts {
    /// The lease file.
    pub(crate) file: PathBuf,
    /// Rules of the leases: range, quarantine and share.
    pub(crate) rules: LeaseRules,
    /// The table that all pilots share; `None` when this is the only one.
    pub(crate) shared: Option<SharedLeases>,
    /// The clock.
    pub(crate) clock: Clock,
    /// Status of the pool. This actor is the only writer.
    pub(crate) report: Arc<ArcSwap<PoolReport>>,
}

/// Status of the pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolReport {
    /// Status for operators.
    pub(crate) status: PoolStatus,
    /// What is wrong with the file.
    pub(crate) lack: Option<Lack>,
}

/// See the module's documentation. A request owns the pool while it is handled, so that one follows the other.
pub(crate) struct VipPool(Option<Pool>);

struct Pool {
    parts: VipPoolParts,
    /// The table on disk; `None` until the file was read.
    written: Option<Written>,
    withdrawals: Withdrawals,
    unclaimed: Unclaimed,
}

/// A table, and when it was written or read.
struct Written {
    leases: Leases,
    at: Moment,
}

impl VipPool {
    /// A pool that reads its file at the first request.
    pub(crate) fn new(parts: VipPoolParts) -> Self {
        let (withdrawals, unclaimed) = (Withdrawals::default(), Unclaimed::default());
        Self(Some(Pool { parts, written: None, withdrawals, unclaimed }))
    }
}

impl Pool {
    async fn handle(&mut self, message: &ReconcileLeases) -> Result<Leased, LeaseError> {
        let answer = self.reconcile(message).await;
        if self.written.is_none()
            && let Err(error) = &answer
        {
            self.parts.show_unread(error);
        }
        answer.map(|reconciled| Leased { until: self.until(&reconciled), reconciled })
    }

    /// Who is refused an address gets one as soon as the disk, the other pilots or the proxies let it. A lease that only
    /// other pilots claim is released after a while, and what is asked for may be agreed on at any time.
    fn until(&self, told: &Reconciled) -> Option<Moment> {
        let is_agreed = self.parts.shared.as_ref().is_none_or(|shared| shared.wanted.borrow().is_none());
        let written = self.written.as_ref().filter(|written| written.leases == told.leases)?;
        (is_agreed && told.refused.is_empty() && self.unclaimed.is_empty())
            .then(|| written.stays_until(&self.parts.rules))
    }

    async fn reconcile(&mut self, message: &ReconcileLeases) -> Result<Reconciled, LeaseError> {
        let VipPoolParts { file, rules, clock, .. } = &self.parts;
        let stamp = clock.look();
        let written = match &mut self.written {
            Some(written) => written,
            unread => unread.insert(Written { leases: restore(file, &stamp).await?, at: stamp.moment }),
        };
        if let Some(shared) = &self.parts.shared {
            let claims = message.claims.clone();
            let next = shared.reconcile(&written.leases, &mut self.unclaimed, claims, rules, stamp.moment);
            let (agreed, told) = next.ok_or(LeaseError::NotAgreed)?;
            self.parts.keep_agreed(written, agreed, &told, &stamp).await;
            return Ok(told);
        }
        self.withdrawals.observe(&written.leases, &message.published, stamp.moment);
        let reusable = self.withdrawals.reusable(message.accepted, stamp.moment);
        let decided = written.leases.reconcile(&message.claims, rules, stamp.moment, &reusable);
        if !written.must_change(&decided.leases, rules, stamp.moment) {
            self.parts.show(&decided, &stamp, None);
            return Ok(decided);
        }
        let sealed = lease_file::seal(&decided.leases, &stamp);
        match boshy_state::replace_in_time(file, move || sealed).await {
            Ok(()) => {
                log_changes(&written.leases, &decided.leases);
                *written = Written { leases: decided.leases.clone(), at: stamp.moment };
                self.parts.show(&decided, &stamp, None);
                Ok(decided)
            }
            Err(refused) => {
                let told = decided.as_written_in(&written.leases);
                self.parts.show(&told, &stamp, Some(&refused));
                // No served lease is in the table on disk, so that table belongs to another mesh and cannot be used.
                if told.leases.held() == 0 && decided.leases.held() > 0 { Err(refused.into()) } else { Ok(told) }
            }
        }
    }
}

impl VipPoolParts {
    fn show(&self, told: &Reconciled, stamp: &Stamp, refused: Option<&StateFileError>) {
        let Self { file, rules, report, .. } = self;
        let remedy = || {
            format!(
                "Make {} writable for the pilot, with room on the disk; until then no service gets a virtual IP that has none.",
                file.display()
            )
        };
        let reason = refused.map(|error| Report::new(error).to_string());
        let lack = lack(&report.load(), stamp, reason, remedy);
        report.store(Arc::new(PoolReport { status: status(rules, told), lack }));
    }

    /// Keeps the agreed leases with the times of their quarantine, which are this machine's. Nothing waits for the disk:
    /// the table itself is kept by `lease_agreement`.
    async fn keep_agreed(&self, written: &mut Written, agreed: Leases, told: &Reconciled, stamp: &Stamp) {
        let sealed = lease_file::seal(&agreed, stamp);
        let refused = match written.must_change(&agreed, &self.rules, stamp.moment) {
            true => boshy_state::replace_in_time(&self.file, move || sealed).await.err(),
            false => None,
        };
        log_changes(&written.leases, &agreed);
        *written = Written { leases: agreed, at: stamp.moment };
        self.show(told, stamp, refused.as_ref());
    }

    /// Reports that there is no table. The served snapshot stays.
    fn show_unread(&self, error: &LeaseError) {
        let before = self.report.load();
        let remedy = || "Make the file readable for the pilot; until then nothing changes in the mesh.".to_owned();
        let reason = Report::new(error).to_string();
        let lack = lack(&before, &self.clock.look(), Some(reason), remedy);
        self.report.store(Arc::new(PoolReport { status: before.status.clone(), lack }));
    }
}

impl Written {
    /// Whether the table has to be written.
    fn must_change(&self, decided: &Leases, rules: &LeaseRules, now: Moment) -> bool {
        let progress = || now.since(self.at) >= rules.quarantine / PROGRESS && decided.resting().next().is_some();
        self.leases != *decided || progress()
    }

    /// Until when the time alone changes nothing: neither ends a quarantine, nor is its progress to be written.
    fn stays_until(&self, rules: &LeaseRules) -> Moment {
        let ends = self.leases.resting().map(|(_, since)| since.after(rules.quarantine)).min();
        ends.map_or(Moment(i64::MAX), |end| end.min(self.at.after(rules.quarantine / PROGRESS)))
    }
}

async fn restore(file: &Path, stamp: &Stamp) -> Result<Leases, LeaseError> {
    let stamp = stamp.clone();
    let leases = boshy_state::read(file, move |content| lease_file::unseal(content, &stamp)).await;
    leases.map(Option::unwrap_or_default).map_err(|error| match error {
        ReadError::File(error) => error.into(),
        ReadError::Refused(source) => LeaseError::Refused { file: file.to_owned(), source },
    })
}

/// The report of an empty pool, before the first request.
pub(crate) fn unused(rules: &LeaseRules) -> PoolReport {
    PoolReport { status: status(rules, &Reconciled::default()), lack: None }
}

fn status(rules: &LeaseRules, told: &Reconciled) -> PoolStatus {
    let of = |unwritten| {
        let shown = told.refused.iter().filter(|(_, refusal)| (refusal.shortage == Shortage::Unwritten) == unwritten);
        shown.map(|(host, _)| host.clone()).collect()
    };
    PoolStatus {
        range: rules.range,
        capacity: rules.range.capacity(),
        held: told.leases.held() as u64,
        resting: (told.leases.iter().len() - told.leases.held()) as u64,
        refused: of(false),
        unwritten: of(true),
    }
}

/// The present lack, which is logged when it begins, changes and ends.
fn lack(before: &PoolReport, stamp: &Stamp, reason: Option<String>, remedy: impl FnOnce() -> String) -> Option<Lack> {
    let lack = reason
        .map(|reason| Lack { what: "leases", since: stamp.wall.0, reason, remedy: remedy() }.lasting(&before.lack));
    match Lack::change(before.lack.as_ref(), lack.as_ref()) {
        Some(LackChange::Lacks(lack)) => error!(reason = lack.reason, "the leases are not on disk"),
        Some(LackChange::Ended) => info!("the leases are on disk again"),
        None => {}
    }
    lack
}

fn log_changes(before: &Leases, after: &Leases) {
    for (vip, lease) in after.iter() {
        let known = before.get(vip).filter(|known| known.host == lease.host).map(|known| known.state);
        let (host, owner) = (&lease.host, lease.owner.as_ref().map(|owner| owner.place().to_string()));
        match (known, lease.state) {
            (Some(LeaseState::Held), LeaseState::Released(_)) => info!(%host, %vip, owner, "virtual IP rests"),
            (Some(LeaseState::Released(_)) | None, LeaseState::Held) => info!(%host, %vip, owner, "virtual IP leased"),
            _ => {}
        }
    }
}

impl Actor for VipPool {
    type Context = Context<Self>;
}

impl Handler<ReconcileLeases> for VipPool {
    type Result = AtomicResponse<Self, Result<Leased, LeaseError>>;

    fn handle(&mut self, message: ReconcileLeases, _: &mut Context<Self>) -> Self::Result {
        let mut pool = self.0.take().expect("one request is handled at a time");
        let handled = async move {
            let answer = pool.handle(&message).await;
            (pool, answer)
        };
        AtomicResponse::new(Box::pin(handled.into_actor(self).map(|(pool, answer), actor, _| {
            actor.0 = Some(pool);
            answer
        })))
    }
}

#[cfg(test)]
#[path = "vip_pool_tests.rs"]
mod tests;
