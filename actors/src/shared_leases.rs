//! The table of leases that all pilots share: what is agreed, and what this pilot wants next.
//!
//! `lease_agreement` is the only writer of what is agreed, and `vip_pool` of what is wanted. It outlives both.

use std::{collections::BTreeSet, sync::Arc};

use boshy_agreement::Decided;
use boshy_mesh::{Claims, LeaseRules, LeaseTable, Leases, Moment, Reconciled, Unclaimed};
use tokio::sync::watch;

/// The latest version that the pilots have agreed on; `None` before the first.
pub(crate) type Agreed = Option<Arc<Decided<LeaseTable>>>;

/// See the module's documentation. Clones share the table.
#[derive(Clone)]
pub(crate) struct SharedLeases {
    /// What is agreed. It is on this pilot's disk.
    pub(crate) agreed: Arc<watch::Sender<Agreed>>,
    /// The version that should follow; `None` when nothing has to change.
    pub(crate) wanted: Arc<watch::Sender<Agreed>>,
}

impl SharedLeases {
    /// Nothing is agreed yet.
    pub(crate) fn new() -> Self {
        Self { agreed: Arc::new(watch::Sender::new(None)), wanted: Arc::new(watch::Sender::new(None)) }
    }

    /// What is agreed.
    pub(crate) fn agreed(&self) -> Agreed {
        self.agreed.borrow().clone()
    }

    /// The agreed leases, and what may be told of them while services claim these names. `None` before the first
    /// agreement. What should change is asked for, and told once it is agreed.
    ///
    /// No address is reused early: only the proxies of this pilot are known to have let go of it.
    pub(crate) fn reconcile(
        &self,
        known: &Leases,
        unclaimed: &mut Unclaimed,
        claims: Claims,
        rules: &LeaseRules,
        now: Moment,
    ) -> Option<(Leases, Reconciled)> {
        let agreed = self.agreed();
        let leases = agreed.as_ref().map_or_else(|| known.clone(), |agreed| known.following(&agreed.value, now));
        let claims = unclaimed.claims(&leases, claims, now);
        let next = leases.reconcile(&claims, rules, now, &BTreeSet::new());
        self.want(agreed.as_deref(), next.leases.table());
        agreed
            .map(|agreed| (leases.clone(), Reconciled { table: Some(agreed.slot + 1), ..next.as_written_in(&leases) }))
    }

    /// Asks for a table to follow the agreed one, or for nothing when it is the same.
    fn want(&self, agreed: Option<&Decided<LeaseTable>>, table: LeaseTable) {
        let slot = agreed.map_or(0, |agreed| agreed.slot + 1);
        let differs = agreed.is_none_or(|agreed| agreed.value != table);
        let wanted = differs.then(|| Arc::new(Decided { slot, value: table }));
        self.wanted.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }
}
