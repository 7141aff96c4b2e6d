//! Which processes may change the table while the agent runs, and after it has died. Needs Linux 6.9.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use boshy_netfilter::{Cause, Found, Guard, Netlink, Ownership, Pairs, difference};

use crate::world::{alone, beside, guarded, one_pair, pairs, present, role, rules, sh, try_sh, written};

fn owned() -> Guard {
    guarded(Ownership::WherePossible, &one_pair())
}

fn is_whole() -> bool {
    let observed = Netlink::open(Ownership::Shared).unwrap().observe().unwrap();
    difference(&rules(&one_pair()), observed.as_ref()).is_empty()
}

#[test]
fn nobody_else_changes_the_table_while_its_owner_lives() {
    alone(|| {
        let mut owner = owned();
        assert!(sh("nft list table inet boshy").contains("owner"), "tests of ownership need Linux 6.9");
        for line in [
            "nft delete table inet boshy",
            "nft flush chain inet boshy capture",
            "nft flush set inet boshy pairs",
            "nft add rule inet boshy capture accept",
            "nft add table inet boshy '{ flags dormant; }'",
        ] {
            let (success, text) = try_sh(line);
            assert!(!success && text.contains("Operation not permitted"), "`{line}`: {text}");
        }
        sh("nft flush ruleset");
        assert!(is_whole());
        assert_eq!(owner.keep(&rules(&one_pair())).unwrap(), Found::Untouched);
        owner.remove().unwrap();
    });
}

#[test]
fn another_agent_is_told_who_owns_the_table() {
    alone(|| {
        let _owner = owned();
        let own = std::process::id();
        for ownership in [Ownership::WherePossible, Ownership::Shared] {
            let mut other = Guard::open(ownership).unwrap();
            for error in [other.keep(&rules(&one_pair())).unwrap_err(), other.remove().unwrap_err()] {
                assert!(matches!(error.cause, Cause::OwnedByAnother { port } if port == own), "{error:?}");
            }
            assert_eq!(written(&other), None);
        }
        assert!(is_whole());
    });
}

#[test]
fn rules_outlive_their_owner_and_then_anyone_may_remove_or_retake_them() {
    alone(|| {
        for by_nft in [false, true] {
            drop(owned());
            assert!(is_whole());
            let mut second = Guard::open(Ownership::WherePossible).unwrap();
            // The pairs of an earlier life are known before anything is written.
            assert_eq!(present(&mut second), *one_pair());
            second.keep(&rules(&one_pair())).unwrap();
            assert!(sh("nft list table inet boshy").contains("owner"));
            drop(second);
            if by_nft {
                sh("nft delete table inet boshy");
            } else {
                Guard::open(Ownership::WherePossible).unwrap().remove().unwrap();
            }
            assert!(!sh("nft list tables").contains("boshy"));
        }
    });
}

#[test]
fn a_plain_table_of_an_earlier_life_is_taken_over_and_given_back() {
    alone(|| {
        // A table without a set of pairs, as earlier versions wrote it.
        sh("nft add table inet boshy && nft add chain inet boshy capture");
        let mut owner = Guard::open(Ownership::WherePossible).unwrap();
        assert_eq!(present(&mut owner), Pairs::new());
        owner.keep(&rules(&one_pair())).unwrap();
        assert!(is_whole() && sh("nft list table inet boshy").contains("owner"));
        drop(owner);
        let mut shared = guarded(Ownership::Shared, &pairs([]));
        shared.keep(&rules(&one_pair())).unwrap();
        assert!(is_whole() && !sh("nft list table inet boshy").contains("flags"));
    });
}

/// A process that owns the table until it is killed.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn after_a_killed_agent_its_rules_work_on_and_can_be_removed() {
    alone(|| {
        if role().is_some() {
            let _owner = owned();
            println!("\nin place");
            let _ = std::io::stdin().read(&mut [0]);
            return;
        }
        let mut child = beside(&|| (), "agent", &[]);
        let mut agent = Agent(child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(agent.0.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "in place"));
        let mut other = Guard::open(Ownership::WherePossible).unwrap();
        let refused = other.remove().unwrap_err();
        assert!(matches!(refused.cause, Cause::OwnedByAnother { port } if port == agent.0.id()), "{refused:?}");
        drop(agent);
        assert!(is_whole());
        other.remove().unwrap();
        assert!(!sh("nft list tables").contains("boshy"));
    });
}
