use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample,
};

use super::*;

#[test]
fn everything_that_is_understood_is_read_and_the_rest_ignored() {
    let text = "
processes:
- name: agent
  executable: /var/vcap/packages/boshy/bin/boshy
  args: [agent, --port, 8080]
  env: {RUST_LOG: info, RETRIES: 3}
  workdir: /var/vcap/data/agent
  hooks: {pre_start: /var/vcap/jobs/agent/bin/hook}
  capabilities: [NET_ADMIN]
  limits: {memory: 512M, open_files: 4096, processes: 20, core_file_size: 1}
  ephemeral_disk: true
  additional_volumes: [{path: /var/vcap/instance, mount_only: true}]
  unsafe: {unrestricted_volumes: [{path: /etc/x*, writable: true}]}
  shutdown_signal: INT
  colour: green
- name: other
  executable: ./run
  args:
  env:
  limits:
";
    let [agent, other] = <[Process; 2]>::try_from(parse("agent", text).unwrap()).unwrap();
    assert_eq!(agent.args, ["agent", "--port", "8080"]);
    assert_eq!(agent.env["RETRIES"], "3");
    assert_eq!((agent.limits.open_files, agent.shutdown_signal), (Some(4096), ShutdownSignal::Int));
    assert!(agent.additional_volumes[0].mount_only && !agent.additional_volumes[0].writable);
    assert!(agent.unconfined.unrestricted_volumes[0].writable);
    let plain = Process { name: "other".to_owned(), executable: "./run".to_owned(), ..Process::default() };
    assert_eq!(other, plain);
    assert_eq!(parse("agent", "processes:").unwrap(), []);
}

#[test]
fn what_bpm_would_refuse_is_refused_with_the_process_and_the_key() {
    let wrong = [
        ("executable: x", "a process has the name \"\""),
        ("name: a", "process a has no executable"),
        ("{name: a, executable: x, args: y}", "expected a sequence"),
        ("{name: a, executable: x, args: y}", "line 2"),
        ("{name: a, executable: x, ephemeral_disk: 3}", "line 2"),
        ("{name: a, executable: x, limits: {open_files: many}}", "line 2"),
        ("{name: a, executable: x, limits: {memory: much}}", "\"much\""),
        ("{name: a, executable: x, shutdown_signal: KILL}", "line 2"),
        ("{name: a, executable: x, unsafe: {privileged: true}}", "unsafe.privileged"),
        ("{name: a, executable: x, additional_volumes: [{path: /etc}]}", "/etc, which is no path inside /var/vcap"),
        ("{name: a, executable: x, additional_volumes: [{path: /var/vcap/../x}]}", "no path inside"),
        ("{name: a, executable: x, additional_volumes: [{path: /var/vcap//x}]}", "no path inside"),
        ("{name: a, executable: x, additional_volumes: [{path: /var/vcap/x/}]}", "no path inside"),
        ("{name: a, executable: x, additional_volumes: [{path: /var/vcap/data/web}]}", "ephemeral_disk"),
    ];
    for (process, reason) in wrong {
        let error = parse("web", &format!("processes:\n- {process}")).unwrap_err();
        assert!(error.contains(reason), "{process}: {error}");
    }
}

#[test]
fn sizes_are_numbers_with_a_unit() {
    for (text, size) in [("512M", true), ("1.5gb", true), ("512", false), ("M", false), ("-1M", false), ("1X", false)] {
        assert_eq!(is_size(text), size, "{text}");
    }
}

/// Lines of a process, valid and invalid.
const LINES: [&str; 20] = [
    "name: web",
    "name: a/b",
    "executable: /bin/x",
    "executable: 3",
    "args: [a, 1, true]",
    "args:",
    "env: {A: 1}",
    "env: [A]",
    "limits: {memory: 1.5G, open_files: 8}",
    "limits: {memory: 1.1.1G}",
    "limits: {processes: -1}",
    "unsafe: {privileged: true}",
    "additional_volumes: [{path: /var/vcap/x/y, writable: true}]",
    "additional_volumes: [{path: /var/vcap/x/../../y}]",
    "additional_volumes: [{path: /var/vcap/store/web}]",
    "additional_volumes: [{path: /var/vcap//x/}]",
    "hooks: {pre_start: x}",
    "shutdown_signal: INT",
    "capabilities: [NET_ADMIN]",
    "ephemeral_disk: yes",
];

fn processes() -> impl Strategy<Value = String> {
    let process =
        sample::subsequence(&LINES[..], 0..6).prop_shuffle().prop_map(|lines| format!("- {}\n", lines.join("\n  ")));
    vec(process, 0..3).prop_map(|processes| format!("processes:\n{}", processes.concat()))
}

proptest! {
    #[test]
    fn what_is_accepted_stays_within_what_a_job_may_have(text in prop_oneof![any::<String>(), processes()]) {
        for process in parse("web", &text).unwrap_or_default() {
            prop_assert!(!process.name.is_empty() && !process.name.contains('/') && !process.executable.is_empty());
            prop_assert!(!process.unconfined.privileged);
            for Volume { path, .. } in &process.additional_volumes {
                let text = path.to_str().unwrap();
                prop_assert!(text.starts_with("/var/vcap/") && !text.contains("..") && !text.ends_with('/'), "{text}");
                prop_assert!(text != "/var/vcap/store/web" && text != "/var/vcap/data/web", "{text}");
            }
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(
        name in "[a-z][a-z0-9_-]{0,8}", args in vec(any::<String>(), 0..4), env in btree_map("[A-Z]{1,4}", any::<String>(), 0..3),
    ) {
        let process = Process { name, executable: "/bin/x".to_owned(), args, env, ..Process::default() };
        let text = serde_json::json!({"processes": [process]}).to_string();
        prop_assert_eq!(parse("web", &text), Ok(vec![process]));
    }
}
