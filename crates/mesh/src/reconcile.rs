//! Who gets which address: from one table of leases to the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{Hostname, Lease, LeaseState, Leases, Moment, Origin, VipRange, VipShare};

/// Who wants which name, those with the better right first; never an empty list. A lease that exists is a better right than any.
pub type Claims = BTreeMap<Hostname, Vec<Claim>>;

/// A job that wants a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub owner: Origin,
    /// What it was called before, as its group says (`migrated_from`). It is the same service on the same VMs, and takes over what it
    /// had by those names.
    pub formerly: Vec<Origin>,
}

/// What an operator has chosen.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRules {
    /// Where addresses come from.
    pub range: VipRange,
    /// How long a freed address rests when there are others to give.
    pub quarantine: Duration,
    /// How much of the range one deployment may take.
    pub share: VipShare,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// None is free.
    Exhausted,
    /// The deployment has as many as one deployment may have, which is so many.
    Share(u64),
    /// It has one that is not written down yet, because the table cannot be written.
    Unwritten,
}

/// A name without an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who would have it.
    pub owner: Origin,
    /// Why not.
    pub shortage: Shortage,
}

/// What [`Leases::reconcile`] decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// The new table, to be persisted before it is published.
    pub leases: Leases,
    /// Names that got no address.
    pub refused: BTreeMap<Hostname, Refusal>,
}

impl Leases {
    /// The table for exactly the names that are claimed: who has a name keeps it with its address, new names get an address,
    /// vanished ones begin to rest, and those that rested for the quarantine are forgotten.
    ///
    /// `reusable` are resting addresses that may be given away before their quarantine is over when nothing else is left; the one
    /// that has rested longest goes first.
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
                    refused.insert(host.clone(), Refusal { owner: owner.clone(), shortage });
                }
            }
        }
        Reconciled { leases: pool.leases, refused }
    }

    /// What stays of this table before anything new is given.
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

/// How good the right of a lease to its name is. Who has the name is before all others, then who had it last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Had(Moment),
    Has,
}

impl Right {
    /// `None` when nobody may have the lease who wants the name.
    fn of(lease: &Lease, claims: &Claims) -> Option<Self> {
        claimant(lease, claims.get(&lease.host)?)?;
        Some(match lease.state {
            LeaseState::Held => Self::Has,
            LeaseState::Released(at) => Self::Had(at),
        })
    }
}

/// Of those who want the name of a lease, the one whose lease it is: its owner, or who says to have been its owner. A lease of an
/// unknown owner is for the first.
fn claimant<'a>(lease: &Lease, claimants: &'a [Claim]) -> Option<&'a Origin> {
    let Some(owner) = &lease.owner else { return claimants.first().map(|claim| &claim.owner) };
    let same = claimants.iter().find(|claim| claim.owner == *owner);
    same.or_else(|| claimants.iter().find(|claim| claim.formerly.contains(owner))).map(|claim| &claim.owner)
}

/// How many addresses a deployment has. Those that rest count as well, so that who changes all its names takes nobody else's.
#[derive(Clone, Copy, Default)]
struct Share {
    held: u64,
    resting: u64,
}

/// The table in the making.
struct Pool<'a> {
    leases: Leases,
    rules: &'a LeaseRules,
    /// What each deployment has.
    shares: BTreeMap<String, Share>,
    /// Resting addresses that may be given, by deployment; the one that has rested longest first.
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
            // What it takes here it gives up there.
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

    /// The address that has rested longest, of one deployment or of all.
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
    /// What may be told while the new table cannot be written: the part that stands in the `written` one too. The rest has no
    /// address yet.
    #[must_use]
    pub fn as_written_in(&self, written: &Leases) -> Self {
        let leases = self.leases.as_written_in(written);
        let mut refused = self.refused.clone();
        for (_, lease) in self.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held) {
            if leases.vip(&lease.host).is_none()
                && let Some(owner) = lease.owner.clone()
            {
                refused.insert(lease.host.clone(), Refusal { owner, shortage: Shortage::Unwritten });
            }
        }
        Self { leases, refused }
    }
}

/// Where the search for an address begins: the first eight octets of the name's SHA-256, the same on every machine and release.
fn first_choice(host: &Hostname) -> u64 {
    let digest = Sha256::digest(host.as_str());
    digest.iter().take(8).fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
