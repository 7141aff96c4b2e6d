//! `boshy identity`.

use std::{net::TcpListener, os::unix::net::UnixListener, thread};

use super::*;

const ID: &str = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11";

/// What `boshy identity allow` prints when a pilot answers so, and the first line of its request.
fn allowed(status: &str, body: &str, instance: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("pilot.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::scope(|scope| {
        let path = socket.to_str().unwrap();
        let asking = scope.spawn(move || boshy(["identity", "allow", "--socket", path, instance]));
        let asked = answer(listener.accept().unwrap().0, status, body);
        (asking.join().unwrap(), asked)
    })
}

#[test]
fn an_instance_is_named_by_its_id_or_as_bosh_shows_it() {
    for instance in [ID.to_owned(), format!("banana/{ID}")] {
        let (output, asked) = allowed("200 OK", r#"{"known": 1}"#, &instance);
        assert_eq!(asked, format!("POST /identity/allow/{} HTTP/1.1", ID.replace('-', "%2D")));
        let told = format!("the next key of the VM of instance {ID} is accepted\n");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), told));
    }
    let (output, _) = allowed("200 OK", r#"{"known": 0}"#, ID);
    let told = format!("this pilot knows no key of instance {ID}, so its VM may have any\n");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), told));
}

#[test]
fn what_the_pilot_refuses_and_a_pilot_that_is_not_there_are_failures_with_their_reason() {
    let (output, _) = allowed("503 Service Unavailable", "the pilot cannot keep the key on its disk", ID);
    let said = "the pilot answers 503 Service Unavailable: the pilot cannot keep the key on its disk";
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains(said), "{output:?}");
    let output = boshy(["identity", "allow", "--socket", "/nowhere/pilot.sock", ID]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("/nowhere/pilot.sock"), "{output:?}");
    assert!(refused(["identity", "allow"]).contains("INSTANCE"));
}

/// What a command that asks a pilot prints when the pilot answers so.
fn told<const N: usize>(arguments: [&str; N], body: &str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::scope(|scope| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boshy"));
        command.args(arguments).env_clear().env("BOSHY_PILOT", &url);
        let asking = scope.spawn(move || command.output().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        let count = stream.read(&mut [0; 4096]).unwrap();
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
        assert!(count > 0);
        asking.join().unwrap()
    })
}

/// A mesh in which one of two instances does not trust the next root yet.
const ON_THE_WAY: &str = r#"{"issuer": {"fingerprint": "01", "subject": "CN=old-ca", "end": 1}, "instances": 2, "silent": [], "of_others": [],
    "distrustful": [], "roots": [
    {"fingerprint": "0a", "subject": "CN=old", "end": 1, "trusted_by": 2, "missing": []},
    {"fingerprint": "0b", "subject": "CN=next", "end": 1, "trusted_by": 1, "missing": ["shop/web/id-2"]}]}"#;

#[test]
fn the_roots_are_shown_with_who_does_not_trust_them() {
    let output = told(["identity", "roots"], ON_THE_WAY);
    let shown = "authority 01 (CN=old-ca): 2 of 2 instances have its certificate\n\
                 root 0a (CN=old): 2 of 2 instances trust it\nroot 0b (CN=next): 1 of 2 instances trust it\n  not shop/web/id-2\n";
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), shown.to_owned()));
    let output = told(["identity", "roots", "--json"], ON_THE_WAY);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["roots"][1]["trusted_by"], 1);
}

#[test]
fn a_step_in_the_wrong_order_is_refused_with_who_is_not_ready() {
    let output = told(["identity", "check", "sign"], ON_THE_WAY);
    let refused = "boshy: not yet:\nshop/web/id-2 does not trust CN=next (0b) yet\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), refused.to_owned()));
    assert_eq!(told(["identity", "check", "retire"], ON_THE_WAY).status.code(), Some(0));
    assert!(super::refused(["identity", "check", "soon"]).contains("sign"));
}
