//! Addresses at which a pilot was found with an older table of leases.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long others are preferred. It is longer than the longest pause between two attempts, so that a pilot that stays
/// behind does not keep a VM from one that does not.
const WHILE: Duration = Duration::from_secs(60);

/// Addresses that are tried after all others for a while. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Avoided(Arc<Mutex<BTreeMap<SocketAddr, Instant>>>);

impl Avoided {
    /// Avoids an address from now on.
    pub(super) fn add(&self, address: SocketAddr, now: Instant) {
        self.at(now).insert(address, now);
    }

    /// Whether an address is avoided.
    pub(super) fn has(&self, address: &SocketAddr, now: Instant) -> bool {
        self.at(now).contains_key(address)
    }

    /// The addresses with the avoided ones last, of which the one comes first that was found first.
    pub(super) fn last(&self, mut addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        let at = self.at(now);
        addresses.sort_by_key(|address| at.get(address).copied());
        addresses
    }

    fn at(&self, now: Instant) -> MutexGuard<'_, BTreeMap<SocketAddr, Instant>> {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.retain(|_, at| now.saturating_duration_since(*at) < WHILE);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_avoided_comes_last_and_not_for_ever() {
        let all = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(|address| address.parse().unwrap());
        let [one, two, three] = all;
        let avoided = Avoided::default();
        let begun = Instant::now();
        let later = begun + Duration::from_secs(1);
        avoided.add(two, begun);
        avoided.add(one, later);
        assert_eq!(avoided.last(all.to_vec(), later), [three, two, one]);
        assert!(avoided.has(&one, later) && !avoided.has(&three, later));
        assert_eq!(avoided.last(all.to_vec(), later + WHILE), all);
    }
}
