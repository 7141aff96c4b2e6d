//! Looks whether the memory of a process that holds keys gets out: by a core, or by another process of its user.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use crate::degraded::{Agent, NOBODY, USER, VCAP, alone, several_users, sh};

/// Allows cores for what follows it.
const WITH_CORES: [&str; 4] = ["sh", "-c", "ulimit -S -c $(ulimit -H -c); exec \"$@\"", "sh"];

#[test]
fn an_agent_that_crashes_leaves_no_core_and_its_memory_is_closed_to_other_processes_of_its_user() {
    alone(
        "memory::an_agent_that_crashes_leaves_no_core_and_its_memory_is_closed_to_other_processes_of_its_user",
        || {
            let agent = Agent::start(&[&VCAP[..], &WITH_CORES].concat(), NOBODY, "netfilter: {backend: none}\n");
            agent.shows("its status", |status| status["lacking"].is_array());
            for process in [agent.pid().to_string(), agent.kept()] {
                let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
                let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
                assert!(cores.split_whitespace().skip(4).take(2).eq(["1", "1"]), "{cores}");
                for file in ["environ", "maps", "mem", "fd"] {
                    assert!(!is_read_by_its_user(&format!("/proc/{process}/{file}")), "{file}");
                }
            }
            let fallen = agent.kept();
            sh(&format!("kill -ABRT {fallen}"));
            agent.shows("that another one serves", |status| status["lacking"].is_array() && agent.kept() != fallen);
            let log = agent.log();
            assert!(log.contains("SIGABRT") && !log.contains("core dumped"), "{log}");
        },
    );
}

/// The control: without the agent's care, the same user reads a process, and it leaves a core where cores are on.
#[test]
fn a_process_that_takes_no_care_is_read_by_its_user_and_leaves_a_core() {
    alone("memory::a_process_that_takes_no_care_is_read_by_its_user_and_leaves_a_core", || {
        let home = tempfile::tempdir().unwrap();
        sh(&format!("chmod 777 {}", home.path().display()));
        let mut command = Command::new("setpriv");
        let user = user();
        command.args(user.iter().copied().chain(WITH_CORES).chain(["sleep", "60"])).current_dir(home.path());
        let mut child = command.spawn().unwrap();
        let environ = format!("/proc/{}/environ", child.id());
        // Until it has become `sleep`.
        while !fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap().starts_with("sleep") {
            std::thread::yield_now();
        }
        assert!(is_read_by_its_user(&environ));
        sh(&format!("kill -ABRT {}", child.id()));
        let (status, cores) = (child.wait().unwrap(), sh("ulimit -H -c"));
        assert!(status.core_dumped() || cores.trim() == "0", "{status}: {cores}");
    });
}

/// The options of `setpriv` for the user of the agent, with the same capabilities: with fewer, a process could not read
/// it in any case.
fn user() -> Vec<&'static str> {
    let user: &[_] = if several_users() { &USER } else { &[] };
    [&["--no-new-privs"], user, &VCAP].concat()
}

fn is_read_by_its_user(path: &str) -> bool {
    // The first octet of `mem` is nowhere, which is another error.
    let script = "if [ -d \"$0\" ]; then ls \"$0\"; else head -c1 \"$0\"; fi";
    let output = Command::new("setpriv").args(user()).args(["sh", "-c", script, path]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    !text.contains("Permission denied")
}
