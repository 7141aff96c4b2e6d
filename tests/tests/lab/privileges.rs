//! Users, capabilities and memory of the jobs' processes, from `/proc`.

use std::collections::BTreeMap;

use crate::{
    driver::{Lab, PILOT_VM},
    manifests::small,
};

/// `CAP_NET_ADMIN` of linux/capability.h.
const NET_ADMIN: u64 = 1 << 12;
/// The user `vcap` of a stemcell.
const VCAP: &str = "1000";
/// Each process of boshy or Envoy: its arguments and the relevant part of its status.
const LOOK: &str = r#"for process in /proc/[0-9]*; do
    line=$(tr '\0\n' '  ' < $process/cmdline 2>/dev/null) || continue
    case $line in */packages/*/bin/*) ;; *) continue ;; esac
    echo "==> $line"; grep -E '^(Uid|Gid|Cap|NoNewPrivs)' $process/status
    echo "Core: $(grep '^Max core file size' $process/limits)"; echo "Memory: $(stat -c %u $process/environ)"
done"#;

#[test]
fn every_process_of_a_job_is_vcap_with_exactly_the_capabilities_declared() {
    let lab = Lab::with(&small());
    for vm in lab.vms() {
        let processes = look(&lab, &vm);
        check(&processes, &vm, "bin/boshy agent", NET_ADMIN);
        check(&processes, &vm, "bin/envoy ", 0);
        check(&processes, &vm, "bin/boshy httpbin", 0);
        for keeps_keys in ["bin/boshy agent", "bin/envoy "] {
            leaves_no_core(&processes, keeps_keys);
        }
        is_read_by_root_alone(&processes, "bin/boshy agent");
    }
    let processes = look(&lab, PILOT_VM);
    check(&processes, PILOT_VM, "bin/boshy pilot", 0);
    leaves_no_core(&processes, "bin/boshy pilot");
    is_read_by_root_alone(&processes, "bin/boshy pilot");
}

fn leaves_no_core(processes: &[(String, Status)], program: &str) {
    for (arguments, status) in processes.iter().filter(|(arguments, _)| arguments.contains(program)) {
        let limits = status["Core"].split_whitespace().skip(4).take(2);
        assert!(limits.eq(["1", "1"]), "{arguments}: {}", status["Core"]);
    }
}

/// The kernel gives the files in `/proc` of a process whose memory is closed to root.
fn is_read_by_root_alone(processes: &[(String, Status)], program: &str) {
    for (arguments, status) in processes.iter().filter(|(arguments, _)| arguments.contains(program)) {
        assert_eq!(status["Memory"], "0", "{arguments}");
    }
}

type Status = BTreeMap<String, String>;

fn look(lab: &Lab, vm: &str) -> Vec<(String, Status)> {
    let seen = lab.sh(vm, LOOK);
    let processes = seen.split("==> ").skip(1).map(|process| {
        let (arguments, status) = process.split_once('\n').unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(':'));
        (arguments.to_owned(), lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
    });
    processes.collect()
}

fn check(processes: &[(String, Status)], vm: &str, program: &str, capabilities: u64) {
    let own: Vec<_> = processes.iter().filter(|(arguments, _)| arguments.contains(program)).collect();
    assert!(!own.is_empty(), "{vm} has no {program}: {processes:?}");
    // In a user namespace with one user, processes keep that one.
    let user = if is_root() { VCAP } else { "0" };
    for (arguments, status) in own {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let held = u64::from_str_radix(&status[set], 16).unwrap();
            assert_eq!(held, capabilities, "{set} of {arguments} on {vm}");
        }
        for ids in ["Uid", "Gid"] {
            assert!(
                status[ids].split_whitespace().all(|id| id == user),
                "{ids} of {arguments} on {vm}: {}",
                status[ids]
            );
        }
        assert_eq!(status["NoNewPrivs"], "1", "{arguments} on {vm}");
    }
}

pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}
