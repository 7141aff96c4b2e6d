//! Tests a single VM from the keeper's side of its socket: real namespaces, real processes, and the kernel's view of
//! them.
//!
//! The processes of a VM run the program that starts it, which here is this test. So called with a command of the lab,
//! it runs that command, otherwise the tests.
//!
//! The tests need a kernel that lets this user create namespaces; on any other they fail with a message.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program, which clippy takes for a program only")]
#![expect(clippy::needless_pass_by_value, reason = "orders are written where they are given")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use boshy_lab::{LabCommand, LabSettings};
use clap::Parser;
use libtest_mimic::{Arguments, Trial};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Parser)]
enum Program {
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|first| first != "lab") {
        return test();
    }
    let Program::Lab(command) = Program::parse();
    let boshy = std::env::current_exe().unwrap();
    boshy_lab::run(&command, LabSettings { boshy }).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}

/// Runs functions as tests, under their own names.
macro_rules! tests {
    ($($name:ident)*) => {
        fn test() -> ExitCode {
            enter_user_namespace();
            let tests = vec![$(Trial::test(stringify!($name), || { $name(); Ok(()) })),*];
            libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
        }
    };
}

tests! {
    a_process_has_the_user_and_exactly_the_capabilities_it_declares
    a_process_sees_its_own_and_what_it_asks_for
    start_and_stop_run_every_script_in_its_place
    what_fails_is_told_with_the_job_and_its_stderr
    a_reboot_starts_only_what_monit_would
    bosh_dns_answers_from_the_records_it_is_given
    a_package_is_compiled_without_network_into_its_folder
}

/// Becomes root of a user namespace with one user, unless this process may create namespaces already.
fn enter_user_namespace() {
    let (user, group) = (geteuid(), nix::unistd::getegid());
    if user.is_root() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWUSER).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap();
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).unwrap();
}

/// Whether a second user is mapped.
fn vcap_is_mapped() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2).unwrap() != "1"
}

/// Starts this program as process 1 of a PID namespace.
fn first_process(arguments: &[&str], stdin: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).stdin(stdin).stdout(Stdio::piped());
    let starting = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        command.spawn().unwrap()
    });
    starting.join().unwrap()
}

struct Vm {
    child: Child,
    control: UnixStream,
    reports: BufReader<UnixStream>,
    next: u64,
}

impl Vm {
    fn boot(home: &Path, reboot: bool) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let child = first_process(&["lab", "vm"], Stdio::from(OwnedFd::from(theirs)));
        let mut vm = Self { child, reports: BufReader::new(ours.try_clone().unwrap()), control: ours, next: 0 };
        for directory in ["root", "vcap", "packages"] {
            fs::create_dir_all(home.join(directory)).unwrap();
        }
        vm.done(json!({"build": {
            "hostname": "web-0", "interfaces": [],
            "root": home.join("root"), "vcap": home.join("vcap"), "packages": home.join("packages"),
            "instance": {"id": "673e", "name": "web", "az": "z1", "deployment": "shop"},
        }}));
        vm.done(json!({"boot": {"reboot": reboot}}));
        vm
    }

    /// Sends an order and returns its result.
    fn order(&mut self, what: Value) -> Result<Value, String> {
        self.next += 1;
        let mut order = json!({"id": self.next, "what": what}).to_string();
        order.push('\n');
        self.control.write_all(order.as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            self.reports.read_line(&mut line).unwrap();
            let report: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            let done = &report["done"];
            if done["id"] == self.next {
                return match done["result"].get("Ok") {
                    Some(answer) => Ok(answer.clone()),
                    None => Err(done["result"]["Err"].as_str().unwrap().to_owned()),
                };
            }
        }
    }

    fn done(&mut self, what: Value) -> Value {
        self.order(what.clone()).unwrap_or_else(|error| panic!("{what}: {error}"))["done"]["notes"].clone()
    }

    fn apply(&mut self, jobs: Value) -> Result<Value, String> {
        self.order(json!({"apply": {"jobs": jobs, "packages": []}}))
    }

    fn start(&mut self) -> Result<Value, String> {
        self.order(json!({"start": {"patience": {"secs": 20, "nanos": 0}}}))
    }

    fn state(&mut self) -> Value {
        self.order(json!("state")).unwrap()["state"].clone()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A job with one process of the same name, which runs a shell script, and with additional files.
fn job(name: &str, script: &str, more: Value, files: &[(&str, &str)]) -> Value {
    let mut process = json!({"name": name, "executable": "/bin/sh", "args": ["-c", script]});
    process.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let bpm = json!({"processes": [process]}).to_string();
    let mut all = vec![json!({"path": "config/bpm.yml", "content": bpm})];
    all.extend(files.iter().map(|(path, content)| json!({"path": path, "content": content})));
    let monit = format!(
        "check process {name} with pidfile /var/vcap/sys/run/bpm/{name}/{name}.pid\n\
         start program \"/var/vcap/jobs/bpm/bin/bpm start {name}\"\nstop program \"/var/vcap/jobs/bpm/bin/bpm stop {name}\"\n"
    );
    json!({"name": name, "release": "test", "files": all, "monit": monit})
}

fn read(home: &TempDir, path: &str) -> String {
    let path = home.path().join("vcap").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn log(home: &TempDir, job: &str) -> String {
    read(home, &format!("sys/log/{job}/{job}.stdout.log"))
}

/// Waits for the last line that a process prints when it is done.
fn printed(home: &TempDir, job: &str, last: &str) -> String {
    let path: PathBuf = home.path().join(format!("vcap/sys/log/{job}/{job}.stdout.log"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().any(|line| line == last) {
            return text;
        }
        assert!(Instant::now() < deadline, "{job} has not printed {last}: {text}");
        thread::yield_now();
    }
}

fn a_process_has_the_user_and_exactly_the_capabilities_it_declares() {
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

fn a_process_sees_its_own_and_what_it_asks_for() {
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

fn start_and_stop_run_every_script_in_its_place() {
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

fn what_fails_is_told_with_the_job_and_its_stderr() {
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

fn a_reboot_starts_only_what_monit_would() {
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

fn bosh_dns_answers_from_the_records_it_is_given() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    // A question for `way.lab`, type A, class IN. The last four bytes of the answer are the address.
    let ask = r#"#!/bin/bash
        for try in {1..100}; do
            exec 3<>/dev/udp/169.254.0.2/53
            printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03way\x03lab\x00\x00\x01\x00\x01' >&3
            answer=$(timeout 5 dd bs=512 count=1 <&3 2>/dev/null | od -An -v -tu1 | tr -s ' \n' ' ')
            [[ "$answer" == *" 10 9 8 7 " ]] && exit 0
            sleep 0.1
        done
        echo "$answer" >&2; exit 1"#;
    let records = |version: u32, address: &str| {
        json!({
            "records": [[address, "x.web.default.shop.bosh"]], "version": version,
            "record_keys": ["id", "instance_group", "group_ids", "network", "deployment", "ip", "domain"],
            "record_infos": [["x", "web", ["3"], "default", "shop", address, "bosh"]],
            "aliases": {"way.lab": [{"root_domain": "bosh", "group_id": "3", "health_filter": "all"}]},
        })
        .to_string()
    };
    vm.done(json!({"sync_dns": records(2, "10.9.8.7")}));
    vm.done(json!({"sync_dns": records(1, "10.9.8.6")}));
    assert!(read(&home, "instance/dns/records.json").contains("10.9.8.7"), "an older version took its place");
    let dns = json!({"name": "bosh-dns", "release": "bosh-dns", "files": [], "monit": ""});
    let web = job(
        "web",
        "cat /etc/resolv.conf /etc/hosts; echo shown; exec sleep 1000",
        json!({}),
        &[("bin/post-start", ask)],
    );
    vm.apply(json!([dns, web])).unwrap();
    vm.start().unwrap();
    let shown = printed(&home, "web", "shown");
    assert!(shown.contains("nameserver 169.254.0.2") && shown.contains("10.9.8.7 x.web.default.shop.bosh"), "{shown}");
}

fn a_package_is_compiled_without_network_into_its_folder() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &str| home.path().join(path);
    for directory in ["root", "vcap/packages/tool", "vcap/data/compile/tool", "store/dep/f0"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    std::os::unix::fs::symlink("/var/vcap/data/packages/dep/f0", at("vcap/packages/dep")).unwrap();
    fs::write(at("store/dep/f0/part"), "from the dependency").unwrap();
    let packaging = "set -e; [ $(pwd) = $BOSH_COMPILE_TARGET ]; ls /sys/class/net > $BOSH_INSTALL_TARGET/net;\
        cp /var/vcap/packages/dep/part $BOSH_INSTALL_TARGET/; echo $BOSH_PACKAGE_NAME $BOSH_PACKAGE_VERSION > $BOSH_INSTALL_TARGET/name";
    fs::write(at("vcap/data/compile/tool/packaging"), packaging).unwrap();
    let mut child = first_process(&["lab", "compile"], Stdio::piped());
    let order =
        json!({"root": at("root"), "vcap": at("vcap"), "packages": at("store"), "name": "tool", "version": "f1"});
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let made = |name: &str| fs::read_to_string(at("vcap/packages/tool").join(name)).unwrap();
    assert_eq!(
        (made("net").as_str(), made("part").as_str(), made("name").as_str()),
        ("lo\n", "from the dependency", "tool f1\n")
    );
}
