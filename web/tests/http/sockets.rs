//! Octets on the wire, which in-process tests do not show.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use boshy_web::{
    pilot,
    server::{self, Server},
};

use crate::samples::{self, orchard};

/// Long enough that only a server that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(20);

fn serve() -> Server {
    serve_on("127.0.0.1:0")
}

fn serve_on(address: &str) -> Server {
    let (_sender, view) = samples::pilot(orchard());
    let listener = TcpListener::bind(address).unwrap();
    server::start(listener, 2, move |config| pilot::configure(config, &view)).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends octets and reads until the server closes.
async fn exchange(address: SocketAddr, request: String) -> String {
    actix_web::rt::task::spawn_blocking(move || {
        let mut stream = connect(address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    })
    .await
    .unwrap()
}

/// One request that closes the connection.
async fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    exchange(address, format!("{line} HTTP/1.1\r\nHost: pilot\r\nConnection: close\r\n{headers}\r\n")).await
}

fn body(response: &str) -> &str {
    response.split_once("\r\n\r\n").unwrap().1
}

#[actix_web::test]
async fn raw_requests_are_answered_as_the_api_did() {
    let server = serve();
    let at = server.address();
    for (line, headers, status, expected) in [
        ("GET /v1/az/x/sidecar~10.0.0.1~x~x", "", "200 OK", "z1"),
        ("GET /v1/registration/nobody|http", "", "200 OK", "{\n  \"hosts\": []\n }"),
        ("GET /v1/registration/a%2Fb", "", "404 Not Found", "404: Page Not Found"),
        ("GET /v1/registration/%", "", "400 Bad Request", "400 Bad Request"),
        ("GET //v1/registration", "", "301 Moved Permanently", ""),
        ("GET /v1/registration", "Accept: text/html\r\n", "406 Not Acceptable", "406: Not Acceptable"),
        ("POST /v1/registration", "Content-Length: 0\r\n", "405 Method Not Allowed", "405: Method Not Allowed"),
        ("HEAD /v1/registration", "", "405 Method Not Allowed", ""),
        ("HEAD /healthz", "", "200 OK", ""),
        ("HEAD /readyz", "", "200 OK", ""),
        ("GET /healthz", "", "200 OK", "ok\n"),
    ] {
        let response = ask(at, line, headers).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {response}");
        assert_eq!(body(&response), expected, "{line}");
        assert!(!response.to_lowercase().contains("\r\nallow:"), "{line}: {response}");
    }
    server.stop().await;
}

#[actix_web::test]
async fn head_announces_what_get_would_send() {
    let server = serve();
    let length = |response: &str| {
        response
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok())
            .unwrap()
    };
    let get = ask(server.address(), "GET /healthz", "").await;
    let head = ask(server.address(), "HEAD /healthz", "").await;
    assert_eq!((length(&head), body(&head)), (length(&get), ""));
    server.stop().await;
}

#[actix_web::test]
async fn workers_share_one_cache() {
    let server = serve();
    for _connection in 0..6 {
        ask(server.address(), "GET /v1/clusters/x/sidecar~10.0.0.1~x~x", "").await;
    }
    let statistics = ask(server.address(), "GET /cache_stats", "").await;
    assert!(statistics.contains("\"hit\": 5,\n    \"miss\": 1"), "{statistics}");
    server.stop().await;
}

#[actix_web::test]
async fn http2_is_not_spoken() {
    let server = serve();
    let response = exchange(server.address(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()).await;
    assert!(response.starts_with("HTTP/1.1 4"), "{response}");
    server.stop().await;
}

#[actix_web::test]
async fn a_body_that_nobody_reads_does_not_stay_in_memory() {
    let server = serve();
    let announced = format!("Content-Length: {}\r\n", 1u64 << 40);
    let response = ask(server.address(), "POST /v1/registration", &announced).await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    server.stop().await;
}

#[actix_web::test]
async fn half_a_request_is_not_waited_for_for_ever() {
    let server = serve();
    let response = exchange(server.address(), "GET /healthz HTTP/1.1\r\nHost:".into()).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 408 "), "{response}");
    server.stop().await;
}

// These two have a loopback address each, so that no other test is given the port that they free.

#[actix_web::test]
async fn a_stopped_server_has_freed_its_address() {
    let mut server = serve_on("127.0.0.3:0");
    let address = server.address();
    assert!(ask(address, "GET /healthz", "").await.ends_with("ok\n"));
    let ended = tokio::time::timeout(Duration::from_millis(1), server.ended()).await;
    assert!(ended.is_err(), "a server does not end by itself: {ended:?}");
    assert!(TcpListener::bind(address).is_err());
    server.stop().await;
    TcpListener::bind(address).unwrap();
}

#[actix_web::test]
async fn a_dropped_server_frees_its_address() {
    let server = serve_on("127.0.0.4:0");
    let address = server.address();
    drop(server);
    let rebound = tokio::time::timeout(PATIENCE, async {
        while TcpListener::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    });
    assert!(rebound.await.is_ok());
}
