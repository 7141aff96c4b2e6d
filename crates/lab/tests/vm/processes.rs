//! What a process is and sees: user, capabilities, files.

use serde_json::json;

use crate::driver::{Vm, job, log, printed, read, vcap_is_mapped};

pub(crate) fn a_process_has_the_user_and_exactly_the_capabilities_it_declares() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    let show = "cat /proc/$$/status; ulimit -n; echo shown; exec sleep 1000";
    let agent = json!({"capabilities": ["NET_ADMIN"], "limits": {"open_files": 512}});
    vm.apply(json!([job("agent", show, agent, &[]), job("plain", show, json!({}), &[])])).unwrap();
    vm.start().unwrap();
    let user = if vcap_is_mapped() { "1000\t1000\t1000\t1000" } else { "0\t0\t0\t0" };
    // CAP_NET_ADMIN is number 12.
    for (job, capabilities) in [("agent", "0000000000001000"), ("plain", "0000000000000000")] {
        let status = printed(&home, job, "shown");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!((field("Uid:"), field("Gid:")), (user.to_owned(), user.to_owned()), "{job}");
        if vcap_is_mapped() {
            assert_eq!(field("Groups:"), "", "{job}");
        }
        assert_eq!(field("NoNewPrivs:"), "1", "{job}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), capabilities, "{job} {set}");
        }
    }
    assert!(log(&home, "agent").lines().any(|line| line == "512"));

    let state = vm.state();
    assert_eq!(state["job_state"], "running");
    assert!(state["processes"][0]["memory_kb"].as_u64().unwrap() > 0, "{state}");
    let pid = read(&home, "sys/run/bpm/agent/agent.pid");
    assert!(pid.parse::<i32>().is_ok(), "{pid}");
    assert_eq!(read(&home, "instance/health.json"), r#"{"state":"running"}"#);

    let refused = vm.apply(json!([job("agent", "", json!({"unsafe": {"privileged": true}}), &[])])).unwrap_err();
    assert!(refused.contains("job agent") && refused.contains("unsafe.privileged"), "{refused}");
}

pub(crate) fn a_process_sees_its_own_and_what_it_asks_for() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    let show = "ls -d /var/vcap/* /var/vcap/jobs/* /var/vcap/data/*; pwd; echo $HOME $TMPDIR $MORE; cat /var/vcap/instance/name; echo;\
        touch /var/vcap/jobs/web/x /etc/x /var/vcap/instance/x || echo read-only; touch /tmp/x /var/vcap/data/web/x && echo written;\
        echo shown; exec sleep 1000";
    let hook = "#!/bin/sh\nid -u\nls -d /var/vcap/jobs/other && echo from the hook $MORE";
    let more = json!({
        "env": {"MORE": "yes"}, "ephemeral_disk": true, "hooks": {"pre_start": "/var/vcap/jobs/web/bin/hook"},
        "additional_volumes": [{"path": "/var/vcap/instance", "mount_only": true}],
    });
    let other = job("other", "exec sleep 1000", json!({}), &[]);
    vm.apply(json!([job("web", show, more, &[("bin/hook", hook)]), other])).unwrap();
    vm.start().unwrap();
    let shown = printed(&home, "web", "shown");
    let has = |line: &str| shown.lines().any(|shown| shown == line);
    for line in [
        "/var/vcap/jobs/web",
        "/var/vcap/data/web",
        "/var/vcap/instance",
        "/var/vcap/data/web /var/vcap/data/web/tmp yes",
        "web",
        "read-only",
        "written",
        "0",
        "/var/vcap/jobs/other",
        "from the hook yes",
    ] {
        assert!(has(line), "{line}\n{shown}");
    }
    assert_eq!(shown.matches("/var/vcap/jobs/other").count(), 1, "only the hook sees other jobs:\n{shown}");
    for hidden in ["/var/vcap/store", "/var/vcap/monit", "/var/vcap/data/other"] {
        assert!(!has(hidden), "{hidden}\n{shown}");
    }
    assert!(!home.path().join("vcap/instance/x").exists());
}
