//! What programs notice of an Envoy that falls, is replaced, or loses its parent.

use std::{thread, time::Duration};

use crate::{
    connections::{PEER_PORT, with_peer_port},
    driver::{ENVOY, Lab},
    load::{SteadyRequests, lost_of_many},
    manifests::{BANANA, small},
    peers::Peer,
};

const VM: &str = "apricot/0";
const PARENT: &str = "$(cat /var/vcap/sys/run/bpm/bosh-envoy/bosh-envoy.pid)";
/// How long a replaced Envoy may keep its connections here.
const OVERLAP: Duration = Duration::from_secs(20);
/// Connections that are held through a replacement.
const HELD: usize = 20;

/// Process ids of the Envoys of the VM.
fn envoys(lab: &Lab) -> Vec<String> {
    let ids = lab.sh(VM, "pgrep -x envoy || true");
    ids.split_whitespace().map(str::to_owned).collect()
}

/// Kills Envoy, and returns after how many milliseconds a request is answered again.
fn falls(lab: &Lab) -> u64 {
    let Some(vip) = lab.vips().get(BANANA.host).cloned() else { panic!("banana has no address") };
    let ask = format!("curl -s -o /dev/null --max-time 1 http://{vip}:{}/ip", BANANA.port);
    let script = format!(
        "kill -KILL $(pgrep -P {PARENT}); began=$(date +%s%N); until {ask}; do :; done; echo $((($(date +%s%N) - began) / 1000000))"
    );
    lab.sh(VM, &script).trim().parse().unwrap()
}

#[test]
fn a_killed_envoy_is_back_before_monit_looks_and_its_killed_parent_leaves_none_behind() {
    let lab = Lab::with(&small());
    let load = SteadyRequests::start(&lab, "apricot/1", BANANA);
    let before = envoys(&lab);
    let milliseconds = falls(&lab);
    eprintln!("a request is answered {milliseconds} ms after Envoy was killed");
    assert!(milliseconds < 3000, "{milliseconds} ms");
    let after = envoys(&lab);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    lab.is_in_agreement();
    assert_eq!(lab.restarts(VM, ENVOY), 0, "monit had something to do");

    // The whole process of the job, as monit and bpm see it.
    lab.sh(VM, &format!("kill -KILL {PARENT}"));
    lab.eventually("no Envoy is an orphan", || !envoys(&lab).contains(&after[0]));
    lab.eventually("monit starts the job again", || lab.restarts(VM, ENVOY) == 1);
    lab.eventually("banana is reached", || lab.answers(VM, BANANA.host, BANANA));
    assert_eq!(envoys(&lab).len(), 1);
    load.stop().is_flawless();
}

#[test]
fn a_replaced_envoy_costs_no_new_connection_and_keeps_open_ones_until_the_bound() {
    let lab = Lab::with(&with_peer_port(1));
    let settings = "/var/vcap/jobs/bosh-envoy/config/agent.yml";
    lab.sh(VM, &format!("sed -i 's/\"600s\"/\"{}s\"/' {settings}", OVERLAP.as_secs()));
    lab.kills(VM, ENVOY).is_in_agreement();
    // Without it, the kernel resets a connection that waits at a socket which the old Envoy closes.
    lab.sh(VM, "sysctl -qw net.ipv4.tcp_migrate_req=1");
    let _echo = Peer::listening(&lab, "banana/0", &["echo", &PEER_PORT.to_string()]);
    let (address, count) = (format!("{}:{PEER_PORT}", lab.vips()[BANANA.host]), HELD.to_string());
    let mut held = Peer::start(&lab, VM, &["hold", &address, &count]);
    assert_eq!(held.hears(), count);

    let load = SteadyRequests::start(&lab, VM, BANANA);
    let first = envoys(&lab);
    thread::scope(|scope| {
        let many = scope.spawn(|| lost_of_many(&lab, VM, BANANA, 2000));
        lab.sh(VM, &format!("kill -HUP {PARENT}"));
        lab.eventually("the second has taken over", || {
            lab.log(VM, ENVOY).contains("the new Envoy accepts connections")
        });
        load.go_on();
        let lost = many.join().unwrap();
        assert!(lost.is_empty(), "{lost:?}");
    });
    load.stop().is_flawless();
    held.tell("again");
    assert_eq!(held.hears(), count, "open connections");
    let both = envoys(&lab);
    assert!(both.len() == 2 && both.contains(&first[0]), "{both:?}");
    // The settled address leads to the new one, and a second order changes nothing meanwhile.
    let uptime = lab.sh(VM, "curl -s 127.0.0.1:8001/server_info | grep uptime_current_epoch | tr -dc 0-9");
    assert!(uptime.parse::<u64>().unwrap() <= OVERLAP.as_secs(), "{uptime} s");
    lab.sh(VM, &format!("kill -HUP {PARENT}"));
    lab.is_in_agreement();

    lab.eventually("the first has had its time", || envoys(&lab).len() == 1);
    assert!(!envoys(&lab).contains(&first[0]));
    held.tell("again");
    assert_eq!(held.hears(), "0", "its connections ended with it");
    lab.is_in_agreement();
    assert_eq!(lab.restarts(VM, ENVOY), 1, "it was started anew for the settings alone");
}
