//! The order of scripts and processes at a start, a stop and a reboot, and what a failing one tells.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::driver::{Vm, job, log, printed, read};

pub(crate) fn start_and_stop_run_every_script_in_its_place() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    let told = |what: &str| format!("#!/bin/sh\necho {what} $1 >> /var/vcap/sys/log/order\n");
    let drain = "#!/bin/sh\necho drain $1 $2 >> /var/vcap/sys/log/order\n[ $1 = job_shutdown ] && echo -1 || echo 0\n";
    let files = [
        ("bin/pre-start", told("pre-start")),
        ("bin/post-start", told("post-start")),
        ("bin/pre-stop", told("pre-stop")),
        ("bin/drain", drain.to_owned()),
        ("bin/post-stop", told("post-stop")),
    ];
    let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_str())).collect();
    let script = "trap 'echo ended; exit 0' TERM; echo up; while :; do sleep 0.1; done";
    vm.apply(json!([job("web", script, json!({}), &files)])).unwrap();
    vm.start().unwrap();
    printed(&home, "web", "up");
    vm.done(json!({"stop": {"drain": true}}));
    let order = read(&home, "sys/log/order");
    let order: Vec<_> = order.lines().map(str::trim).collect();
    let drains = ["drain job_shutdown hash_unchanged", "drain job_check_status hash_unchanged"];
    assert_eq!(order, ["pre-start", "post-start", "pre-stop", drains[0], drains[1], "post-stop"]);
    assert_eq!(log(&home, "web"), "up\nended\n");
    assert_eq!(vm.state()["job_state"], "stopped");
    assert!(!home.path().join("vcap/sys/run/bpm/web/web.pid").exists());

    vm.start().unwrap();
    assert_eq!(vm.state()["job_state"], "running");
    vm.done(json!("shut_down"));
    assert!(vm.child.wait().unwrap().success());
}

pub(crate) fn what_fails_is_told_with_the_job_and_its_stderr() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    let fails = "#!/bin/sh\necho no certificate >&2\nexit 3\n";
    let good = |name: &str, files: &[(&str, &str)]| job(name, "exec sleep 1000", json!({}), files);
    vm.apply(json!([good("bad", &[("bin/pre-start", fails)]), good("good", &[("bin/pre-start", "#!/bin/sh\n")])]))
        .unwrap();
    let error = vm.start().unwrap_err();
    let head = "1 of 2 pre-start scripts failed. Failed Jobs: bad. Successful Jobs: good.";
    assert!(error.starts_with(head) && error.contains("exit status 3") && error.contains("no certificate"), "{error}");

    vm.apply(json!([job("lost", "exit 7", json!({}), &[]), good("good", &[])])).unwrap();
    let error = vm.order(json!({"start": {"patience": {"secs": 2, "nanos": 0}}})).unwrap_err();
    assert!(error.contains("lost of job lost is") && error.contains("exit status 7"), "{error}");
    assert_eq!(vm.state()["job_state"], "failing");
    vm.done(json!({"stop": {"drain": true}}));

    let missing = json!({"executable": "/nonesuch", "capabilities": ["NOTHING"]});
    vm.apply(json!([job("web", "", missing, &[])])).unwrap();
    let error = vm.order(json!({"start": {"patience": {"secs": 2, "nanos": 0}}})).unwrap_err();
    assert!(error.contains("there is no capability NOTHING"), "{error}");
}

pub(crate) fn a_reboot_starts_only_what_monit_would() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    let count = "#!/bin/sh\necho x >> /var/vcap/sys/log/starts\n";
    let files = [("bin/pre-start", count), ("bin/post-start", count)];
    vm.apply(json!([job("web", "echo up; exec sleep 1000", json!({}), &files)])).unwrap();
    vm.start().unwrap();
    drop(vm);
    fs::write(home.path().join("vcap/sys/run/left"), "").unwrap();

    let mut vm = Vm::boot(home.path(), true);
    let deadline = Instant::now() + Duration::from_secs(20);
    while vm.state()["job_state"] != "running" {
        assert!(Instant::now() < deadline, "the process has not come back");
    }
    printed(&home, "web", "up");
    assert_eq!(log(&home, "web"), "up\nup\n");
    assert_eq!(read(&home, "sys/log/starts"), "x\nx\n", "a script ran at the reboot");
    assert!(!home.path().join("vcap/sys/run/left").exists());

    vm.done(json!({"stop": {"drain": false}}));
    drop(vm);
    assert_eq!(Vm::boot(home.path(), true).state()["job_state"], "stopped");
}
