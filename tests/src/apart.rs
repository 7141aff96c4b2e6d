//! Scenarios in a process of their own, with namespaces of their own.

use std::{
    any::type_name_of_val,
    env,
    process::{Command, Stdio},
};

use nix::unistd::geteuid;

/// Names the namespaces that a process was started in.
const APART: &str = "BOSHY_TEST_APART";

const MOUNTS: &str = "--mount";
const NETWORK: &str = "--net";

/// Runs a scenario in a process with its own mounts. It works for root and for an ordinary user.
///
/// # Panics
/// When the scenario panics, or the program `unshare` is missing.
pub fn with_own_mounts(scenario: impl FnOnce()) {
    apart(MOUNTS, &test_of(&scenario), scenario);
}

/// Whether this process has its own mounts.
pub(crate) fn has_own_mounts() -> bool {
    env::var_os(APART).is_some_and(|apart| apart == MOUNTS)
}

/// Runs a scenario in a process with its own network, which has all addresses of 10.244.0.0/24. It works for root and
/// for an ordinary user.
///
/// # Panics
/// When the scenario panics, or one of the programs `unshare` and `ip` is missing.
pub fn with_own_network(scenario: impl FnOnce()) {
    apart(NETWORK, &test_of(&scenario), || {
        for arguments in ["link set lo up", "address add 10.244.0.1/24 dev lo"] {
            let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
            let set = Command::new("ip").args(arguments.split(' ')).env("PATH", path).stdin(Stdio::null()).status();
            assert!(set.is_ok_and(|status| status.success()), "ip {arguments} (package iproute2)");
        }
        scenario();
    });
}

/// The path of the test function that a closure is in.
fn test_of<T>(closure: &T) -> String {
    let path = type_name_of_val(closure).split_once("::").expect("a closure is in a crate").1;
    path.trim_end_matches("::{{closure}}").to_owned()
}

#[expect(clippy::print_stdout, reason = "what a scenario prints is shown by who started it")]
fn apart(namespace: &str, test: &str, scenario: impl FnOnce()) {
    if env::var_os(APART).is_some() {
        return scenario();
    }
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([namespace, "--"]).arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env(APART, namespace).output();
    let output = output.expect("the program `unshare` (package util-linux) is needed for tests in namespaces");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains("1 passed"), "in its namespace:\n{stdout}\n{stderr}");
    print!("{stdout}");
}
