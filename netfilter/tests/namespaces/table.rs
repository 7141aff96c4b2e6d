//! Tests what is written, as seen by `nft` and another reader, and that everything is removed.

use std::{
    env,
    fs::{self, File},
    net::SocketAddrV4,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use boshy_netfilter::{
    Base, Cause, Chain, Error, Found, Guard, Hook, Match, Netlink, Operation, Ownership, Pairs, Policy, Redirect, Rule,
    Ruleset, Set, Verdict, difference,
};

use crate::world::{BOTH, alone, beside, guarded, one_pair, pairs, present, role, rules, sh, written};

fn listing() -> String {
    sh("nft list ruleset")
}

#[test]
fn nft_lists_what_was_written_as_it_was_meant() {
    alone(|| {
        let _guard = guarded(Ownership::Shared, &pairs(["169.254.255.9:9002", "169.254.255.9:22"]));
        let listing = sh("nft --numeric list table inet boshy");
        for line in [
            "type ipv4_addr . inet_service",
            "169.254.255.9 . 9002",
            "169.254.255.9 . 22",
            "type nat hook output priority -105; policy accept;",
            "ip daddr 169.254.255.0/24 jump capture",
            "ip daddr . tcp dport @pairs redirect to :15001",
            "meta l4proto 6 reject with tcp reset",
            "meta l4proto 17 redirect to :0",
        ] {
            assert!(listing.contains(line), "no `{line}` in {listing}");
        }
    });
}

/// An operator may reload a listing made by `nft`, so it must be recognised.
#[test]
fn what_nft_writes_of_a_listing_is_recognised() {
    alone(|| {
        // A whole-byte prefix, another prefix and a single address use three different sets of expressions.
        for range in ["169.254.255.0/24", "169.254.240.0/20", "10.9.8.7/32", "128.0.0.0/1"] {
            let ruleset = Redirect::new(range.parse().unwrap(), 15001).unwrap().ruleset(&one_pair());
            let mut guard = Guard::open(Ownership::Shared).unwrap();
            guard.keep(&ruleset).unwrap();
            let file = "$BOSHY_NETFILTER_TEST_HOME/listing";
            sh(&format!("nft list table inet boshy > {file} && nft delete table inet boshy && nft -f {file}"));
            assert_eq!(guard.keep(&ruleset).unwrap(), Found::Untouched, "{range}: {}", listing());
        }
    });
}

#[test]
fn writing_again_changes_nothing_that_can_be_seen_and_removing_leaves_nothing() {
    alone(|| {
        for ownership in BOTH {
            let mut first = guarded(ownership, &one_pair());
            let before = listing();
            drop(first);
            first = guarded(ownership, &one_pair());
            assert_eq!(listing(), before, "{ownership:?}");
            first.remove().unwrap();
            first.remove().unwrap();
            assert_eq!(listing(), "", "{ownership:?}");
        }
    });
}

#[test]
fn another_range_and_port_take_the_place_of_the_old_ones() {
    alone(|| {
        let old = guarded(Ownership::Shared, &one_pair());
        drop(old);
        let other = Redirect::new("10.96.0.0/12".parse().unwrap(), 16001).unwrap();
        let mut guard = Guard::open(Ownership::Shared).unwrap();
        assert_eq!(present(&mut guard), *one_pair());
        guard.keep(&other.ruleset(&pairs(["10.96.0.1:80"]))).unwrap();
        let now = listing();
        assert!(now.contains("10.96.0.0/12") && now.contains("16001") && now.contains("10.96.0.1 . 80"), "{now}");
        assert!(!now.contains("169.254.255") && !now.contains("15001"), "{now}");
    });
}

#[test]
fn pairs_come_and_go_and_the_set_is_exactly_what_is_wanted() {
    alone(|| {
        let mut guard = guarded(Ownership::WherePossible, &one_pair());
        let wanted = [
            pairs([]),
            pairs(["169.254.255.9:9002", "169.254.255.10:9002", "169.254.255.9:1"]),
            pairs(["169.254.255.10:9002"]),
            pairs(["169.254.255.11:65535", "169.254.255.9:9002"]),
        ];
        for wanted in wanted {
            assert_eq!(guard.keep(&rules(&wanted)).unwrap(), Found::Untouched);
            assert_eq!(present(&mut guard), *wanted);
            assert_eq!(written(&guard), Some(Arc::clone(&wanted)));
        }
    });
}

fn many(count: u32) -> Arc<Pairs> {
    let pair = |number: u32| SocketAddrV4::new((0xa9fe_0000 + number / 8).into(), 9000 + (number % 8) as u16);
    Arc::new((0..count).map(pair).collect())
}

/// Counts the kernel's notifications: one for each element that was added or removed.
#[test]
fn one_more_pair_beside_five_thousand_is_one_element_in_one_transaction() {
    alone(|| {
        let mut guard = guarded(Ownership::WherePossible, &many(5000));
        assert_eq!(present(&mut guard).len(), 5000);
        let events = PathBuf::from(env::var_os("BOSHY_NETFILTER_TEST_HOME").unwrap()).join("events");
        let mut monitor = Command::new("nft").arg("monitor").stdout(File::create(&events).unwrap()).spawn().unwrap();
        let heard = |table: &str| {
            sh(&format!("nft add table ip {table} && nft delete table ip {table}"));
            fs::read_to_string(&events).unwrap().contains(&format!("table ip {table}"))
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !heard("begin") && Instant::now() < deadline {}
        guard.keep(&rules(&many(5000))).unwrap();
        guard.keep(&rules(&many(5001))).unwrap();
        while !heard("end") && Instant::now() < deadline {}
        monitor.kill().and_then(|()| monitor.wait()).unwrap();
        let told = fs::read_to_string(&events).unwrap();
        let ours: Vec<_> = told.lines().filter(|line| line.contains("boshy")).collect();
        assert_eq!(ours, ["add element inet boshy pairs { 169.254.2.113 . 9000 }"], "{told}");
    });
}

#[test]
fn a_large_set_is_one_transaction_too() {
    alone(|| {
        let mut guard = guarded(Ownership::WherePossible, &Arc::default());
        // As many as fit into an ordinary user's socket buffer; root may write twenty times as many.
        guard.keep(&rules(&many(8000))).unwrap();
        assert_eq!(present(&mut guard), *many(8000));
        guard.keep(&rules(&Arc::default())).unwrap();
        assert_eq!(present(&mut guard), Pairs::new());
    });
}

/// The redirect with a third chain, which has another hook and a set of its own.
fn with_inbound(redirected: &Arc<Pairs>, inbound: &Arc<Pairs>) -> Ruleset {
    let mut ruleset = rules(redirected);
    let base = Base { kind: "nat".into(), hook: Hook::PREROUTING, priority: -105, policy: Policy::ACCEPT };
    let rule = Rule { matches: vec![Match::DestinationIn("inbound".into())], verdict: Verdict::Redirect(15008) };
    ruleset.chains.push(Chain { name: "inbound", base: Some(base), rules: vec![rule] });
    ruleset.sets.insert("inbound", Set::Pairs(Arc::clone(inbound)));
    ruleset
}

#[test]
fn a_third_chain_with_its_own_set_is_written_compared_changed_and_removed_like_the_others() {
    alone(|| {
        for ownership in BOTH {
            let (one, other) = (pairs(["10.244.0.5:8080"]), pairs(["10.244.0.5:8080", "10.244.0.5:9090"]));
            let mut guard = guarded(ownership, &one_pair());
            // Added to a table in use, then its set alone changes.
            for wanted in [with_inbound(&one_pair(), &one), with_inbound(&one_pair(), &other)] {
                assert_eq!(guard.keep(&wanted).unwrap(), Found::Untouched);
                assert_eq!(guard.written(), Some(&wanted));
                assert_eq!(difference(&wanted, Some(&guard.present().unwrap())), []);
            }
            let table = sh("nft --numeric list table inet boshy");
            for line in [
                "type nat hook prerouting priority -105; policy accept;",
                "ip daddr . tcp dport @inbound redirect to :15008",
                "10.244.0.5 . 9090",
                "ip daddr . tcp dport @pairs redirect to :15001",
            ] {
                assert!(table.contains(line), "no `{line}` in {table}");
            }
            if ownership == Ownership::Shared {
                sh("nft flush set inet boshy inbound && nft flush chain inet boshy inbound");
                let Found::Drifted(drift) = guard.keep(&with_inbound(&one_pair(), &one)).unwrap() else { panic!() };
                assert_eq!(
                    drift.to_string(),
                    "chain inbound lacks `ip daddr . tcp dport @inbound redirect to :15008`; \
                     the set inbound lacks 2 elements, 10.244.0.5:8080 among them"
                );
            }
            // Taken out again, and the rest stays.
            assert_eq!(guard.keep(&rules(&one_pair())).unwrap(), Found::Untouched);
            assert_eq!(difference(&rules(&one_pair()), Some(&guard.present().unwrap())), []);
            guard.keep(&with_inbound(&one_pair(), &one)).unwrap();
            guard.remove().unwrap();
            assert_eq!(listing(), "", "{ownership:?}");
        }
    });
}

/// A table that the kernel must refuse: the last rule of a chain jumps to a missing chain.
fn refused() -> Ruleset {
    let mut ruleset = rules(&Arc::default());
    let nowhere = Rule { matches: vec![Match::Tcp], verdict: Verdict::Jump("nowhere".into()) };
    ruleset.chains[1].rules.push(nowhere);
    ruleset
}

#[test]
fn a_refused_table_leaves_the_old_one_whole() {
    alone(|| {
        for ownership in BOTH {
            let mut kernel = Netlink::open(ownership).unwrap();
            kernel.replace(&rules(&one_pair())).unwrap();
            let before = listing();
            let error = kernel.replace(&refused()).unwrap_err();
            let Error { operation: Operation::Apply, cause: Cause::Refused { step, .. } } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(step, "rule `meta l4proto tcp jump nowhere` of chain capture");
            assert_eq!(listing(), before, "{ownership:?}");
            // It still works.
            let empty = rules(&Arc::default());
            kernel.replace(&empty).unwrap();
            assert_eq!(difference(&empty, kernel.observe().unwrap().as_ref()), []);
            kernel.remove().unwrap();
        }
    });
}

#[test]
fn without_the_capability_the_error_names_it() {
    alone(|| {
        if role().is_some() {
            let mut guard = match Guard::open(Ownership::WherePossible) {
                Ok(guard) => guard,
                Err(error) => return assert!(error.cause.to_string().contains("needs CAP_NET_ADMIN"), "{error:?}"),
            };
            let error = guard.keep(&rules(&one_pair())).unwrap_err();
            assert_eq!(error.to_string(), "cannot apply the redirect rules");
            assert_eq!(error.cause.to_string(), "this needs CAP_NET_ADMIN");
            assert_eq!(written(&guard), None);
            return;
        }
        // In a user namespace of its own, a process has no privileges over a network namespace that existed before.
        let output = beside(&|| (), "powerless", &["unshare", "--user", "--"]).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    });
}
