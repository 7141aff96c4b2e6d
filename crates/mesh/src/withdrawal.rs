//! Decides which quarantined addresses no client can be led by any more.
//!
//! An address that no snapshot contains is still known to a proxy that has not accepted such a snapshot, and to a
//! client that has cached the name's answer. For proxies, each connected proxy's accepted generation is known. For
//! clients, the TTL bounds the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::{EARLIEST_REUSE, Leases, MeshSnapshot, Moment};

/// The first snapshot without an address, and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Withdrawal {
    generation: u64,
    at: Moment,
}

/// Quarantined addresses that have left the snapshot. This is not persisted: after a restart each address is observed
/// anew, which gives an agent that lost its pilot time to reconnect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawals(BTreeMap<Ipv4Addr, Withdrawal>);

impl Withdrawals {
    /// Records which quarantined addresses are absent from the published snapshot. A snapshot of generation 0 has no
    /// content and is ignored.
    pub fn observe(&mut self, leases: &Leases, published: &MeshSnapshot, now: Moment) {
        let resting: BTreeSet<_> = leases.resting().map(|(vip, _)| vip).collect();
        self.0.retain(|vip, _| resting.contains(vip));
        if published.generation == 0 || resting.len() == self.0.len() {
            return;
        }
        let served: BTreeSet<_> = published.content.services.iter().map(|plan| plan.vip).collect();
        for vip in resting.difference(&served) {
            self.0.entry(*vip).or_insert(Withdrawal { generation: published.generation, at: now });
        }
    }

    /// Addresses that may be given to another service when no other address is left. `accepted` is the oldest
    /// generation that every connected proxy has accepted completely; `None` when no proxy is connected.
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
