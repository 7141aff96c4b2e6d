//! Rules and pairs changed by another process are detected and restored.

use boshy_netfilter::{Found, Guard, Ownership};

use crate::world::{alone, guarded, one_pair, pairs, present, rules, sh};

/// Changes the rules with a shell command, and returns the drift that the guard found and repaired.
fn found_after(guard: &mut Guard, line: &str) -> Vec<String> {
    sh(line);
    let Found::Drifted(drift) = guard.keep(&rules(&one_pair())).unwrap() else { panic!("`{line}` is not noticed") };
    assert_eq!(guard.keep(&rules(&one_pair())).unwrap(), Found::Untouched, "after `{line}`");
    assert_eq!(present(guard), *one_pair(), "after `{line}`");
    drift.deviations.iter().map(ToString::to_string).collect()
}

#[test]
fn whatever_is_done_to_the_own_table_is_noticed_and_repaired() {
    alone(|| {
        let guard = &mut guarded(Ownership::Shared, &one_pair());
        assert_eq!(found_after(guard, "nft flush ruleset"), ["all rules are missing"]);
        assert_eq!(found_after(guard, "nft delete table inet boshy"), ["all rules are missing"]);
        assert_eq!(found_after(guard, "nft flush chain inet boshy capture").len(), 3);
        let extra = found_after(guard, "nft insert rule inet boshy capture counter accept");
        assert!(extra.len() == 1 && extra[0].contains("counter"), "{extra:?}");
        assert_eq!(found_after(guard, "nft add chain inet boshy stranger"), ["chain stranger is not ours"]);
        assert_eq!(
            found_after(guard, "nft add set inet boshy stranger '{ type inet_service; }'"),
            ["set stranger is not ours"]
        );
        assert_eq!(
            found_after(guard, "nft flush set inet boshy pairs"),
            ["the set pairs lacks 1 elements, 169.254.255.9:9002 among them"]
        );
        assert_eq!(
            found_after(guard, "nft add element inet boshy pairs '{ 169.254.255.1 . 1, 169.254.255.1 . 2 }'"),
            ["the set pairs has 2 elements that are not ours, 169.254.255.1:1 among them"]
        );
        let dormant = "nft add table inet boshy '{ flags dormant; }'";
        assert_eq!(found_after(guard, dormant), ["the table is switched off (dormant)"]);
        let later = "nft list table inet boshy | sed 's/-105/-95/' > $BOSHY_NETFILTER_TEST_HOME/later \
            && nft delete table inet boshy && nft -f $BOSHY_NETFILTER_TEST_HOME/later";
        let later = found_after(guard, later);
        assert!(later.len() == 1 && later[0].contains("priority -95"), "{later:?}");
        guard.remove().unwrap();
    });
}

#[test]
fn a_change_that_is_wanted_while_something_else_changed_the_table_repairs_it_too() {
    alone(|| {
        let mut guard = guarded(Ownership::Shared, &one_pair());
        let wanted = pairs(["169.254.255.9:9002", "169.254.255.9:9003"]);
        sh("nft delete element inet boshy pairs '{ 169.254.255.9 . 9002 }'");
        assert!(matches!(guard.keep(&rules(&wanted)).unwrap(), Found::Drifted(_)));
        assert_eq!(present(&mut guard), *wanted);
    });
}

#[test]
fn changes_of_others_are_no_drift() {
    alone(|| {
        let mut guard = guarded(Ownership::Shared, &one_pair());
        sh("nft add table inet other && nft add chain inet other c && nft add rule inet other c tcp dport 22 return \
            && iptables -w 5 -t nat -A OUTPUT -p tcp -d 10.9.9.9 -j REDIRECT --to-ports 9");
        assert_eq!(guard.keep(&rules(&one_pair())).unwrap(), Found::Untouched);
        sh("nft delete table inet other");
        assert_eq!(guard.keep(&rules(&pairs([]))).unwrap(), Found::Untouched);
    });
}
