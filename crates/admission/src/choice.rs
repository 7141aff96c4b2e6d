//! Which connection is closed for a newcomer. No effects, no clock.

use std::{collections::BTreeMap, net::IpAddr};

use nix::sys::resource::{Resource, getrlimit};

/// Connection limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections from one address.
    pub of_one_address: usize,
    /// Connections in total.
    pub in_all: usize,
}

impl Limits {
    /// These limits, with the total capped at half of this process's file descriptors. The other half is left for its
    /// work.
    #[must_use]
    pub fn within_descriptors(self) -> Self {
        let half = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(usize::MAX, |(soft, _)| usize::try_from(soft / 2).unwrap_or(usize::MAX));
        Self { in_all: self.in_all.min(half).max(1), ..self }
    }
}

/// An open connection, as input of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: u64,
    pub(crate) address: IpAddr,
    /// When data last passed over it, on any monotonic scale.
    pub(crate) last: u64,
    /// It is in use although no data may pass over it for a long time. A busy connection is never closed for a
    /// newcomer.
    pub(crate) busy: bool,
}

/// Outcome of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Room,
    /// There is room once the connection with this id is closed.
    GivesWay(u64),
    /// All connections that could be closed are busy.
    Full,
}

impl Limits {
    /// Whether there is room for a newcomer from an address that has `own` of `all` open connections.
    pub(crate) fn leave_room(self, own: usize, all: usize) -> bool {
        own < self.of_one_address && all < self.in_all
    }
}

/// Decides whether to admit a newcomer from `address`, and at which connection's cost.
pub(crate) fn choose(open: &[Seen], address: IpAddr, limits: Limits) -> Choice {
    let own = open.iter().filter(|seen| seen.address == address).count();
    if limits.leave_room(own, open.len()) {
        return Choice::Room;
    }
    if own >= limits.of_one_address {
        return gives_way(open.iter().filter(|seen| seen.address == address));
    }
    let mut of_each: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for seen in open {
        *of_each.entry(seen.address).or_default() += 1;
    }
    // An address with as few connections as the newcomer's loses none: the newcomer's address would then have more.
    let most = of_each.values().copied().max().unwrap_or(0);
    let heaviest = open.iter().filter(|seen| of_each[&seen.address] == most && most > own);
    match gives_way(heaviest) {
        Choice::Full => gives_way(open.iter().filter(|seen| of_each[&seen.address] > own)),
        choice => choice,
    }
}

fn gives_way<'s>(among: impl Iterator<Item = &'s Seen>) -> Choice {
    let silent = among.filter(|seen| !seen.busy).min_by_key(|seen| (seen.last, seen.id));
    silent.map_or(Choice::Full, |seen| Choice::GivesWay(seen.id))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { of_one_address: 3, in_all: 5 };

    fn of(address: u8, id: u64, last: u64) -> Seen {
        Seen { id, address: at(address), last, busy: false }
    }

    fn at(address: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, address).into()
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_one_of_its_address_that_has_been_silent_longest() {
        let open = [of(1, 1, 30), of(1, 2, 10), of(2, 3, 1), of(1, 4, 20)];
        assert_eq!(choose(&open, at(1), LIMITS), Choice::GivesWay(2));
        assert_eq!(choose(&open, at(2), LIMITS), Choice::Room);
    }

    #[test]
    fn when_all_places_are_taken_the_address_with_the_most_gives_way() {
        let open = [of(1, 1, 30), of(1, 2, 10), of(2, 3, 1), of(1, 4, 20), of(3, 5, 0)];
        assert_eq!(choose(&open, at(4), LIMITS), Choice::GivesWay(2));
    }

    #[test]
    fn what_is_in_use_gives_way_to_nobody() {
        let busy = |seen: Seen| Seen { busy: true, ..seen };
        let open = [busy(of(1, 1, 3)), of(1, 2, 9), busy(of(1, 3, 1))];
        assert_eq!(choose(&open, at(1), LIMITS), Choice::GivesWay(2));
        let open = open.map(busy);
        assert_eq!(choose(&open, at(1), LIMITS), Choice::Full);
        let open = [busy(of(1, 1, 3)), busy(of(1, 2, 9)), busy(of(1, 3, 1)), of(2, 4, 7), of(2, 5, 8)];
        assert_eq!(choose(&open, at(3), LIMITS), Choice::GivesWay(4));
    }

    #[test]
    fn where_everybody_has_one_nobody_loses_it() {
        let open = [of(1, 1, 0), of(2, 2, 0), of(3, 3, 0), of(4, 4, 0), of(5, 5, 0)];
        assert_eq!(choose(&open, at(1), LIMITS), Choice::Full);
        assert_eq!(choose(&open, at(6), LIMITS), Choice::GivesWay(1));
    }

    proptest! {
        /// The limits hold for any sequence of newcomers, and an address that has a connection already never costs
        /// another its only one.
        #[test]
        fn limits_hold_and_only_who_has_none_takes_the_only_connection_of_another(
            comers in prop::collection::vec((0u8..4, any::<bool>()), 1..60),
        ) {
            let limits = Limits { of_one_address: 4, in_all: 8 };
            let mut open = vec![of(9, 0, 0)];
            for (id, (address, busy)) in (1u64..).zip(comers) {
                let has_one = open.iter().any(|seen| seen.address == at(address));
                let had = open.iter().any(|seen| seen.address == at(9));
                match choose(&open, at(address), limits) {
                    Choice::Room => {}
                    Choice::GivesWay(gone) => open.retain(|seen| seen.id != gone),
                    Choice::Full => continue,
                }
                open.push(Seen { busy, ..of(address, id, id) });
                prop_assert!(open.len() <= limits.in_all);
                for each in 0..4 {
                    prop_assert!(open.iter().filter(|seen| seen.address == at(each)).count() <= limits.of_one_address);
                }
                prop_assert!(!(had && has_one) || open.iter().any(|seen| seen.address == at(9)));
            }
        }
    }
}
