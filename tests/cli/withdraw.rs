//! `boshy withdraw`.

use std::{os::unix::net::UnixListener, thread};

use super::*;

/// What the command prints when an agent answers so, and the first line of its request.
fn withdrawn(arguments: &[&'static str], status: &str, body: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::scope(|scope| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boshy"));
        command.arg("withdraw").arg("--socket").arg(&socket).args(arguments).env_clear();
        let asking = scope.spawn(move || command.output().unwrap());
        let asked = answer(listener.accept().unwrap().0, status, body);
        (asking.join().unwrap(), asked)
    })
}

#[test]
fn who_knows_is_printed() {
    let (output, asked) =
        withdrawn(&["--within", "7"], "200 OK", r#"{"told": ["http://a:1/"], "untold": {}, "is_called": true}"#);
    assert_eq!(asked, "POST /stopping?within=7 HTTP/1.1");
    let told = "callers no longer get this VM, as told by http://a:1/\n";
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), told.to_owned()));

    let (output, _) = withdrawn(&[], "200 OK", r#"{"told": ["http://a:1/"], "untold": {}, "is_called": false}"#);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "this VM is no endpoint of a service\n".to_owned())
    );

    let (output, asked) = withdrawn(&["--undo"], "200 OK", r#"{"was_stopping": true}"#);
    assert_eq!(asked, "DELETE /stopping HTTP/1.1");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "callers get this VM\n".to_owned()));
}

#[test]
fn a_pilot_that_does_not_know_and_an_agent_that_is_not_there_are_failures_with_their_reason() {
    let body = r#"{"told": [], "untold": {"http://a:1/": "connection refused"}, "is_called": false}"#;
    let (output, _) = withdrawn(&[], "200 OK", body);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("http://a:1/: connection refused"), "{output:?}");
    let output = boshy(["withdraw", "--socket", "/nowhere/agent.sock"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("/nowhere/agent.sock"), "{output:?}");
    assert!(refused(["withdraw", "--within", "601"]).contains("601"));
    assert!(refused(["withdraw", "--within", "5", "--undo"]).contains("--undo"));
}
