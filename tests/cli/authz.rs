//! `boshy authz check`.

use std::{net::TcpListener, thread};

use super::*;

const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: db, namespace: shop}\n";

#[test]
fn files_of_policies_are_checked_and_each_mistake_has_its_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right.yml"), folder.path().join("wrong.yml"));
    fs::write(&right, format!("{POLICY}spec: {{}}\n")).unwrap();
    fs::write(&wrong, format!("{POLICY}spec:\n  rules: [{{to: [{{operation: {{ports: [0], paths: [/]}}}}]}}]\n"))
        .unwrap();
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    assert_eq!(printed(["authz", "check", "--file", right]), format!("{right}: right, 1 documents\n"));
    let output = boshy(["authz", "check", "--file", right, "--file", wrong]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], format!("{right}: right, 1 documents"));
    assert_eq!(lines[1], format!("{wrong}:5:38: `ports` must be a port number from 1 to 65535, is \"0\""));
    assert!(lines[2].starts_with(&format!("{wrong}:5:49: `paths` is about HTTP requests")), "{told}");
}

/// What the command prints when a pilot answers so, and the first line of its request.
fn answered(status: &str, body: &str, to: &str) -> (Output, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        let asking = scope.spawn(|| boshy(["authz", "check", "--pilot", &url, "shop/web", to]));
        let asked = answer(listener.accept().unwrap().0, status, body);
        (asking.join().unwrap(), asked)
    })
}

const DENIED: &str = r#"{"from": "spiffe://boshy/ns/shop/sa/web", "to": "a.b.c.boshy:80", "mode": "STRICT",
    "policies": {"allowed": false, "reason": "denied by a rule", "documents": [], "line": 3}, "trial": null, "unenforced": null}"#;

#[test]
fn a_denied_connection_is_told_with_its_reason_and_exits_1() {
    let (output, asked) = answered("200 OK", DENIED, "a.b.c.boshy:80");
    assert_eq!(output.status.code(), Some(1));
    let told = "denied: spiffe://boshy/ns/shop/sa/web -> a.b.c.boshy:80 (STRICT)\ndenied by a rule\n";
    assert_eq!(text(&output.stdout), told);
    assert_eq!(asked, "GET /authz?from=shop%2Fweb&to=a%2Eb%2Ec%2Eboshy%3A80 HTTP/1.1");
}

#[test]
fn a_question_that_the_pilot_refuses_is_a_failure_on_standard_error() {
    let (output, _) = answered("400 Bad Request", "there is no service \"x\" in the mesh", "x:80");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    assert!(text(&output.stderr).contains("400 Bad Request: there is no service \"x\" in the mesh"), "{output:?}");
}

#[test]
fn a_caller_without_a_target_is_wrong_usage() {
    assert!(refused(["authz", "check", "shop/web"]).contains("TO:PORT"));
    assert!(refused(["authz", "check"]).contains("FROM"));
}

#[test]
fn a_pilot_at_an_https_url_is_asked_only_when_it_is_said_whom_to_trust() {
    let told = refused_to_ask(["authz", "check", "--pilot", "https://127.0.0.1:1", "a/b", "c.d.e.boshy:80"]);
    assert!(told.contains("give --pilot-ca"), "{told}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let ca = file.path().to_str().unwrap();
    let told =
        refused_to_ask(["authz", "check", "--pilot", "https://127.0.0.1:1", "--pilot-ca", ca, "a/b", "c.d.e.boshy:80"]);
    assert!(told.contains(ca) && told.contains("it holds no certificate"), "{told}");
}

fn refused_to_ask<const N: usize>(arguments: [&str; N]) -> String {
    let output = boshy(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    text(&output.stderr)
}
