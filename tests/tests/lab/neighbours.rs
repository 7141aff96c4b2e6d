//! The rules of other software on a VM, and how boshy's rules are added and removed beside them.

use std::time::Duration;

use crate::{
    driver::{AGENT, Lab},
    load::SteadyRequests,
    manifests::{BANANA, small},
    wait::within,
};

const VM: &str = "apricot/0";
/// Rules of bosh-agent and of an operator, by nft and by iptables.
pub(crate) const OTHERS: &str = r"set -e
nft -f - <<'RULES'
table inet bosh_agent {
    chain monit_access { type filter hook output priority 0; policy accept;
        ip daddr 127.0.0.1 tcp dport 2822 meta skuid 0 counter accept
        ip daddr 127.0.0.1 tcp dport 2822 drop
    }
    chain nats_access { type filter hook output priority -1; policy accept;
        tcp dport 4222 meta skuid 0 accept
    }
}
table ip operators {
    set closed { type inet_service; elements = { 7, 9, 13 } }
    chain nat { type nat hook output priority -100; policy accept;
        ip daddr 192.0.2.1 tcp dport 80 redirect to :8081
    }
    chain input { type filter hook input priority 10; policy accept;
        tcp dport @closed drop
    }
}
RULES
iptables -t nat -N OPERATORS
iptables -t nat -A OPERATORS -d 192.0.2.2/32 -p tcp -j REDIRECT --to-ports 8082
iptables -t nat -A OUTPUT -j OPERATORS
iptables -A INPUT -s 192.0.2.3/32 -j DROP
ip route add 192.0.2.0/24 dev lo";
/// The present rules, without packet counters, which keep changing.
pub(crate) const DUMP: &str = r"set -e
for table in 'inet bosh_agent' 'ip operators' 'ip nat' 'ip filter'; do nft --stateless -a list table $table; done
iptables-save -t nat | grep -v '^#' | sed 's/\[.*\]//'
iptables-save -t filter | grep -v '^#' | sed 's/\[.*\]//'
ip route show table all proto boot";
const OUR_ROUTE: &str = "ip route show table all proto 176";
const CONFIG: &str = "/var/vcap/jobs/virtual-ip-agent/config/agent.yml";

#[test]
fn rules_of_others_are_the_same_to_the_byte_and_ours_come_and_go_with_the_agent() {
    let lab = Lab::with(&small());
    lab.sh(VM, OTHERS);
    let others = lab.sh(VM, DUMP);
    assert!(others.contains("monit_access") && others.contains("192.0.2.2/32"), "{others}");
    let untouched = |when: &str| assert_eq!(lab.sh(VM, DUMP), others, "{when}");
    let reaches_banana = || {
        SteadyRequests::start(&lab, VM, BANANA).stop().is_flawless();
    };
    reaches_banana();
    untouched("while traffic flows");

    lab.kills(VM, AGENT);
    untouched("after the agent was killed");
    assert!(rules_are_there(&lab), "a killed agent took its rules with it");
    lab.eventually("the agent is ready again", || ready(&lab));
    reaches_banana();
    untouched("after the agent came back");

    // Where the kernel supports owners, it refuses the removal to other processes, and there is nothing to repair.
    if lab.holds(VM, "nft delete table inet boshy") {
        comes_back(&lab, "the rules", || rules_are_there(&lab));
    }
    assert!(lab.holds(VM, "ip route del 169.254.255.0/24 dev lo proto 176"));
    comes_back(&lab, "the route", || lab.sh(VM, OUR_ROUTE).contains("169.254.255.0/24"));
    reaches_banana();
    untouched("after somebody removed ours");

    lab.stops(VM, AGENT);
    nothing_of_ours_is_left(&lab);
    untouched("after the agent was stopped");

    lab.starts(VM, AGENT);
    lab.eventually("the agent is ready", || ready(&lab));
    reaches_banana();
    untouched("after the agent was started");
}

#[test]
fn what_a_killed_agent_left_behind_is_removed_on_demand() {
    let lab = Lab::with(&small());
    lab.sh(VM, OTHERS);
    let others = lab.sh(VM, DUMP);
    // An agent that is not restarted.
    lab.stops(VM, AGENT);
    let agent = lab.keeps_running(VM, &format!("echo $$ > /tmp/agent; exec boshy agent --config {CONFIG}"));
    let are_there = || rules_are_there(&lab) && !lab.sh(VM, OUR_ROUTE).is_empty();
    lab.eventually("the agent has written its rules", are_there);
    lab.sh(VM, "kill -9 $(cat /tmp/agent)");
    drop(agent);
    assert!(are_there(), "nothing was left behind to remove");

    lab.sh(VM, &format!("boshy agent --remove-rules --config {CONFIG}"));
    nothing_of_ours_is_left(&lab);
    lab.sh(VM, &format!("boshy agent --remove-rules --config {CONFIG}"));
    assert_eq!(lab.sh(VM, DUMP), others);
}

fn ready(lab: &Lab) -> bool {
    lab.get(VM, "/status").is_some_and(|status| status["ready"] == true)
}

fn rules_are_there(lab: &Lab) -> bool {
    lab.holds(VM, "nft list table inet boshy | grep -q 'redirect to :15001'")
}

fn nothing_of_ours_is_left(lab: &Lab) {
    assert!(!lab.holds(VM, "nft list table inet boshy"));
    assert!(!lab.sh(VM, "nft list ruleset; iptables-save").to_lowercase().contains("boshy"));
    assert_eq!(lab.sh(VM, OUR_ROUTE), "");
}

/// The agent checks four times a second. The rest is time for this test to look, on a loaded machine.
fn comes_back(lab: &Lab, what: &str, holds: impl Fn() -> bool) {
    within(Duration::from_secs(1), &format!("{what} of {VM} are back"), holds);
    lab.eventually("the agent is ready", || ready(lab));
}
