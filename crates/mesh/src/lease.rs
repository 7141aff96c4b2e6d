//! Virtual-IP leases: the table.
//!
//! A virtual IP must never lead to another service. Clients cache answers and hold connections, so:
//!
//! * a lease belongs to a host name and to the job that has it, and is moved by nothing that happens to other services;
//! * of two jobs with the same host name, the one that has it keeps it. The other is another service: it gets the name when that is
//!   free, and never the address with it;
//! * a released address rests before another service may have it; its own service gets it back at any time;
//! * the first choice of address is derived from the name, so that even a lost table comes out nearly the same. *Nearly*:
//!   two names whose first choice is the same are served in order of arrival, and that order is what a table remembers.
//!
//! Leases outside the configured range are dropped: an operator who changes the range renumbers on purpose.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use crate::{ANSWER_TTL, Hostname, Moment, Origin};

/// Before this has passed, no address is given to another service, whatever the need: every answer that names it has expired ten
/// times.
pub const EARLIEST_REUSE: Duration = Duration::from_secs(10 * ANSWER_TTL as u64);

/// What a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The service exists.
    Held,
    /// The service is gone since then; the address rests.
    Released(Moment),
}

/// To whom an address belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name that is answered with it.
    pub host: Hostname,
    /// The job whose name that is; `None` in a table from before owners were written down, until the name is seen again.
    pub owner: Option<Origin>,
    /// Held or resting.
    pub state: LeaseState,
}

/// All leases, by address. A host name is held once at most, and may rest at other addresses, one for each earlier owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_vip: BTreeMap<Ipv4Addr, Lease>,
    held: BTreeMap<Hostname, Ipv4Addr>,
}

/// Why written leases are no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseConflict {
    /// Two names share an address.
    Shared(Hostname, Hostname),
    /// A name holds two addresses.
    Twice(Hostname, [Ipv4Addr; 2]),
}

impl Leases {
    /// Takes leases that were written down.
    ///
    /// # Errors
    /// When two share an address, or a name is held twice, as in no table of ours.
    pub fn restore(written: impl IntoIterator<Item = (Ipv4Addr, Lease)>) -> Result<Self, LeaseConflict> {
        let mut leases = Self::default();
        for (vip, lease) in written {
            if let Some(other) = leases.by_vip.get(&vip) {
                return Err(LeaseConflict::Shared(other.host.clone(), lease.host));
            }
            if lease.state == LeaseState::Held
                && let Some(other) = leases.held.get(&lease.host)
            {
                return Err(LeaseConflict::Twice(lease.host, [*other, vip]));
            }
            leases.insert(vip, lease);
        }
        Ok(leases)
    }

    /// Address of a name that is held.
    pub fn vip(&self, host: &Hostname) -> Option<Ipv4Addr> {
        self.held.get(host).copied()
    }

    /// The lease of a name that is held.
    pub fn holder(&self, host: &Hostname) -> Option<&Lease> {
        self.get(self.vip(host)?)
    }

    /// The lease of an address, held or resting.
    pub fn get(&self, vip: Ipv4Addr) -> Option<&Lease> {
        self.by_vip.get(&vip)
    }

    /// All leases in order of addresses.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Ipv4Addr, &Lease)> {
        self.by_vip.iter().map(|(vip, lease)| (*vip, lease))
    }

    /// How many names are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Addresses that rest, with the moment they were released.
    pub fn resting(&self) -> impl Iterator<Item = (Ipv4Addr, Moment)> {
        self.iter().filter_map(|(vip, lease)| match lease.state {
            LeaseState::Held => None,
            LeaseState::Released(at) => Some((vip, at)),
        })
    }

    pub(crate) fn insert(&mut self, vip: Ipv4Addr, lease: Lease) {
        if lease.state == LeaseState::Held {
            self.held.insert(lease.host.clone(), vip);
        }
        self.by_vip.insert(vip, lease);
    }

    /// Takes a resting address out.
    pub(crate) fn forget(&mut self, vip: Ipv4Addr) -> Option<Lease> {
        self.by_vip.remove(&vip)
    }

    /// The part of this table that also stands in one that was written down before: what may be told while this one cannot be
    /// written. What rests here and is held there is left out as well: it may be told to be gone, and nobody gets it.
    pub(crate) fn as_written_in(&self, written: &Self) -> Self {
        let mut known = Self::default();
        for (vip, lease) in self.iter() {
            // Whoever the owner was: a held address gets another one by adoption or migration only, and so for the same service.
            let same = |old: &&Lease| old.host == lease.host && old.state == LeaseState::Held;
            if lease.state != LeaseState::Held || written.get(vip).filter(same).is_some() {
                known.insert(vip, lease.clone());
            }
        }
        known
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
