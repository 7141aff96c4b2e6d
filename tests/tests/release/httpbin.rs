//! The job `example-httpbin`.

use serde_json::json;

use crate::job::Deployed;

#[test]
fn it_listens_on_its_port_and_answers_with_its_instance() {
    for (deployed, port) in
        [(Deployed::of("example-httpbin"), "8000"), (Deployed::of("example-httpbin").with("port", 9002), "9002")]
    {
        let rendered = deployed.rendered();
        assert_eq!(rendered.process()["args"], json!(["httpbin", "--port", port, "--instance", "banana/1"]));
        assert!(rendered.file("bin/post-start").contains(&format!("http://127.0.0.1:{port}/get")));
    }
}

#[test]
fn a_wrong_port_is_refused_by_name() {
    for port in [json!("9002"), json!(0), json!([9002])] {
        Deployed::of("example-httpbin").with("port", port).is_refused("port", "must be a whole number");
    }
}
