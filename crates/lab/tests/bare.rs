//! Tests labs without the mesh from the outside: real namespaces, real processes, the command line.
//!
//! The processes of a lab run the program that starts it, which here is this test. So called with a command of the lab,
//! it runs that command, otherwise the tests.
//!
//! The tests need a kernel that lets this user create namespaces; on any other they fail with a message.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test program, which clippy takes for a program only")]

mod driver;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use boshy_httpbin::HttpbinCommand;
use boshy_lab::{LabCommand, LabError, LabSettings};
use clap::Parser;
use libtest_mimic::{Arguments, Trial};

use self::driver::{Lab, TWO_VMS, command_line, eventually, family, network, parent, processes, running};

#[derive(Parser)]
enum Program {
    #[command(subcommand)]
    Lab(LabCommand),
    Httpbin(HttpbinCommand),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_none_or(|first| first != "lab" && first != "httpbin") {
        return test();
    }
    program(Program::parse()).unwrap_or_else(|error| {
        eprintln!("{}", error.chain());
        ExitCode::from(error.exit_status())
    })
}

fn program(program: Program) -> Result<ExitCode, LabError> {
    match program {
        Program::Lab(command) => {
            let boshy = std::env::current_exe().unwrap();
            boshy_lab::run(&command, LabSettings { boshy })
        }
        Program::Httpbin(command) => {
            boshy_httpbin::run(&command).expect("httpbin serves");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs functions as tests, under their own names.
macro_rules! tests {
    ($($name:ident)*) => {
        fn test() -> ExitCode {
            let tests = vec![$(Trial::test(stringify!($name), || { $name(); Ok(()) })),*];
            libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
        }
    };
}

tests! {
    vms_have_names_addresses_and_roots_of_their_own_and_reach_each_other
    an_ordinary_user_has_a_lab_and_is_told_what_differs
    exec_passes_input_output_and_the_exit_status_through
    a_killed_job_comes_back_and_a_stopped_one_stays_down
    names_that_no_job_answers_for_are_refused
    vms_follow_what_is_deployed
    a_rebooted_vm_starts_what_monit_would_and_keeps_its_disk
    an_ended_vm_leaves_the_network_though_its_namespace_lives_on
    a_vm_whose_first_process_dies_is_shown_dead_until_it_is_booted_again
    the_director_is_reached_from_the_host_with_what_env_prints
    a_second_lab_in_the_same_place_is_refused_with_what_to_do
    down_leaves_nothing
    killing_the_keeper_leaves_no_process_and_no_namespace
    a_lab_in_the_foreground_goes_with_its_command
    ctrl_c_takes_a_lab_in_the_foreground_down
}

fn vms_have_names_addresses_and_roots_of_their_own_and_reach_each_other() {
    let lab = Lab::up();
    let vms = lab.status()["vms"].as_array().unwrap().clone();
    let shown: Vec<_> = vms.iter().map(|vm| (vm["ip"].as_str().unwrap(), vm["az"].as_str().unwrap())).collect();
    assert_eq!(shown, [("10.244.0.126", "z1"), ("10.244.0.127", "z2")]);

    let answer = lab.get("web/0", "10.244.0.127", 9001);
    assert!(answer.contains("x-instance: web/1") && answer.contains("\"origin\":\"10.244.0.126\""), "{answer}");

    assert_eq!(lab.sh("web/1", "cat /var/vcap/instance/{name,az,deployment}"), "webz2sample");
    assert_eq!(lab.sh("web/1", "hostname; cat /var/vcap/instance/id").lines().collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(lab.sh("web/0", "awk '$2 == \"00000000\"' /proc/net/route"), "", "there is a default route");
    // The director's hardware address stays the same when VMs are added or removed.
    let director = lab.sh("web/0", "exec 3<>/dev/tcp/10.244.0.2/25555; grep '^10.244.0.2 ' /proc/net/arp");
    assert!(director.contains(" 02:00:0a:f4:00:02 "), "{director}");
    let marker = lab.home.path().join("marker");
    fs::write(&marker, "").unwrap();
    assert_eq!(lab.sh("web/0", &format!("test -e {} || echo hidden", marker.display())), "hidden\n");
    let refused = lab.run(["exec", "web/0", "--", "touch", "/etc/passwd", "/usr/x"]);
    assert!(!refused.status.success(), "a VM can write to the host's files");
}

fn an_ordinary_user_has_a_lab_and_is_told_what_differs() {
    let lab = Lab::of_an_ordinary_user();
    let up = lab.run(["up", "--empty"]);
    assert!(up.status.success(), "{up:?}");
    let told = String::from_utf8(up.stderr).unwrap();
    assert!(told.contains("jobs run as the one user of this lab, not as vcap"), "{told}");
    lab.deploys(TWO_VMS);
    let answer = lab.get("web/0", "10.244.0.127", 9001);
    assert!(answer.contains("x-instance: web/1"), "{answer}");
    let map = lab.sh("web/0", "cat /proc/self/uid_map");
    let map: Vec<_> = map.split_whitespace().collect();
    assert!(map.len() == 3 && map[0] == "0" && map[1] != "0" && map[2] == "1", "{map:?}");

    let processes = family(lab.keeper());
    lab.succeeds(["down"]);
    assert!(!lab.state().exists());
    eventually("the end of every process", || !processes.iter().any(|process| running(*process)));
}

fn exec_passes_input_output_and_the_exit_status_through() {
    let lab = Lab::up();
    let output = lab.run(["exec", "sample/web/1", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(7), &b"out\n"[..], &b"err\n"[..]));
    assert_eq!(lab.run(["exec", "web/0", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));

    assert_eq!(lab.run(["exec", "web/0", "--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(143));

    let input = lab.manifest("from stdin\n");
    let output = lab.command(["exec", "web/0", "--", "cat"]).stdin(fs::File::open(input).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"from stdin\n");
    let output = lab.command(["exec", "web/0", "--", "env"]).env("KEPT", "yes").env("http_proxy", "http://x").output();
    let environment = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(environment.contains("KEPT=yes") && !environment.contains("http_proxy"), "{environment}");

    assert_eq!(lab.run(["exec", "web/0", "--"]).status.code(), Some(2), "clap's status for wrong usage");
    assert_eq!(lab.fails(["exec", "web/7", "--", "true"]), "there is no VM web/7; there are web/0, web/1\n");
    assert_eq!(lab.fails(["exec", "web/0", "--", "nonesuch"]), "there is no program nonesuch on sample/web/0\n");
}

fn a_killed_job_comes_back_and_a_stopped_one_stays_down() {
    let lab = Lab::up();
    lab.succeeds(["kill", "web/0", "greeter"]);
    eventually("the restart of greeter", || lab.job(0, "greeter") == ("running".to_owned(), 1));
    let before = Instant::now();
    lab.succeeds(["stop", "web/0", "greeter"]);
    assert!(before.elapsed() < Duration::from_secs(10), "SIGTERM did not reach the job");
    assert_eq!(lab.job(0, "greeter"), ("stopped".to_owned(), 1));
    lab.succeeds(["start", "web/0", "greeter"]);
    assert_eq!(lab.job(0, "greeter"), ("running".to_owned(), 1));

    let logs = lab.succeeds(["logs", "web/0", "greeter"]);
    assert_eq!(logs.matches("hello").count(), 3, "{logs}");
    assert!(lab.fails(["kill", "web/0", "nonesuch"]).starts_with("sample/web/0 has no job nonesuch; it has "));
}

fn names_that_no_job_answers_for_are_refused() {
    let lab = Lab::up();
    // A question for `a`, type A, class IN. In the answer, the last four bits of the fourth byte are the code.
    let script = r#"exec 3<>/dev/udp/169.254.0.2/53
        printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01' >&3
        timeout 5 dd bs=512 count=1 <&3 2>/dev/null | od -An -tx1 -N4"#;
    assert_eq!(lab.sh("web/0", script).trim(), "12 34 81 85");
}

fn vms_follow_what_is_deployed() {
    let lab = Lab::up();
    let id = |index: usize| lab.status()["vms"][index]["id"].as_str().unwrap().to_owned();
    let first = (id(0), lab.sh("web/0", "stat -c %Y /proc/1; echo kept > /tmp/kept"));
    let three = lab.manifest(&TWO_VMS.replace("instances: 2", "instances: 3"));
    lab.succeeds(["deploy", three.to_str().unwrap()]);
    assert_eq!(lab.status()["vms"].as_array().unwrap().len(), 3);
    assert_eq!(
        (id(0), lab.sh("web/0", "cat /tmp/kept")),
        (first.0, "kept\n".to_owned()),
        "an unchanged VM was made anew"
    );

    let one = lab.manifest(&TWO_VMS.replace("instances: 2", "instances: 1"));
    lab.succeeds(["deploy", one.to_str().unwrap()]);
    assert_eq!(lab.status()["vms"].as_array().unwrap().len(), 1);
    assert!(lab.fails(["exec", "web/1", "--", "true"]).starts_with("there is no VM web/1"));
    lab.succeeds(["delete", "sample"]);
    assert!(lab.status()["vms"].as_array().unwrap().is_empty());
    assert!(lab.fails(["delete", "sample"]).contains("sample"));
    assert!(lab.fails(["deploy", lab.manifest("name: [").to_str().unwrap()]).contains("line 2"));
}

fn a_rebooted_vm_starts_what_monit_would_and_keeps_its_disk() {
    let lab = Lab::up();
    lab.sh("web/0", "echo kept > /var/vcap/store/kept; echo gone > /tmp/gone; echo gone > /var/vcap/sys/run/gone");
    lab.succeeds(["reboot", "web/0"]);
    eventually("the jobs of web/0", || lab.job(0, "web").0 == "running" && lab.job(0, "greeter").0 == "running");
    let left = lab.sh("web/0", "cat /var/vcap/store/kept; ls /tmp/gone /var/vcap/sys/run/gone 2>/dev/null || true");
    assert_eq!(left, "kept\n");
    eventually("an answer of web/0", || {
        lab.run(["exec", "web/1", "--", "bash", "-c", "exec 3<>/dev/tcp/10.244.0.126/9001"]).status.success()
    });
}

/// As sockets do that still have something to send, for a minute and more.
fn an_ended_vm_leaves_the_network_though_its_namespace_lives_on() {
    let lab = Lab::up();
    let keeper = lab.keeper();
    let first = processes(|path| command_line(path).ends_with("lab\0vm\0"));
    let own = first.into_iter().filter(|process| parent(*process) == Some(keeper));
    let held: Vec<_> = own.map(|process| fs::File::open(format!("/proc/{process}/ns/net")).unwrap()).collect();
    let ports = || fs::read_to_string(format!("/proc/{keeper}/net/dev")).unwrap().matches("port").count();
    assert_eq!((held.len(), ports()), (2, 2));
    lab.succeeds(["reboot", "web/0"]);
    assert_eq!(ports(), 2, "an ended VM answers under the address of the one that has it now");
    lab.succeeds(["delete", "sample"]);
    assert_eq!(ports(), 0);
}

fn a_vm_whose_first_process_dies_is_shown_dead_until_it_is_booted_again() {
    let lab = Lab::up();
    let keeper = lab.keeper();
    let first = processes(|path| command_line(path).ends_with("lab\0vm\0"));
    let own = first.into_iter().find(|process| parent(*process) == Some(keeper)).unwrap();
    assert!(Command::new("kill").args(["-9", &own.to_string()]).status().unwrap().success());
    let alive = || lab.status()["vms"].as_array().unwrap().iter().filter(|vm| vm["alive"] == true).count();
    eventually("a dead VM", || alive() == 1);
    let dead = lab.status()["vms"].as_array().unwrap().iter().position(|vm| vm["alive"] == false).unwrap();
    let dead = format!("web/{dead}");
    assert!(lab.succeeds(["status"]).contains(&format!("boshy lab reboot {dead}")));
    assert!(lab.fails(["exec", &dead, "--", "true"]).contains("is not running"));
    lab.succeeds(["reboot", &dead]);
    assert_eq!(alive(), 2);
    lab.succeeds(["exec", &dead, "--", "true"]);
}

fn the_director_is_reached_from_the_host_with_what_env_prints() {
    let lab = Lab::new();
    assert!(lab.fails(["env"]).contains("no lab is running"));
    lab.succeeds(["up", "--empty"]);
    let exports = lab.succeeds(["env"]);
    let script = format!("{exports}\nprintf '%s' \"$BOSH_ENVIRONMENT\"");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    let address = url.strip_prefix("https://").unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{url}");
    std::net::TcpStream::connect(address).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(lab.state().join("director.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let other = Lab::new();
    other.succeeds(["up", "--empty"]);
    assert_ne!(other.succeeds(["env"]), exports, "two labs beside each other are two");
}

fn a_second_lab_in_the_same_place_is_refused_with_what_to_do() {
    let lab = Lab::up();
    let told = lab.fails(["up", "--empty"]);
    assert!(told.contains("already running") && told.contains("boshy lab down"), "{told}");
    lab.succeeds(["status"]);
}

fn down_leaves_nothing() {
    let lab = Lab::up();
    let processes = family(lab.keeper());
    lab.succeeds(["down"]);
    assert!(!lab.state().exists());
    for process in processes {
        assert!(!running(process), "process {process} is left");
    }
    assert!(lab.fails(["status"]).contains("no lab is running"));
    lab.succeeds(["down"]);
}

fn killing_the_keeper_leaves_no_process_and_no_namespace() {
    let lab = Lab::up();
    let keeper = lab.keeper();
    let processes_before = family(keeper);
    let networks: BTreeSet<_> =
        processes_before.iter().filter_map(|id| network(Path::new(&format!("/proc/{id}")))).collect();
    assert!(processes_before.len() >= 9, "keeper, two VMs, three jobs each: {processes_before:?}");
    assert_eq!(networks.len(), 3, "one network of the keeper, one of each VM");
    assert!(Command::new("kill").args(["-9", &keeper.to_string()]).status().unwrap().success());

    eventually("the end of every process", || processes_before.iter().all(|process| !running(*process)));
    let left = processes(|path| network(path).is_some_and(|own| networks.contains(&own)));
    assert!(left.is_empty(), "{left:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.state().to_str().unwrap()) && !mounts.contains("nsfs"), "{mounts}");

    lab.succeeds(["up", "--empty"]);
}

/// Waits until a lab in the foreground reports that it is up. From then on it lives as long as this command, which is
/// not yet so when the keeper answers.
fn in_the_foreground(lab: &Lab) -> Child {
    let mut command = lab.command(["up", "--foreground", "--empty"]);
    let mut foreground = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(foreground.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("the director is up"), "{said}");
    foreground
}

fn a_lab_in_the_foreground_goes_with_its_command() {
    let lab = Lab::new();
    let mut foreground = in_the_foreground(&lab);
    let keeper = lab.keeper();
    foreground.kill().unwrap();
    foreground.wait().unwrap();
    eventually("the end of the keeper", || !running(keeper));
}

fn ctrl_c_takes_a_lab_in_the_foreground_down() {
    let lab = Lab::new();
    let mut foreground = in_the_foreground(&lab);
    assert!(Command::new("kill").args(["-INT", &foreground.id().to_string()]).status().unwrap().success());
    assert_eq!(foreground.wait().unwrap().code(), Some(130));
    assert!(!lab.state().exists());
}
