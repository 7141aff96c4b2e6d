//! Tests the binary from outside: output and exit codes.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod authz;
mod degraded;
mod identity;
mod memory;
mod neighbours;
mod vouch;
mod withdraw;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

/// Wrong usage or settings, `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;

fn boshy<const N: usize>(arguments: [&str; N]) -> Output {
    // An empty environment, so that only the command line decides.
    Command::new(env!("CARGO_BIN_EXE_boshy")).args(arguments).env_clear().output().unwrap()
}

/// Standard output of a command that must succeed.
fn printed<const N: usize>(arguments: [&str; N]) -> String {
    let output = boshy(arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    text(&output.stdout)
}

/// Standard error of a command that must be refused, with nothing on standard output.
fn refused<const N: usize>(arguments: [&str; N]) -> String {
    let output = boshy(arguments);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(USAGE), String::new()), "{arguments:?}");
    text(&output.stderr)
}

/// Answers the one request of a connection, as a pilot does. Returns the request's first line.
fn answer(mut stream: impl Read + Write, status: &str, body: &str) -> String {
    let mut asked = [0; 4096];
    let count = stream.read(&mut asked).unwrap();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    text(&asked[..count]).lines().next().unwrap().to_owned()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn example(role: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/{role}.example.yml"))
}

/// A copy of the example settings with one more line.
fn settings_with(role: &str, line: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.yml");
    fs::write(&file, fs::read_to_string(example(role)).unwrap() + line).unwrap();
    (folder, file.display().to_string())
}

/// Settings of an agent that needs no privileges and affects no other process.
fn harmless_agent(http: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, at) = (folder.path().join("settings.yml"), folder.path().display());
    let settings = format!(
        "
node: {{ip: 10.244.0.130}}
pilots: ['http://127.0.0.1:1']
state_dir: {at}/state
ads_socket: {at}/ads.sock
dns: {{listen: '127.0.0.1:0'}}
http: {{listen: '{http}'}}
envoy: {{admin: '127.0.0.1:1', mode: absent}}
netfilter: {{backend: none}}
"
    );
    fs::write(&file, settings).unwrap();
    (folder, file.display().to_string())
}

#[test]
fn an_unknown_key_stops_the_start_with_file_key_and_reason() {
    for role in ["pilot", "agent"] {
        let (_folder, file) = settings_with(role, "\nvip_rnage: 10.0.0.0/8\n");
        let said = refused([role, "--config", &file]);
        assert!(said.contains(&file) && said.contains("vip_rnage") && said.contains("unknown field"), "{said}");
    }
}

#[test]
fn a_value_that_cannot_be_is_named_with_its_file_and_key() {
    for role in ["pilot", "agent"] {
        let (_folder, file) = settings_with(role, "\nvip_range: 127.0.0.0/8\n");
        let said = refused([role, "--config", &file]);
        assert!(said.contains(&file) && said.contains("vip_range") && said.contains("loopback"), "{said}");
    }
}

#[test]
fn a_missing_settings_file_is_named_with_the_reason() {
    for role in ["pilot", "agent", "envoy", "envoy-bootstrap"] {
        let said = refused([role, "--config", "/nonexistent/settings.yml"]);
        assert_eq!(said, "boshy: /nonexistent/settings.yml: cannot be read: No such file or directory (os error 2)\n");
    }
}

#[test]
fn without_a_subcommand_or_with_a_wrong_one_the_usage_is_shown() {
    assert!(refused([]).contains("Usage: boshy <COMMAND>"));
    assert!(refused(["pilto"]).contains("unrecognized subcommand 'pilto'"));
    assert!(refused(["pilot"]).contains("--config <FILE>"));
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let help = printed(["--help"]);
    assert!(help.contains("Examples:\n  boshy pilot --config") && help.contains("Exit codes: 0 success"), "{help}");
    for role in ["pilot", "agent", "envoy", "envoy-bootstrap", "completion"] {
        assert!(printed([role, "--help"]).contains("Example"), "{role}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(printed(["--version"]), format!("boshy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completion_prints_a_script_that_the_shell_accepts() {
    let script = printed(["completion", "bash"]);
    assert!(script.contains("complete -F _boshy"), "{script}");
    let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[test]
fn the_bootstrap_of_an_envoy_is_json_that_names_node_socket_and_admin_address() {
    let config = example("agent").display().to_string();
    let bootstrap: Value = serde_json::from_str(&printed(["envoy-bootstrap", "--config", &config])).unwrap();
    assert_eq!(bootstrap["node"]["id"], "sidecar~10.244.0.130~x~x");
    let admin = json!({"address": "127.0.0.1", "port_value": 8001});
    assert_eq!(bootstrap["admin"]["address"]["socket_address"], admin);
    let clusters = bootstrap["static_resources"]["clusters"].to_string();
    assert!(clusters.contains("/var/vcap/data/virtual-ip-agent/ads.sock"), "{clusters}");
    let sotw: Value =
        serde_json::from_str(&printed(["envoy-bootstrap", "--config", &config, "--protocol", "sotw"])).unwrap();
    assert_ne!(sotw, bootstrap);
}

#[test]
fn a_role_told_to_stop_exits_in_order() {
    let (_folder, file) = harmless_agent("127.0.0.1:0");
    let mut agent = Command::new(env!("CARGO_BIN_EXE_boshy"))
        .args(["agent", "--config", &file])
        .env_clear()
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("serving HTTP")), "it ended before it served");
    let killed = Command::new("kill").args(["-TERM", &agent.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(log.any(|line| line.contains("stopped")));
    assert_eq!(agent.wait().unwrap().code(), Some(0));
}

#[test]
fn a_certificate_that_cannot_be_used_is_found_before_anything_is_begun() {
    let said = refused(["pilot", "--config", &example("pilot").display().to_string()]);
    assert!(said.contains("use the director's settings: the CA certificate of the director cannot be used"), "{said}");
}
