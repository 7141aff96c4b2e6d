//! Virtual-IP leases.
//!
//! A virtual IP must never lead to another service. Clients cache answers and hold connections, so:
//!
//! * a lease belongs to a host name and is moved by nothing that happens to other services;
//! * a released address rests before another name may have it; its own name gets it back at any time;
//! * the first choice of address is derived from the name, so that even a lost table comes out nearly the same. *Nearly*:
//!   two names whose first choice is the same are served in order of arrival, and that order is what a table remembers.
//!
//! Leases outside the configured range are dropped: an operator who changes the range renumbers on purpose.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Hostname, VipRange};

/// Seconds since the Unix epoch. The domain has no clock; who calls it brings the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// What a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// The service exists.
    Held,
    /// The service is gone since then; the address rests.
    Released(Timestamp),
}

/// An address that belongs to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The virtual IP.
    pub vip: Ipv4Addr,
    /// Held or resting.
    pub state: LeaseState,
}

/// All leases, by name. No two share an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases(BTreeMap<Hostname, Lease>);

/// What [`Leases::reconcile`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// The new table, to be persisted before it is published.
    pub leases: Leases,
    /// Names that got no address, because none was free.
    pub refused: BTreeSet<Hostname>,
}

impl Leases {
    /// Takes leases that were written down.
    ///
    /// # Errors
    /// The two names that share an address, which no table of ours does.
    pub fn restore(written: impl IntoIterator<Item = (Hostname, Lease)>) -> Result<Self, (Hostname, Hostname)> {
        let mut owners = BTreeMap::new();
        let mut leases = BTreeMap::new();
        for (host, lease) in written {
            if let Some(other) = owners.insert(lease.vip, host.clone()) {
                return Err((other, host));
            }
            leases.insert(host, lease);
        }
        Ok(Self(leases))
    }

    /// Address of a name that is held.
    pub fn vip(&self, host: &Hostname) -> Option<Ipv4Addr> {
        self.0.get(host).filter(|lease| lease.state == LeaseState::Held).map(|lease| lease.vip)
    }

    /// All leases in order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Hostname, &Lease)> {
        self.0.iter()
    }

    /// The table for exactly the `wanted` names: new ones get an address, vanished ones begin to rest, and those that rested for
    /// `quarantine` are forgotten.
    #[must_use]
    pub fn reconcile(
        &self,
        wanted: &BTreeSet<Hostname>,
        range: VipRange,
        now: Timestamp,
        quarantine: Duration,
    ) -> Reconciled {
        let mut leases = self.kept(wanted, range, now, quarantine);
        let mut taken: BTreeSet<Ipv4Addr> = leases.values().map(|lease| lease.vip).collect();
        let mut refused = BTreeSet::new();
        for host in wanted {
            if leases.contains_key(host) {
                continue;
            }
            let free = (range.capacity() > taken.len() as u64)
                .then(|| range.usable_from(first_choice(host)).find(|ip| !taken.contains(ip)))
                .flatten();
            match free {
                Some(vip) => {
                    taken.insert(vip);
                    leases.insert(host.clone(), Lease { vip, state: LeaseState::Held });
                }
                None => {
                    refused.insert(host.clone());
                }
            }
        }
        Reconciled { leases: Self(leases), refused }
    }

    fn kept(
        &self,
        wanted: &BTreeSet<Hostname>,
        range: VipRange,
        now: Timestamp,
        quarantine: Duration,
    ) -> BTreeMap<Hostname, Lease> {
        let rested = |since: Timestamp| now.0.saturating_sub(since.0) >= quarantine.as_secs();
        self.0
            .iter()
            .filter(|(_, lease)| range.is_usable(lease.vip))
            .filter_map(|(host, lease)| {
                let state = match lease.state {
                    _ if wanted.contains(host) => LeaseState::Held,
                    LeaseState::Held => LeaseState::Released(now),
                    LeaseState::Released(since) if rested(since) => return None,
                    // A clock that was set back must not shorten the rest, nor prolong it beyond one quarantine.
                    LeaseState::Released(since) => LeaseState::Released(since.min(now)),
                };
                Some((host.clone(), Lease { vip: lease.vip, state }))
            })
            .collect()
    }
}

/// Where the search for an address begins: the first eight octets of the name's SHA-256, the same on every machine and release.
fn first_choice(host: &Hostname) -> u64 {
    let digest = Sha256::digest(host.as_str());
    digest.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
