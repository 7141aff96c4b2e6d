//! Decides which names DNS may answer, and which pairs must be redirected to the proxy at the same time.
//!
//! A name is answered only once connections to its address are redirected to the proxy, and they are redirected for as
//! long as it is answered. Two actors ensure this by what each has last published, and neither waits for the other:

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use boshy_mesh::NameTable;
use boshy_netfilter::Pairs;

/// The addresses whose connections are redirected to the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Redirected {
    /// No address is known to be redirected: rules could not be written yet, or they were removed and cannot be
    /// restored.
    #[default]
    Unknown,
    /// Another program redirects, and is trusted to do so.
    Elsewhere,
    /// These addresses.
    From(Arc<BTreeSet<Ipv4Addr>>),
}

impl Redirected {
    /// The addresses of the pairs that are in place.
    pub(crate) fn by(pairs: &Pairs) -> Self {
        Self::From(Arc::new(pairs.iter().map(|pair| *pair.ip()).collect()))
    }
}

/// The names that may be answered, of those that the proxy can serve; `None` while that is unknown.
pub(crate) fn answerable(names: &Arc<NameTable>, redirected: &Redirected) -> Option<Arc<NameTable>> {
    let addresses = match redirected {
        Redirected::Unknown => return None,
        Redirected::Elsewhere => return Some(Arc::clone(names)),
        Redirected::From(addresses) => addresses,
    };
    if names.iter().all(|(_, vip)| addresses.contains(&vip)) {
        return Some(Arc::clone(names));
    }
    let redirected = names.iter().filter(|(_, vip)| addresses.contains(vip));
    Some(Arc::new(redirected.map(|(host, vip)| (host.clone(), vip)).collect()))
}

/// The pairs to redirect: those that the proxy serves, and those in place whose name is still answered. When an address
/// is still served on another port, only the missing port is removed. While the served pairs are unknown, nothing
/// changes.
pub(crate) fn wanted(served: Option<&Arc<Pairs>>, in_place: &Arc<Pairs>, answered: &NameTable) -> Arc<Pairs> {
    let Some(served) = served else { return Arc::clone(in_place) };
    let mut leaving = in_place.difference(served).peekable();
    if leaving.peek().is_none() {
        return Arc::clone(served);
    }
    let answered: BTreeSet<Ipv4Addr> = answered.iter().map(|(_, vip)| vip).collect();
    let still_served: BTreeSet<Ipv4Addr> = served.iter().map(|pair| *pair.ip()).collect();
    let kept: Vec<_> =
        leaving.filter(|pair| answered.contains(pair.ip()) && !still_served.contains(pair.ip())).copied().collect();
    if kept.is_empty() {
        return Arc::clone(served);
    }
    Arc::new(served.iter().copied().chain(kept).collect())
}

#[cfg(test)]
mod tests {
    use boshy_mesh::Hostname;
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[(&str, u8)]) -> Arc<NameTable> {
        Arc::new(names.iter().map(|(host, last)| (Hostname::parse(host).unwrap(), vip(*last))).collect())
    }

    fn vip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(169, 254, 255, last)
    }

    fn pairs(pairs: &[(u8, u16)]) -> Arc<Pairs> {
        Arc::new(pairs.iter().map(|(last, port)| std::net::SocketAddrV4::new(vip(*last), *port)).collect())
    }

    #[test]
    fn a_name_is_answered_once_its_address_is_led() {
        let both = names(&[("a.b.c.boshy", 1), ("d.e.f.boshy", 2)]);
        assert_eq!(answerable(&both, &Redirected::Unknown), None);
        assert_eq!(answerable(&both, &Redirected::Elsewhere), Some(Arc::clone(&both)));
        assert_eq!(answerable(&both, &Redirected::by(&pairs(&[]))), Some(names(&[])));
        assert_eq!(answerable(&both, &Redirected::by(&pairs(&[(1, 80)]))), Some(names(&[("a.b.c.boshy", 1)])));
        assert_eq!(answerable(&both, &Redirected::by(&pairs(&[(1, 80), (2, 22), (3, 1)]))), Some(both));
    }

    #[test]
    fn what_is_not_known_to_be_served_changes_nothing() {
        let in_place = pairs(&[(1, 80), (2, 22)]);
        assert_eq!(wanted(None, &in_place, &names(&[])), in_place);
        assert_eq!(wanted(Some(&pairs(&[])), &in_place, &names(&[])), pairs(&[]));
    }

    #[test]
    fn a_pair_goes_after_its_name_and_a_port_by_itself() {
        let in_place = pairs(&[(1, 80), (1, 81), (2, 22)]);
        let answered = names(&[("a.b.c.boshy", 1), ("d.e.f.boshy", 2)]);
        let served = pairs(&[(1, 80)]);
        assert_eq!(wanted(Some(&served), &in_place, &answered), pairs(&[(1, 80), (2, 22)]));
        assert_eq!(wanted(Some(&served), &in_place, &names(&[("a.b.c.boshy", 1)])), served);
    }

    /// One of the two actors takes its turn, or the announced and served set changes.
    #[derive(Clone, Debug)]
    enum Turn {
        Announce(Vec<u8>),
        Serve(Vec<(u8, u16)>),
        Write,
        Answer,
    }

    fn turn() -> impl Strategy<Value = Turn> {
        prop_oneof![
            prop::collection::vec(0u8..4, 0..4).prop_map(Turn::Announce),
            prop::collection::vec((0u8..4, 0u16..3), 0..6).prop_map(Turn::Serve),
            Just(Turn::Write),
            Just(Turn::Answer),
        ]
    }

    proptest! {
        /// For any order of turns of the two actors and the relay: an answered name is redirected to the proxy, or was
        /// when it was first answered and has lost only ports since.
        #[test]
        fn no_answered_name_is_ever_without_a_pair(turns in prop::collection::vec(turn(), 0..40)) {
            let (mut announced, mut served) = (names(&[]), pairs(&[]));
            let (mut answered, mut in_place) = (names(&[]), pairs(&[]));
            for turn in turns {
                match turn {
                    Turn::Announce(vips) => {
                        let hosts: Vec<_> = vips.iter().map(|last| (format!("a.b.c{last}.boshy"), *last)).collect();
                        announced = names(&hosts.iter().map(|(host, last)| (host.as_str(), *last)).collect::<Vec<_>>());
                    }
                    Turn::Serve(now) => served = pairs(&now),
                    Turn::Write => in_place = wanted(Some(&served), &in_place, &answered),
                    Turn::Answer => answered = answerable(&announced, &Redirected::by(&in_place)).unwrap(),
                }
                for (host, vip) in answered.iter() {
                    prop_assert!(in_place.iter().any(|pair| *pair.ip() == vip), "{host} is answered and leads nowhere");
                }
            }
        }
    }
}
