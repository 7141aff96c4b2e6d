//! Processes that hang, as a whole or in one of their actors: monit detects and restarts them.

use std::{fs, path::Path, time::Duration};

use crate::{
    driver::{AGENT, ENVOY, Lab, PILOT, PILOT_VM},
    load::{SteadyQuestions, SteadyRequests},
    manifests::{BANANA, small},
    wait::within,
};

/// An actor may be silent for half a minute. monit checks every ten seconds, tolerates nine failures at most, and gives
/// a process time to stop.
const FOUND_OUT: Duration = Duration::from_secs(240);

/// Stops a process as a debugger or a frozen disk would. If another process keeps it, the worker process is stopped.
fn freezes(lab: &Lab, vm: &str, job: &str) {
    let pid_file = format!("/var/vcap/sys/run/bpm/{job}/{job}.pid");
    lab.sh(vm, &format!("kept=$(cat {pid_file}); kill -STOP $(pgrep -P $kept || echo $kept)"));
}

#[test]
fn monit_restarts_a_pilot_an_agent_and_an_envoy_that_hang_by_the_rule_of_the_release() {
    let lab = Lab::with(&small());
    let before = lab.vips();
    let hangs = [(PILOT_VM, PILOT), ("apricot/1", AGENT), ("banana/1", ENVOY), ("banana/0", AGENT)];
    for (vm, job) in hangs {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bosh-release/jobs").join(job).join("monit");
        let used = lab.sh(vm, &format!("cat /var/vcap/monit/job/*_{job}.monitrc"));
        assert_eq!(used, fs::read_to_string(shipped).unwrap(), "monit's file of {job}");
    }
    let load = SteadyRequests::start(&lab, "apricot/0", BANANA);
    let questions = SteadyQuestions::start(&lab, "apricot/0", BANANA);
    for (vm, job) in &hangs[..3] {
        freezes(&lab, vm, job);
    }
    // An actor that blocks its thread, which no supervisor in the process can end.
    lab.sh("banana/0", "curl -sSf -X POST '127.0.0.1:15020/debug/stick/netfilter_writer?seconds=600'");
    within(FOUND_OUT, "all were started again", || hangs.iter().all(|(vm, job)| lab.restarts(vm, job) == 1));
    load.go_on();
    questions.all_answered();
    load.stop().is_flawless();
    lab.is_in_agreement();
    for vm in ["apricot/1", "banana/0", "banana/1"] {
        lab.eventually(&format!("{vm} reaches banana"), || lab.answers(vm, BANANA.host, BANANA));
    }
    assert_eq!(lab.vips(), before);
    for (vm, job) in hangs {
        assert_eq!(lab.restarts(vm, job), 1, "{job} of {vm} was started again more than once");
    }
}
