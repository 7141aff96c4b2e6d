//! Assigns addresses to names: computes the next table of leases from the current one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{Hostname, Lease, LeaseState, Leases, Moment, Origin, VipRange, VipShare};

/// The claims to each name, in descending order of right; no list is empty. An existing lease outranks every claim.
pub type Claims = BTreeMap<Hostname, Vec<Claim>>;

/// A job that claims a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub owner: Origin,
    /// Earlier origins of the job, from its group's `migrated_from`. The job is the same service on the same VMs, so it
    /// takes over the names and addresses of these origins.
    pub formerly: Vec<Origin>,
}

/// Rules that an operator has configured.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRules {
    /// The range of addresses.
    pub range: VipRange,
    /// How long a released address stays in quarantine while other addresses are free.
    pub quarantine: Duration,
    /// The part of the range that one deployment may take.
    pub share: VipShare,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No address is free.
    Exhausted,
    /// The deployment has reached its limit, given here.
    Share(u64),
    /// An address is chosen but not written to disk, because the table cannot be written.
    Unwritten,
}

/// A name without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRefusal {
    /// The job that claims the name.
    pub owner: Origin,
    /// Reason of the refusal.
    pub shortage: Shortage,
}

/// What [`Leases::reconcile`] decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The new table, to be persisted before it is published.
    pub leases: Leases,
    /// Names without an address.
    pub refused: BTreeMap<Hostname, LeaseRefusal>,
    /// Version of the table that several pilots share, counted from 1. `None` for a table of one pilot.
    pub table: Option<u64>,
}

impl Leases {
    /// The table for exactly the claimed names. An owner keeps its name and address, a new name gets an address, the
    /// address of a vanished name enters quarantine, and an address whose quarantine is over is forgotten.
    ///
    /// `reusable` are addresses in quarantine that may be given away early when no other address is left, starting with
    /// the one released first.
    #[must_use]
    pub fn reconcile(
        &self,
        claims: &Claims,
        rules: &LeaseRules,
        now: Moment,
        reusable: &BTreeSet<Ipv4Addr>,
    ) -> Reconciled {
        let leases = self.kept(claims, rules, now);
        let mut pool = Pool::new(leases, rules, reusable);
        let mut refused = BTreeMap::new();
        for (host, claimants) in claims {
            let unheld = claimants.first().filter(|_| pool.leases.vip(host).is_none());
            let Some(Claim { owner, .. }) = unheld else { continue };
            match pool.take(host, owner) {
                Ok(vip) => pool.give(vip, host, owner),
                Err(shortage) => {
                    refused.insert(host.clone(), LeaseRefusal { owner: owner.clone(), shortage });
                }
            }
        }
        Reconciled { leases: pool.leases, refused, table: None }
    }

    /// The leases of this table that stay, before any new address is assigned.
    fn kept(&self, claims: &Claims, rules: &LeaseRules, now: Moment) -> Self {
        let inside = || self.iter().filter(|(vip, _)| rules.range.is_usable(*vip));
        let mut holders: BTreeMap<&Hostname, (Right, Ipv4Addr)> = BTreeMap::new();
        for (vip, lease) in inside() {
            if let Some(right) = Right::of(lease, claims) {
                let best = holders.entry(&lease.host).or_insert((right, vip));
                *best = (*best).max((right, vip));
            }
        }
        let mut kept = Self::default();
        for (vip, lease) in inside() {
            let holds = holders.get(&lease.host).is_some_and(|(_, best)| *best == vip);
            let state = match lease.state {
                _ if holds => LeaseState::Held,
                LeaseState::Held => LeaseState::Released(now),
                LeaseState::Released(since) if now.since(since) >= rules.quarantine => continue,
                LeaseState::Released(since) => LeaseState::Released(since),
            };
            let claimant = || claims.get(&lease.host).and_then(|claimants| claimant(lease, claimants));
            let owner = if holds { claimant().cloned() } else { lease.owner.clone() };
            kept.insert(vip, Lease { host: lease.host.clone(), owner, state });
        }
        kept
    }
}

/// A lease's right to its name. The current holder comes first, then the most recent holder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Had(Moment),
    Has,
}

impl Right {
    /// `None` when no claimant of the name is entitled to the lease.
    fn of(lease: &Lease, claims: &Claims) -> Option<Self> {
        claimant(lease, claims.get(&lease.host)?)?;
        Some(match lease.state {
            LeaseState::Held => Self::Has,
            LeaseState::Released(at) => Self::Had(at),
        })
    }
}

/// The claimant that is entitled to a lease: its owner, or the job whose earlier origin is the owner. A lease of
/// unknown owner goes to the first claimant.
fn claimant<'a>(lease: &Lease, claimants: &'a [Claim]) -> Option<&'a Origin> {
    let Some(owner) = &lease.owner else { return claimants.first().map(|claim| &claim.owner) };
    let same = claimants.iter().find(|claim| claim.owner == *owner);
    same.or_else(|| claimants.iter().find(|claim| claim.formerly.contains(owner))).map(|claim| &claim.owner)
}

/// Number of addresses that a deployment has. Those in quarantine count, so that a deployment that renames all its jobs
/// does not take the addresses of others.
#[derive(Clone, Copy, Default)]
struct Share {
    held: u64,
    resting: u64,
}

/// The new table while it is being built.
struct Pool<'a> {
    leases: Leases,
    rules: &'a LeaseRules,
    /// Addresses of each deployment.
    shares: BTreeMap<String, Share>,
    /// Addresses in quarantine that may be given away, by deployment, in order of release.
    reusable: BTreeMap<Option<String>, BTreeSet<(Moment, Ipv4Addr)>>,
}

impl<'a> Pool<'a> {
    fn new(leases: Leases, rules: &'a LeaseRules, reusable: &BTreeSet<Ipv4Addr>) -> Self {
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        let mut early: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (vip, lease) in leases.iter() {
            let deployment = lease.owner.as_ref().map(|owner| owner.deployment.clone());
            if let LeaseState::Released(at) = lease.state
                && reusable.contains(&vip)
            {
                early.entry(deployment.clone()).or_default().insert((at, vip));
            }
            let Some(deployment) = deployment else { continue };
            let share = shares.entry(deployment).or_default();
            match lease.state {
                LeaseState::Held => share.held += 1,
                LeaseState::Released(_) => share.resting += 1,
            }
        }
        Self { leases, rules, shares, reusable: early }
    }

    fn take(&mut self, host: &Hostname, owner: &Origin) -> Result<Ipv4Addr, Shortage> {
        let Share { held, resting } = self.shares.get(&owner.deployment).copied().unwrap_or_default();
        let capacity = self.rules.range.capacity();
        let others = self.leases.held() as u64 - held;
        let limit = self.rules.share.limit(capacity, others);
        if held + resting >= limit {
            let shortage = if limit + others < capacity { Shortage::Share(limit) } else { Shortage::Exhausted };
            // The deployment gives up one of its own released addresses for the new one, so its total stays the same.
            return self.reuse(Some(&owner.deployment)).ok_or(shortage);
        }
        self.free(host).or_else(|| self.reuse(None)).ok_or(Shortage::Exhausted)
    }

    fn free(&self, host: &Hostname) -> Option<Ipv4Addr> {
        if self.rules.range.capacity() <= self.leases.iter().len() as u64 {
            return None;
        }
        self.rules.range.usable_from(first_choice(host)).find(|vip| self.leases.get(*vip).is_none())
    }

    /// The address that has been in quarantine longest, of one deployment or of all.
    fn reuse(&mut self, deployment: Option<&str>) -> Option<Ipv4Addr> {
        let of = |former: &Option<String>| deployment.is_none_or(|wanted| former.as_deref() == Some(wanted));
        let queues = self.reusable.iter_mut().filter(|(former, _)| of(former)).map(|(_, queue)| queue);
        let (_, vip) = queues.min_by_key(|queue| queue.first().copied())?.pop_first()?;
        self.reusable.retain(|_, queue| !queue.is_empty());
        let former = self.leases.forget(vip)?;
        if let Some(share) = former.owner.and_then(|owner| self.shares.get_mut(&owner.deployment)) {
            share.resting -= 1;
        }
        Some(vip)
    }

    fn give(&mut self, vip: Ipv4Addr, host: &Hostname, owner: &Origin) {
        self.shares.entry(owner.deployment.clone()).or_default().held += 1;
        let lease = Lease { host: host.clone(), owner: Some(owner.clone()), state: LeaseState::Held };
        self.leases.insert(vip, lease);
    }
}

impl Reconciled {
    /// What may be published while the new table cannot be written: the part that is also in the `written` table. The
    /// other names have no address yet.
    #[must_use]
    pub fn as_written_in(&self, written: &Leases) -> Self {
        let leases = self.leases.as_written_in(written);
        let mut refused = self.refused.clone();
        for (_, lease) in self.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held) {
            if leases.vip(&lease.host).is_none()
                && let Some(owner) = lease.owner.clone()
            {
                refused.insert(lease.host.clone(), LeaseRefusal { owner, shortage: Shortage::Unwritten });
            }
        }
        Self { leases, refused, table: self.table }
    }
}

/// Where the search for an address begins: the first eight octets of the name's SHA-256. It is the same on every
/// machine and in every release.
fn first_choice(host: &Hostname) -> u64 {
    let digest = Sha256::digest(host.as_str());
    digest.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
