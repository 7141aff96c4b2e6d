//! Rules of other software stay unchanged, byte for byte.

use boshy_netfilter::{Guard, Ownership, Redirect};

use crate::world::{BOTH, alone, guarded, one_pair, pairs, sh};

/// Rules of a BOSH VM and a container host: the BOSH agent's table for monit and NATS, and NAT rules by iptables.
fn settle() {
    sh(r#"nft -f - <<'RULES'
table inet bosh_agent {
	set monit { type inet_service; elements = { 2822 } }
	chain monit_access_jobs {
	}
	chain monit_access {
		type filter hook output priority -1; policy accept;
		meta skuid 0 ip daddr 127.0.0.1 tcp dport @monit log prefix "monit: " accept
		ip daddr 127.0.0.1 tcp dport @monit reject
	}
}
table ip other {
	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 10.11.0.0/16 tcp dport 80 redirect to :8080
	}
}
RULES
iptables-restore -w 5 --noflush <<'RULES'
*nat
:DOCKER - [0:0]
-A OUTPUT -d 10.12.0.0/16 -m comment --comment "of others, \"quoted\"" -j DOCKER
-A DOCKER -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8081
COMMIT
*filter
-A OUTPUT -d 10.13.0.0/16 -j DROP
COMMIT
RULES"#);
}

/// All rules except for boshy's.
fn others() -> String {
    let mut all = sh("nft -a list table inet bosh_agent && nft -a list table ip other");
    for program in ["iptables-nft-save", "iptables-legacy-save"] {
        for table in ["nat", "filter"] {
            let text = sh(&format!("{program} -t {table} 2>/dev/null"));
            all.extend(text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]));
        }
    }
    all
}

fn unmoved_by(ownership: Ownership) {
    let before = others();
    assert!(before.contains("bosh_agent") && before.contains("DOCKER") && before.contains("10.13.0.0/16"), "{before}");
    let guard = guarded(ownership, &one_pair());
    assert_eq!(others(), before, "after the first rules");
    drop(guard);
    let other = Redirect::new("10.96.0.0/12".parse().unwrap(), 16001).unwrap();
    let mut guard = Guard::open(ownership).unwrap();
    guard.keep(&other.ruleset(&pairs(["10.96.0.1:80"]))).unwrap();
    assert_eq!(others(), before, "after other rules");
    guard.keep(&other.ruleset(&pairs([]))).unwrap();
    assert_eq!(others(), before, "after other pairs");
    guard.remove().unwrap();
    assert_eq!(others(), before, "after the removal");
}

#[test]
fn no_rule_of_others_is_moved() {
    alone(|| {
        settle();
        BOTH.into_iter().for_each(unmoved_by);
    });
}
