//! Who may change the table while the agent lives, and after it died. Needs Linux 6.9.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use boshy_netfilter::{Backend, Cause, Iptables, Layout, Netlink, Nft, Ownership, Ruleset, difference, remove_all};

use crate::world::{alone, beside, role, ruleset, sh, try_sh};

fn owned() -> Netlink {
    Netlink::open(Ownership::WherePossible).unwrap()
}

fn is_whole() -> bool {
    let observed = Netlink::open(Ownership::Shared).unwrap().read().unwrap();
    difference(&ruleset().table(&Layout::NFTABLES), observed.as_ref()).is_empty()
}

#[test]
fn nobody_else_changes_the_table_while_its_owner_lives() {
    alone(|| {
        let mut owner = owned();
        owner.apply(&ruleset()).unwrap();
        assert!(sh("nft list table inet boshy").contains("owner"), "tests of ownership need Linux 6.9");
        for line in [
            "nft delete table inet boshy",
            "nft flush chain inet boshy capture",
            "nft add rule inet boshy capture accept",
            "nft add table inet boshy '{ flags dormant; }'",
        ] {
            let (success, text) = try_sh(line);
            assert!(!success && text.contains("Operation not permitted"), "`{line}`: {text}");
        }
        sh("nft flush ruleset");
        assert!(is_whole());
        owner.apply(&ruleset()).unwrap();
        owner.remove().unwrap();
    });
}

#[test]
fn another_agent_is_told_who_owns_the_table() {
    alone(|| {
        let mut owner = owned();
        owner.apply(&ruleset()).unwrap();
        let own = std::process::id();
        let mut others: Vec<Box<dyn Backend>> = vec![
            Box::new(owned()),
            Box::new(Netlink::open(Ownership::Shared).unwrap()),
            Box::new(Nft::open().unwrap()),
        ];
        for other in &mut others {
            for error in [other.apply(&ruleset()).unwrap_err(), other.remove().unwrap_err()] {
                assert!(matches!(error.cause, Cause::OwnedByAnother { port } if port == own), "{error:?}");
            }
        }
        let errors = remove_all();
        assert!(errors.iter().all(|error| matches!(error.cause, Cause::OwnedByAnother { .. })), "{errors:?}");
        assert_eq!(errors.len(), 2);
        assert!(is_whole());
    });
}

#[test]
fn rules_outlive_their_owner_and_then_anyone_may_remove_or_retake_them() {
    alone(|| {
        for remover in 0..3 {
            let mut first = owned();
            first.apply(&ruleset()).unwrap();
            drop(first);
            assert!(is_whole());
            let mut second = owned();
            second.apply(&ruleset()).unwrap();
            assert!(sh("nft list table inet boshy").contains("owner"));
            drop(second);
            match remover {
                0 => owned().remove().unwrap(),
                1 => Nft::open().unwrap().remove().unwrap(),
                _ => drop(sh("nft delete table inet boshy")),
            }
            assert!(!sh("nft list tables").contains("boshy"));
        }
    });
}

#[test]
fn a_plain_table_of_an_earlier_life_is_taken_over_and_given_back() {
    alone(|| {
        let other = Ruleset::new("10.0.0.0/8".parse().unwrap(), 1, []).unwrap();
        Nft::open().unwrap().apply(&other).unwrap();
        let mut owner = owned();
        owner.apply(&ruleset()).unwrap();
        assert!(is_whole() && sh("nft list table inet boshy").contains("owner"));
        drop(owner);
        Nft::open().unwrap().apply(&ruleset()).unwrap();
        assert!(is_whole());
        Netlink::open(Ownership::Shared).unwrap().apply(&ruleset()).unwrap();
        assert!(!sh("nft list table inet boshy").contains("flags"));
    });
}

#[test]
fn iptables_does_not_care_who_owns_the_table() {
    alone(|| {
        let mut owner = owned();
        owner.apply(&ruleset()).unwrap();
        let mut iptables = Iptables::open().unwrap();
        iptables.apply(&ruleset()).unwrap();
        iptables.remove().unwrap();
        assert!(is_whole());
    });
}

/// A process that holds the table until it is killed.
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
            let mut owner = owned();
            owner.apply(&ruleset()).unwrap();
            println!("\nin place");
            let _ = std::io::stdin().read(&mut [0]);
            return;
        }
        let mut child = beside(&|| (), "agent", &[]);
        let mut agent = Agent(child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(agent.0.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "in place"));
        let refused = owned().remove().unwrap_err();
        assert!(matches!(refused.cause, Cause::OwnedByAnother { port } if port == agent.0.id()), "{refused:?}");
        drop(agent);
        assert!(is_whole());
        let errors = remove_all();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!sh("nft list tables").contains("boshy"));
    });
}
