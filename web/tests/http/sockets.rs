//! Tests the bytes on the wire, which in-process tests do not show.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use boshy_web::{
    pilot,
    server::{self, Listener, Server},
};

use crate::samples::{self, orchard};

/// Long enough that only a server that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn serve() -> Server {
    serve_on("127.0.0.1:0")
}

fn serve_on(address: &str) -> Server {
    let (_sender, view) = samples::pilot(orchard());
    let listener = TcpListener::bind(address).unwrap();
    server::start(Listener::Tcp(listener), 2, move |config| pilot::configure(config, &view)).unwrap()
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
    let at = server.address().unwrap();
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
    let get = ask(server.address().unwrap(), "GET /healthz", "").await;
    let head = ask(server.address().unwrap(), "HEAD /healthz", "").await;
    assert_eq!((length(&head), body(&head)), (length(&get), ""));
    server.stop().await;
}

#[actix_web::test]
async fn workers_share_one_cache() {
    let server = serve();
    for _connection in 0..6 {
        ask(server.address().unwrap(), "GET /v1/clusters/x/sidecar~10.0.0.1~x~x", "").await;
    }
    let statistics = ask(server.address().unwrap(), "GET /cache_stats", "").await;
    assert!(statistics.contains("\"hit\": 5,\n    \"miss\": 1"), "{statistics}");
    server.stop().await;
}

#[actix_web::test]
async fn http2_is_not_spoken() {
    let server = serve();
    let response = exchange(server.address().unwrap(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()).await;
    assert!(response.starts_with("HTTP/1.1 4"), "{response}");
    server.stop().await;
}

#[actix_web::test]
async fn a_body_that_nobody_reads_does_not_stay_in_memory() {
    let server = serve();
    let announced = format!("Content-Length: {}\r\n", 1u64 << 40);
    let response = ask(server.address().unwrap(), "POST /v1/registration", &announced).await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    server.stop().await;
}

#[actix_web::test]
async fn half_a_request_is_not_waited_for_for_ever() {
    let server = serve();
    let response = exchange(server.address().unwrap(), "GET /healthz HTTP/1.1\r\nHost:".into()).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 408 "), "{response}");
    server.stop().await;
}

// These two use a loopback address each, so that no other test gets the port that they free.

#[actix_web::test]
async fn a_stopped_server_has_freed_its_address() {
    let mut server = serve_on("127.0.0.3:0");
    let address = server.address().unwrap();
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
    let address = server.address().unwrap();
    drop(server);
    let rebound = tokio::time::timeout(PATIENCE, async {
        while TcpListener::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    });
    assert!(rebound.await.is_ok());
}

/// Opens connections one after the other and keeps them all open.
fn hoard(address: SocketAddr, connections: usize) -> Vec<TcpStream> {
    let hold = |_| {
        let mut stream = connect(address);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: pilot\r\n\r\n").unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    };
    (0..connections).map(hold).collect()
}

#[actix_web::test]
async fn connections_that_a_client_keeps_alive_keep_nobody_out_nor_its_own_next_one() {
    let server = serve();
    let at = server.address().unwrap();
    let held = actix_web::rt::task::spawn_blocking(move || {
        let mut held = hoard(at, 600);
        // The connection that was idle longest has been closed; the newest has not.
        let mut rest = Vec::new();
        held[0].read_to_end(&mut rest).unwrap();
        held[599].set_nonblocking(true).unwrap();
        loop {
            match held[599].read(&mut [0; 1024]) {
                Ok(0) => panic!("the newest connection was closed"),
                Ok(_) => {}
                Err(error) => break assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
        held
    });
    let held = held.await.unwrap();
    assert!(ask(at, "GET /healthz", "").await.ends_with("ok\n"));
    assert!(ask(at, "GET /metrics", "").await.starts_with("HTTP/1.1 200"));
    drop(held);
    server.stop().await;
}

#[actix_web::test]
async fn a_connection_without_a_request_and_a_head_that_drips_are_not_waited_for() {
    let server = serve();
    let at = server.address().unwrap();
    let silent = exchange(at, String::new());
    let drips = actix_web::rt::task::spawn_blocking(move || {
        let mut stream = connect(at);
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let begin = std::time::Instant::now();
        loop {
            // Either kind of end: a write that fails, or data followed by the end of the stream.
            if stream.write_all(b"X: y\r\n").is_err() || stream.read(&mut [0; 1024]).is_ok() {
                break begin.elapsed();
            }
            assert!(begin.elapsed() < PATIENCE);
        }
    });
    let (silent, drips) = (silent.await, drips.await.unwrap());
    assert!(silent.is_empty() || silent.starts_with("HTTP/1.1 408 "), "{silent}");
    assert!(drips < PATIENCE, "{drips:?}");
    server.stop().await;
}

#[actix_web::test]
async fn a_unix_socket_serves_the_same() {
    let disk = tempfile::tempdir().unwrap();
    let path = disk.path().join("health.sock");
    let (_sender, view) = samples::pilot(orchard());
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = server::start(Listener::Unix(listener), 1, move |config| pilot::configure(config, &view)).unwrap();
    let answer = actix_web::rt::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
        // Like monit: without a host, in the version that closes the connection after each response.
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    server.stop().await;
}
