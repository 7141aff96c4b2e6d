//! Rules that something else changed are noticed and put back.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use boshy_netfilter::{Backend, Deviation, Guard, Iptables, Netlink, Nft, Ownership, Watch};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::world::{alone, every_backend, ruleset, sh};

fn guarded(backend: Box<dyn Backend>) -> Guard {
    let mut guard = Guard::new(backend, ruleset());
    assert_eq!(guard.check().unwrap().unwrap().deviations, [Deviation::AllMissing]);
    guard.apply().unwrap();
    assert_eq!(guard.check().unwrap(), None);
    guard
}

/// Does something to the rules, and answers what the guard says; then the guard puts them back.
fn found_after(guard: &mut Guard, line: &str) -> Vec<String> {
    sh(line);
    let drift = guard.check().unwrap().unwrap_or_else(|| panic!("`{line}` is not noticed by {}", guard.backend()));
    guard.apply().unwrap();
    assert_eq!(guard.check().unwrap(), None, "after `{line}`");
    drift.deviations.iter().map(ToString::to_string).collect()
}

#[test]
fn whatever_is_done_to_the_own_table_is_noticed_and_repaired() {
    alone(|| {
        let backends: [Box<dyn Backend>; 2] =
            [Box::new(Netlink::open(Ownership::Shared).unwrap()), Box::new(Nft::open().unwrap())];
        for backend in backends {
            let mut guard = guarded(backend);
            let guard = &mut guard;
            assert_eq!(found_after(guard, "nft flush ruleset"), ["all rules are missing"]);
            assert_eq!(found_after(guard, "nft delete table inet boshy"), ["all rules are missing"]);
            assert_eq!(found_after(guard, "nft flush chain inet boshy capture").len(), 5);
            let extra = found_after(guard, "nft insert rule inet boshy capture counter accept");
            assert!(extra.len() == 1 && extra[0].contains("counter"), "{extra:?}");
            assert_eq!(found_after(guard, "nft add chain inet boshy stranger"), ["chain stranger is not ours"]);
            let dormant = "nft add table inet boshy '{ flags dormant; }'";
            assert_eq!(found_after(guard, dormant), ["the table is switched off (dormant)"]);
            let later = "nft list table inet boshy | sed 's/-105/-95/' > $BOSHY_NETFILTER_TEST_HOME/later \
                && nft delete table inet boshy && nft -f $BOSHY_NETFILTER_TEST_HOME/later";
            let later = found_after(guard, later);
            assert!(later.len() == 1 && later[0].contains("priority -95"), "{later:?}");
            guard.remove().unwrap();
        }
    });
}

#[test]
fn whatever_is_done_to_the_own_chain_is_noticed_and_repaired() {
    alone(|| {
        let mut guard = guarded(Box::new(Iptables::open().unwrap()));
        let guard = &mut guard;
        let jump = "OUTPUT -d 169.254.255.0/24 -p tcp -j BOSHY_OUTPUT";
        assert_eq!(found_after(guard, "iptables -w 5 -t nat -F BOSHY_OUTPUT").len(), 5);
        let without_jump = found_after(guard, &format!("iptables -w 5 -t nat -D {jump}"));
        assert!(without_jump[0].starts_with("chain OUTPUT lacks"), "{without_jump:?}");
        let twice = found_after(guard, &format!("iptables -w 5 -t nat -A {jump}"));
        assert!(twice.len() == 1 && twice[0].starts_with("chain OUTPUT has"), "{twice:?}");
        let stranger = found_after(guard, "iptables -w 5 -t nat -I BOSHY_OUTPUT -s 10.0.0.1 -j ACCEPT");
        assert_eq!(stranger, ["chain BOSHY_OUTPUT has `-s 10.0.0.1/32 -j ACCEPT`, which is not ours"]);
        let gone = found_after(guard, "iptables -w 5 -t nat -F && iptables -w 5 -t nat -X");
        assert_eq!(gone, ["all rules are missing"]);
        guard.remove().unwrap();
    });
}

#[test]
fn changes_of_others_are_no_drift() {
    alone(|| {
        for backend in every_backend() {
            let mut guard = guarded(backend);
            sh(
                "nft add table inet other && nft add chain inet other c && nft add rule inet other c tcp dport 22 return \
                && iptables -w 5 -t nat -A OUTPUT -p tcp -d 10.9.9.9 -j REDIRECT --to-ports 9",
            );
            assert_eq!(guard.check().unwrap(), None, "{}", guard.backend());
            sh("nft delete table inet other && iptables -w 5 -t nat -F OUTPUT");
            guard.remove().unwrap();
        }
    });
}

#[test]
fn the_watch_tells_of_a_change_at_once() {
    alone(|| {
        let mut guard = guarded(Box::new(Netlink::open(Ownership::Shared).unwrap()));
        let mut watch = Watch::open().unwrap();
        assert!(!watch.changed().unwrap());
        sh("nft delete table inet boshy");
        let begun = Instant::now();
        let mut waited = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut waited, PollTimeout::from(5000u16)).unwrap(), 1);
        assert!(watch.changed().unwrap());
        assert!(guard.check().unwrap().is_some());
        guard.apply().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // Its own writing is a change as well, and then there is silence.
        assert!(watch.changed().unwrap());
        assert_eq!(guard.check().unwrap(), None);
        assert!(!watch.changed().unwrap());
    });
}
