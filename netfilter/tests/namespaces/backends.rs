//! Every backend writes the same rules, reads what any of them wrote, and leaves nothing behind.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use boshy_netfilter::{
    ALWAYS_BYPASSED, Backend, BackendKind, Cause, Chain, Iptables, Layout, MAX_BYPASSED, Match, Netlink, Nft,
    Ownership, Rule, Ruleset, Table, Verdict, detect, difference, remove_all,
};
use nix::fcntl::{Flock, FlockArg};

use crate::world::{alone, beside, every_backend, only_legacy_iptables, role, ruleset, sh};

fn everything() -> String {
    let rules = |text: String| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    sh("nft list ruleset") + &rules(sh("iptables-legacy-save -t nat"))
}

#[test]
fn every_backend_applies_reads_back_and_removes() {
    alone(|| {
        for mut backend in every_backend() {
            let kind = backend.kind();
            assert_eq!(backend.read().unwrap(), None, "{kind}");
            backend.apply(&ruleset()).unwrap();
            let observed = backend.read().unwrap();
            assert_eq!(difference(&ruleset().table(backend.layout()), observed.as_ref()), [], "{kind}");
            backend.remove().unwrap();
            assert_eq!(backend.read().unwrap(), None, "{kind}");
            backend.remove().unwrap();
            let left = everything();
            assert!(!left.to_lowercase().contains("boshy"), "{kind} left {left}");
        }
    });
}

#[test]
fn legacy_iptables_does_the_same() {
    alone(|| {
        only_legacy_iptables();
        let mut backend = Iptables::open().unwrap();
        backend.apply(&ruleset()).unwrap();
        backend.apply(&ruleset()).unwrap();
        let saved = sh("iptables-legacy-save -t nat");
        assert_eq!(saved.matches("-j BOSHY_OUTPUT").count(), 1, "{saved}");
        assert!(saved.contains("-A BOSHY_OUTPUT -p tcp -j REDIRECT --to-ports 15001"), "{saved}");
        backend.remove().unwrap();
        let left = everything();
        assert!(!left.contains("BOSHY"), "{left}");
    });
}

#[test]
fn applying_again_changes_nothing_that_can_be_seen() {
    alone(|| {
        for mut backend in every_backend() {
            backend.apply(&ruleset()).unwrap();
            let first = everything();
            backend.apply(&ruleset()).unwrap();
            assert_eq!(everything(), first, "{}", backend.kind());
            backend.remove().unwrap();
        }
    });
}

#[test]
fn another_range_and_port_take_the_place_of_the_old_ones() {
    alone(|| {
        let other = Ruleset::new("10.96.0.0/12".parse().unwrap(), 16001, [9999]).unwrap();
        for mut backend in every_backend() {
            backend.apply(&ruleset()).unwrap();
            backend.apply(&other).unwrap();
            let now = everything();
            assert!(now.contains("10.96.0.0/12") && now.contains("16001") && now.contains("9999"), "{now}");
            assert!(!now.contains("169.254.255.0/24") && !now.contains("15001"), "{now}");
            backend.remove().unwrap();
        }
    });
}

#[test]
fn netlink_and_nft_write_the_same_and_read_each_other() {
    alone(|| {
        // A whole-byte prefix, an odd one and a single address are three different sets of expressions.
        for range in ["169.254.255.0/24", "169.254.240.0/20", "10.9.8.7/32", "128.0.0.0/1"] {
            let ruleset = Ruleset::new(range.parse().unwrap(), 15001, [1, 65535]).unwrap();
            let desired = ruleset.table(&Layout::NFTABLES);
            let mut netlink = Netlink::open(Ownership::Shared).unwrap();
            let mut nft = Nft::open().unwrap();
            netlink.apply(&ruleset).unwrap();
            let by_netlink = sh("nft list table inet boshy");
            assert_eq!(difference(&desired, nft.read().unwrap().as_ref()), [], "{range}");
            nft.apply(&ruleset).unwrap();
            assert_eq!(sh("nft list table inet boshy"), by_netlink, "{range}");
            assert_eq!(difference(&desired, netlink.read().unwrap().as_ref()), [], "{range}");
        }
    });
}

#[test]
fn nft_lists_what_netlink_wrote_as_it_was_meant() {
    alone(|| {
        Netlink::open(Ownership::Shared).unwrap().apply(&ruleset()).unwrap();
        let listing = sh("nft list table inet boshy");
        for line in [
            "type nat hook output priority -105; policy accept;",
            "ip daddr 169.254.255.0/24 meta l4proto tcp jump capture",
            "tcp dport 2822 return",
            "meta l4proto tcp redirect to :15001",
        ] {
            assert!(listing.contains(line), "no `{line}` in {listing}");
        }
    });
}

/// A table that the kernel must refuse: its last rule jumps to a chain that is not there.
fn refused(backend: &dyn Backend) -> Table {
    let layout = backend.layout();
    let good = Rule { matches: vec![Match::Tcp], verdict: Verdict::Return };
    let bad = Rule { matches: vec![Match::Tcp], verdict: Verdict::Jump("nowhere".into()) };
    let chain = |name, base, rules| Chain { name, base, rules };
    Table {
        chains: vec![
            chain(layout.hook_chain, layout.base.clone(), vec![]),
            chain(layout.own_chain, None, vec![good, bad]),
        ],
    }
}

#[test]
fn a_refused_rule_set_leaves_the_old_one_whole() {
    alone(|| {
        for mut backend in every_backend() {
            backend.apply(&ruleset()).unwrap();
            let before = everything();
            let table = refused(backend.as_ref());
            let cause = backend.write(&table).unwrap_err();
            match (backend.kind(), &cause) {
                (BackendKind::Netlink, Cause::Refused { step, .. }) => {
                    assert_eq!(step, "rule `meta l4proto tcp jump nowhere` of chain capture");
                }
                (BackendKind::Nft | BackendKind::Iptables, Cause::Program(error)) => {
                    assert!(error.to_string().contains("nowhere") || error.to_string().contains("line"), "{error}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(everything(), before, "{}", backend.kind());
            // And the backend still works.
            backend.apply(&ruleset()).unwrap();
            backend.remove().unwrap();
        }
    });
}

#[test]
fn the_largest_rule_set_is_one_transaction_too() {
    alone(|| {
        let most = u16::try_from(MAX_BYPASSED - ALWAYS_BYPASSED.len()).unwrap();
        let large = Ruleset::new("169.254.240.0/20".parse().unwrap(), 15001, 20000..20000 + most).unwrap();
        for mut backend in every_backend() {
            backend.apply(&large).unwrap();
            backend.remove().unwrap();
        }
    });
}

#[test]
fn detection_takes_netlink_first_and_the_forced_one_otherwise() {
    alone(|| {
        assert_eq!(detect(None).unwrap().kind(), BackendKind::Netlink);
        for kind in [BackendKind::Netlink, BackendKind::Nft, BackendKind::Iptables] {
            assert_eq!(detect(Some(kind)).unwrap().kind(), kind);
        }
    });
}

#[test]
fn what_any_backend_left_can_be_removed_at_once() {
    alone(|| {
        Iptables::open().unwrap().apply(&ruleset()).unwrap();
        Netlink::open(Ownership::WherePossible).unwrap().apply(&ruleset()).unwrap();
        let errors = remove_all();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!everything().to_lowercase().contains("boshy"));
        assert!(remove_all().is_empty());
    });
}

#[test]
fn without_the_capability_the_error_names_it() {
    alone(|| {
        if role().is_some() {
            for kind in [BackendKind::Netlink, BackendKind::Nft, BackendKind::Iptables] {
                let Err(error) = detect(Some(kind)) else { panic!("{kind} works without the capability") };
                assert!(error.cause.to_string().contains("needs CAP_NET_ADMIN"), "{error:?}");
            }
            let Err(error) = detect(None) else { panic!("detection works without the capability") };
            assert_eq!(error.to_string(), "cannot begin to use the redirect rules by netlink");
            assert_eq!(error.cause.to_string(), "this needs CAP_NET_ADMIN");
            assert!(matches!(&remove_all()[..], [error] if matches!(error.cause, Cause::NeedsNetAdmin(_))));
            return;
        }
        // In a user namespace of its own a process has no power over a network namespace that was there before.
        let output = beside(&|| (), "powerless", &["unshare", "--user", "--"]).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    });
}

#[test]
fn a_lock_that_another_iptables_holds_is_waited_for_and_then_named() {
    alone(|| {
        only_legacy_iptables();
        let mut backend = Iptables::open().unwrap();
        let path = std::env::var_os("XTABLES_LOCKFILE").unwrap();
        let lock = Flock::lock(File::create(path).unwrap(), FlockArg::LockExclusive).unwrap();
        let begun = Instant::now();
        let error = backend.apply(&ruleset()).unwrap_err();
        assert!(begun.elapsed() >= Duration::from_secs(4), "it did not wait: {error:?}");
        assert!(matches!(&error.cause, Cause::Program(failed) if failed.to_string().contains("lock")), "{error:?}");
        drop(lock);
        backend.apply(&ruleset()).unwrap();
    });
}
