//! A lab leaves nothing behind, however it ends.

use std::process::Stdio;

use serde_json::Value;

use crate::{
    driver::Lab,
    manifests::small,
    process::{Running, Traces, send},
};

#[test]
fn down_leaves_no_process_no_namespace_no_mount_and_no_state() {
    let lab = Lab::with(&small());
    let traces = seen(&lab);
    let told = lab.fails(["up"]);
    assert!(told.contains("already running") && told.contains("boshy lab down"), "{told}");
    assert_eq!(lab.vms().len(), 4, "the refused lab cost the running one");
    let output = lab.run(["exec", "apricot/0", "--", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7));

    lab.succeeds(["down"]);
    traces.vanish().leave_no_file();
    assert!(lab.fails(["status"]).contains("no lab is running"));
}

#[test]
fn ctrl_c_leaves_no_process_no_namespace_no_mount_and_no_state() {
    let lab = Lab::nowhere();
    let file = lab.file("manifest.yml", &small());
    let mut up = lab.command(["up", "--foreground", "--manifest", file.to_str().unwrap()]);
    up.stderr(Stdio::null());
    let mut foreground = Running::start(up);
    lab.eventually("the lab is ready", || {
        let status = lab.run(["status", "--json"]).stdout;
        let status: Value = serde_json::from_slice(&status).unwrap_or_default();
        let runs = |vm: &Value| {
            let jobs = vm["jobs"].as_array().unwrap();
            !jobs.is_empty() && jobs.iter().all(|job| job["state"] == "running")
        };
        status["vms"].as_array().is_some_and(|vms| vms.len() == 5 && vms.iter().all(runs))
    });
    let traces = seen(&lab);
    assert_eq!(foreground.ends_by("INT"), Some(130));
    traces.vanish().leave_no_file();
}

#[test]
fn down_after_a_killed_keeper_leaves_no_process_no_namespace_no_mount_and_no_state() {
    let lab = Lab::with(&small());
    let traces = seen(&lab);
    send("KILL", traces.keeper());
    traces.vanish();
    lab.succeeds(["down"]);
    traces.leave_no_file();
}

/// The traces of a running lab. There must be some, so that their absence later has a meaning.
fn seen(lab: &Lab) -> Traces {
    let traces = Traces::of(&lab.state());
    let (processes, namespaces) = traces.count();
    // The keeper, and five VMs with a first process and at least two jobs each; each VM has its own network, mounts and
    // processes.
    assert!(processes > 5 * 3 && namespaces > 5 * 3, "{processes} processes, {namespaces} namespaces");
    traces
}
