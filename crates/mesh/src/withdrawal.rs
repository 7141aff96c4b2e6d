//! Which resting addresses nobody can be led by any more.
//!
//! An address that no snapshot holds is still known to a proxy that has not accepted such a snapshot, and to who resolved its name.
//! The first is known of every connected proxy; for the second there is the TTL.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::{EARLIEST_REUSE, Leases, MeshSnapshot, Moment};

/// The first snapshot seen without an address, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Withdrawal {
    generation: u64,
    at: Moment,
}

/// Resting addresses that have left the snapshot. It is not written down: after a restart each is watched anew, so that an agent
/// that has lost its pilot has time to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawals(BTreeMap<Ipv4Addr, Withdrawal>);

impl Withdrawals {
    /// Notes which resting addresses the published snapshot does not hold. A snapshot of generation 0 says nothing.
    pub fn observe(&mut self, leases: &Leases, published: &MeshSnapshot, now: Moment) {
        let resting: BTreeSet<_> = leases.resting().map(|(vip, _)| vip).collect();
        self.0.retain(|vip, _| resting.contains(vip));
        if published.generation == 0 || resting.len() == self.0.len() {
            return;
        }
        let served: BTreeSet<_> = published.content.services.iter().map(|service| service.vip).collect();
        for vip in resting.difference(&served) {
            self.0.entry(*vip).or_insert(Withdrawal { generation: published.generation, at: now });
        }
    }

    /// Addresses that may be given to another service when nothing else is left. `accepted` is the oldest generation that a connected
    /// proxy has accepted completely, `None` when none is connected.
    pub fn reusable(&self, accepted: Option<u64>, now: Moment) -> BTreeSet<Ipv4Addr> {
        let reusable = |withdrawal: &Withdrawal| {
            now.since(withdrawal.at) >= EARLIEST_REUSE
                && accepted.is_none_or(|generation| generation >= withdrawal.generation)
        };
        self.0.iter().filter(|(_, withdrawal)| reusable(withdrawal)).map(|(vip, _)| *vip).collect()
    }
}

#[cfg(test)]
#[path = "withdrawal_tests.rs"]
mod tests;
