//! Virtual-IP leases: the table.
//!
//! A virtual IP must never lead to another service, because clients cache answers and hold connections. Therefore:
//!
//! * A lease belongs to a host name and to the job that owns that name. Changes to other services never move it.
//! * Of two jobs with the same host name, the current owner keeps it. The other job is another service: it gets the
//!   name once the name is free, but never the address that went with it.
//! * A released address is quarantined before another service may get it. Its own service gets it back at any time.
//! * The first choice of address is derived from the name, so that even a lost table comes out nearly the same.
//!   *Nearly*: two names with the same first choice are served in order of arrival, and only the table remembers that
//!   order.
//!
//! Leases outside the configured range are dropped: an operator who changes the range renumbers on purpose.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use crate::{ANSWER_TTL, Hostname, Moment, Origin};

/// No address is given to another service before this time has passed, whatever the demand: by then every answer that
/// contains the address has expired ten times.
pub const EARLIEST_REUSE: Duration = Duration::from_secs(10 * ANSWER_TTL as u64);

/// State of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The service exists.
    Held,
    /// The service has been gone since this moment; the address is in quarantine.
    Released(Moment),
}

/// The owner of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name that resolves to the address.
    pub host: Hostname,
    /// The job that owns the name. `None` in a table written before owners were recorded, until the name is claimed
    /// again.
    pub owner: Option<Origin>,
    /// Held or in quarantine.
    pub state: LeaseState,
}

/// All leases, by address. A host name is held at most once. It may have further addresses in quarantine, one for each
/// earlier owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_vip: BTreeMap<Ipv4Addr, Lease>,
    held: BTreeMap<Hostname, Ipv4Addr>,
}

/// Why written leases are not a valid table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseConflict {
    /// Two names share an address.
    Shared(Hostname, Hostname),
    /// A name holds two addresses.
    Twice(Hostname, [Ipv4Addr; 2]),
}

impl Leases {
    /// Restores a table from leases that were written to disk.
    ///
    /// # Errors
    /// When two leases share an address, or a name is held twice. Neither occurs in a table written by boshy.
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

    /// Address of a held name.
    pub fn vip(&self, host: &Hostname) -> Option<Ipv4Addr> {
        self.held.get(host).copied()
    }

    /// Lease of a held name.
    pub fn holder(&self, host: &Hostname) -> Option<&Lease> {
        self.get(self.vip(host)?)
    }

    /// The lease of an address, held or in quarantine.
    pub fn get(&self, vip: Ipv4Addr) -> Option<&Lease> {
        self.by_vip.get(&vip)
    }

    /// All leases, ordered by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Ipv4Addr, &Lease)> {
        self.by_vip.iter().map(|(vip, lease)| (*vip, lease))
    }

    /// Number of held names.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Addresses in quarantine, with the moment of their release.
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

    /// Removes an address that is in quarantine.
    pub(crate) fn forget(&mut self, vip: Ipv4Addr) -> Option<Lease> {
        self.by_vip.remove(&vip)
    }

    /// The part of this table that is also in `written`, the table last written to disk. Only this part may be
    /// published while the new table cannot be written. A lease that is released here and held there is left out as
    /// well: publishing its removal is safe, because no service gets the address.
    pub(crate) fn as_written_in(&self, written: &Self) -> Self {
        let mut known = Self::default();
        for (vip, lease) in self.iter() {
            // The owner is not compared: a held address changes its owner only by adoption or migration, which keep the
            // service.
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
