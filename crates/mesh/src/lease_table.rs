//! The leases as several pilots agree on them.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use crate::{Claim, Claims, Hostname, Lease, LeaseState, Leases, Moment, Origin};

/// All leases by address, without the moments of their release: a moment is measured by the clock of one machine. Each
/// pilot measures a quarantine by itself, from when it learnt of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseTable(BTreeMap<Ipv4Addr, AgreedLease>);

/// A lease in such a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreedLease {
    /// The name that resolves to the address.
    pub host: Hostname,
    /// The job that owns the name, if known.
    pub owner: Option<Origin>,
    /// Whether the service is gone. The address is in quarantine then.
    pub released: bool,
}

impl LeaseTable {
    /// A table of these leases.
    pub fn new(leases: impl IntoIterator<Item = (Ipv4Addr, AgreedLease)>) -> Self {
        Self(leases.into_iter().collect())
    }

    /// All leases, ordered by address.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Ipv4Addr, &AgreedLease)> {
        self.0.iter().map(|(vip, lease)| (*vip, lease))
    }
}

impl Leases {
    /// The table as other pilots see it.
    #[must_use]
    pub fn table(&self) -> LeaseTable {
        LeaseTable::new(self.iter().map(|(vip, lease)| {
            let released = lease.state != LeaseState::Held;
            (vip, AgreedLease { host: lease.host.clone(), owner: lease.owner.clone(), released })
        }))
    }

    /// The leases of an agreed table. A quarantine that is known here goes on; any other begins now.
    #[must_use]
    pub fn following(&self, table: &LeaseTable, now: Moment) -> Self {
        let mut leases = Self::default();
        for (vip, AgreedLease { host, owner, released }) in table.iter() {
            let known = self.get(vip).filter(|known| known.host == *host).map(|known| known.state);
            let state = match known {
                _ if !released => LeaseState::Held,
                Some(LeaseState::Released(since)) => LeaseState::Released(since),
                _ => LeaseState::Released(now),
            };
            leases.insert(vip, Lease { host: host.clone(), owner: owner.clone(), state });
        }
        leases
    }
}

/// Held leases that no service claims here, and since when.
///
/// Another pilot may have leased an address for a service that this one has not read yet. Therefore a lease that others
/// hold is released only after this pilot has seen for a while that nobody claims it.
#[derive(Clone, Debug, Default)]
pub struct Unclaimed(BTreeMap<Hostname, Moment>);

impl Unclaimed {
    /// How long a lease is kept for a service that is not seen: twice the time in which a pilot reads everything.
    pub const PATIENCE: Duration = Duration::from_secs(600);

    /// Whether all held leases are claimed here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The claims, with those of services that were not seen for less than [`Unclaimed::PATIENCE`].
    #[must_use]
    pub fn claims(&mut self, leases: &Leases, mut claims: Claims, now: Moment) -> Claims {
        let held = leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held);
        let held = held.map(|(_, Lease { host, owner, .. })| (host, owner));
        let unclaimed: BTreeMap<_, _> = held.filter(|(host, _)| !claims.contains_key(*host)).collect();
        self.0.retain(|host, _| unclaimed.contains_key(host));
        for (host, owner) in unclaimed {
            let since = *self.0.entry(host.clone()).or_insert(now);
            if let Some(owner) = owner
                && now.since(since) < Self::PATIENCE
            {
                claims.insert(host.clone(), vec![Claim { owner: owner.clone(), formerly: Vec::new() }]);
            }
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tld;

    const VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 7);

    fn leases(state: LeaseState) -> Leases {
        let host = Hostname::of_service("app", "web", "shop", &Tld::default()).unwrap();
        Leases::restore([(VIP, Lease { host, owner: None, state })]).unwrap()
    }

    #[test]
    fn a_quarantine_goes_on_at_a_pilot_that_knows_it_and_begins_at_another() {
        let released = leases(LeaseState::Released(Moment(5))).table();
        for (before, since) in
            [(leases(LeaseState::Released(Moment(5))), 5), (leases(LeaseState::Held), 9), (Leases::default(), 9)]
        {
            assert_eq!(before.following(&released, Moment(9)), leases(LeaseState::Released(Moment(since))));
        }
    }

    #[test]
    fn a_service_that_comes_back_elsewhere_comes_back_here() {
        let held = leases(LeaseState::Held);
        assert_eq!(leases(LeaseState::Released(Moment(5))).following(&held.table(), Moment(9)), held);
    }

    #[test]
    fn a_lease_of_a_service_that_only_others_see_is_released_after_a_while() {
        let host = Hostname::of_service("app", "web", "shop", &Tld::default()).unwrap();
        let owner = Some(Origin { deployment: "shop".into(), group: "web".into(), job: "app".into() });
        let lease = Lease { host: host.clone(), owner, state: LeaseState::Held };
        let leases = Leases::restore([(VIP, lease)]).unwrap();
        let mut unclaimed = Unclaimed::default();
        let mut is_claimed = |seen: bool, seconds: i64| {
            let claim = Claim { owner: leases.get(VIP).unwrap().owner.clone().unwrap(), formerly: Vec::new() };
            let claims = seen.then(|| (host.clone(), vec![claim])).into_iter().collect();
            unclaimed.claims(&leases, claims, Moment(seconds * 1_000)).contains_key(&host)
        };
        assert!(is_claimed(false, 0));
        assert!(is_claimed(false, 599));
        assert!(is_claimed(true, 600), "the service was seen");
        assert!(is_claimed(false, 601), "the time begins again");
        assert!(!is_claimed(false, 1_201));
    }
}
