use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use actix_web::{
    http::StatusCode,
    test::{TestRequest, call_service, init_service, read_body},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;

const INSTANCE: &str = "banana/1";

/// Sends a request and returns status, `X-Instance` and body.
async fn ask(request: TestRequest) -> (StatusCode, String, Vec<u8>) {
    let service = init_service(application(INSTANCE.to_owned())).await;
    let response = call_service(&service, request.to_request()).await;
    let instance = response.headers().get("x-instance").unwrap().to_str().unwrap().to_owned();
    (response.status(), instance, read_body(response).await.to_vec())
}

async fn json_of(request: TestRequest) -> Value {
    let (status, instance, body) = ask(request).await;
    assert_eq!((status, instance.as_str()), (StatusCode::OK, INSTANCE));
    serde_json::from_slice(&body).unwrap()
}

async fn status_of(path: &str) -> u16 {
    ask(TestRequest::get().uri(path)).await.0.as_u16()
}

#[actix_web::test]
async fn get_tells_what_was_asked_and_who_answered() {
    let request = TestRequest::get()
        .uri("/get?a=1&a=2&b=x%20y")
        .insert_header(("Host", "example.boshy:9002"))
        .insert_header(("x-request-id", "7"))
        .peer_addr("10.244.0.126:4711".parse().unwrap());
    assert_eq!(
        json_of(request).await,
        json!({
            "args": {"a": ["1", "2"], "b": ["x y"]},
            "headers": {"Host": ["example.boshy:9002"], "X-Request-Id": ["7"]},
            "instance": INSTANCE,
            "method": "GET",
            "origin": "10.244.0.126",
            "url": "http://example.boshy:9002/get?a=1&a=2&b=x%20y",
        })
    );
}

#[actix_web::test]
async fn a_body_is_shown_as_its_type_says() {
    let body = async |kind: &'static str, text: &'static str| {
        let request = TestRequest::post().uri("/post").insert_header(("Content-Type", kind)).set_payload(text);
        let answer = json_of(request).await;
        (answer["data"].clone(), answer["form"].clone(), answer["json"].clone())
    };
    assert_eq!(body("text/plain; charset=utf-8", "hi").await, (json!("hi"), json!({}), Value::Null));
    assert_eq!(body("application/json", "{\"a\":1}").await, (json!("{\"a\":1}"), json!({}), json!({"a": 1})));
    let form = body("application/x-www-form-urlencoded", "a=1&a=2").await;
    assert_eq!(form, (json!("a=1&a=2"), json!({"a": ["1", "2"]}), Value::Null));
    assert_eq!(body("image/x", "hi").await.0, json!("data:image/x;base64,aGk="));
}

#[actix_web::test]
async fn anything_answers_any_method_below_any_path() {
    let answer = json_of(TestRequest::delete().uri("/anything/a/b?c=d")).await;
    assert_eq!((&answer["method"], &answer["args"]), (&json!("DELETE"), &json!({"c": ["d"]})));
    assert_eq!(answer["data"], "");
}

#[actix_web::test]
async fn broken_json_is_refused_in_go_httpbins_shape() {
    let request = TestRequest::post().uri("/post").insert_header(("Content-Type", "application/json")).set_payload("{");
    let (status, _, body) = ask(request).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.as_u16(), &body["status_code"], &body["error"]), (400, &json!(400), &json!("Bad Request")));
}

#[actix_web::test]
async fn headers_and_ip_are_as_the_client_sent_them() {
    let headers =
        json_of(TestRequest::get().uri("/headers").insert_header(("x-a", "1")).append_header(("x-a", "2"))).await;
    assert_eq!(headers["headers"]["X-A"], json!(["1", "2"]));
    let ip = json_of(TestRequest::get().uri("/ip").peer_addr("10.0.0.9:1".parse().unwrap())).await;
    assert_eq!(ip, json!({"instance": INSTANCE, "origin": "10.0.0.9"}));
}

#[actix_web::test]
async fn status_answers_with_the_status_asked_for() {
    for code in [200, 204, 302, 404, 418, 503, 599] {
        assert_eq!(status_of(&format!("/status/{code}")).await, code);
    }
    for wrong in ["0", "100", "600", "x", "-1"] {
        assert_eq!(status_of(&format!("/status/{wrong}")).await, 400, "{wrong}");
    }
    assert_eq!(status_of("/nowhere").await, 404);
}

#[actix_web::test]
async fn bytes_are_as_many_as_asked_and_the_same_for_the_same_seed() {
    let bytes = async |path: &str| ask(TestRequest::get().uri(path)).await.2;
    assert_eq!(bytes("/bytes/102400").await.len(), 102_400);
    assert_eq!(bytes("/bytes/64?seed=1").await, bytes("/bytes/64?seed=1").await);
    assert_ne!(bytes("/bytes/64?seed=1").await, bytes("/bytes/64?seed=2").await);
    assert_eq!(status_of("/bytes/102401").await, 400);
}

#[actix_web::test]
async fn a_delay_waits_and_then_answers_and_a_long_one_is_refused() {
    let before = Instant::now();
    assert_eq!(json_of(TestRequest::get().uri("/delay/0.05")).await["method"], "GET");
    assert!(before.elapsed() >= Duration::from_millis(50));
    for wrong in ["10.1", "-1", "NaN", "x", "inf"] {
        assert_eq!(status_of(&format!("/delay/{wrong}")).await, 400, "{wrong}");
    }
}

#[test]
fn an_instance_is_named_by_boshs_files() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("name"), "banana").unwrap();
    fs::write(directory.path().join("id"), "673e1726\n").unwrap();
    assert_eq!(instance_name(directory.path()).unwrap(), "banana/673e1726");
    assert!(!instance_name(Path::new("/nowhere")).unwrap().is_empty());
}

#[test]
fn who_connected_before_the_end_is_answered_and_who_comes_later_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let shutdown = async { stopped.await.unwrap() };
        actix_rt::System::new().block_on(serve(&listener, INSTANCE.to_owned(), shutdown)).unwrap();
    });
    let mut early = TcpStream::connect(address).unwrap();
    // Connections are accepted in order, so the early one is accepted once a later one is answered.
    assert_eq!(asked(&mut TcpStream::connect(address).unwrap()), "HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "connections are still taken");
        thread::yield_now();
    }
    assert_eq!(asked(&mut early), "HTTP/1.1 200 OK");
    server.join().unwrap();
}

/// The status line of the answer to a request.
fn asked(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET /ip HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}
