//! A tunnel end between an Envoy, which is a client of HTTP/2 here, and programs.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

mod envoy;

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use envoy::{Envoy, Tunnel, site};
use h2::Reason;
use http::{Method, StatusCode};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const DEADLINE: Duration = Duration::from_secs(20);
/// More than the windows and the kernel hold.
const MUCH: usize = 30_000_000;

/// A program, at an address of this VM.
async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A tunnel and the program's end of it.
async fn connected(envoy: &mut Envoy) -> (Tunnel, TcpStream) {
    let (listener, at) = listening().await;
    let tunnel = envoy.opens(at).await.unwrap();
    (tunnel, listener.accept().await.unwrap().0)
}

async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    timeout(DEADLINE, waiting).await.expect("within the deadline")
}

/// Everything that a program reads, and how that ends.
async fn read_to_end(program: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut octets = Vec::new();
    let end = in_time(program.read_to_end(&mut octets)).await.map(drop);
    (octets, end)
}

#[tokio::test]
async fn the_programs_half_ends_alone() {
    let mut envoy = site().await;
    let (mut tunnel, mut program) = connected(&mut envoy).await;
    program.write_all(b"answer").await.unwrap();
    program.shutdown().await.unwrap();
    assert_eq!(in_time(tunnel.heard()).await, (b"answer".to_vec(), None));
    tunnel.says(b"I go ");
    tunnel.says(b"on");
    tunnel.ends();
    assert_eq!(read_to_end(&mut program).await.0, b"I go on");
}

#[tokio::test]
async fn the_callers_half_ends_alone() {
    let mut envoy = site().await;
    let (mut tunnel, mut program) = connected(&mut envoy).await;
    tunnel.says(b"question");
    tunnel.ends();
    let (heard, end) = read_to_end(&mut program).await;
    assert!(heard == b"question" && end.is_ok());
    program.write_all(b"answer").await.unwrap();
    drop(program);
    assert_eq!(in_time(tunnel.heard()).await, (b"answer".to_vec(), None));
}

#[tokio::test]
async fn a_program_that_sends_much_and_closes_is_held_back_and_heard_to_the_end_by_one_that_reads_late() {
    let mut envoy = site().await;
    let (mut tunnel, mut program) = connected(&mut envoy).await;
    let sending = tokio::spawn(async move { program.write_all(&vec![7; MUCH]).await });
    // It has sent what the stream admits, and what the kernel holds.
    tunnel.is_full().await;
    assert!(!sending.is_finished());
    let (heard, reset) = in_time(tunnel.heard()).await;
    assert_eq!((heard.len(), reset), (MUCH, None));
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_caller_that_sends_much_is_held_back_by_a_program_that_reads_late() {
    let mut envoy = site().await;
    let (tunnel, mut program) = connected(&mut envoy).await;
    let sending = tokio::spawn(tunnel.pours(MUCH));
    // One that does not read stops no other.
    let (mut other, mut its_program) = connected(&mut envoy).await;
    other.says(b"question");
    other.ends();
    assert_eq!(read_to_end(&mut its_program).await.0, b"question");
    assert!(!sending.is_finished());
    assert_eq!(read_to_end(&mut program).await.0.len(), MUCH);
    drop(program);
    in_time(sending).await.unwrap();
}

#[tokio::test]
async fn a_callers_reset_resets_the_program_after_it_has_what_came_before() {
    for half_closed in [false, true] {
        let mut envoy = site().await;
        let (mut tunnel, mut program) = connected(&mut envoy).await;
        tunnel.says(b"question");
        if half_closed {
            tunnel.ends();
            assert_eq!(read_to_end(&mut program).await.0, b"question");
        } else {
            let mut question = [0; 8];
            in_time(program.read_exact(&mut question)).await.unwrap();
            tunnel.says(b"more");
            envoy.has_sent().await;
        }
        tunnel.is_reset();
        let reset = in_time(async {
            loop {
                // Of one that has read the end, only a write notices it.
                match program.try_write(b"x") {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return error,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        });
        assert!(matches!(reset.await.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
        if !half_closed {
            let mut more = Vec::new();
            let _ = program.read_to_end(&mut more).await;
            assert_eq!(more, b"more");
        }
    }
}

#[tokio::test]
async fn a_callers_reset_reaches_a_program_that_does_not_read() {
    let mut envoy = site().await;
    let (tunnel, program) = connected(&mut envoy).await;
    let sending = tokio::spawn(tunnel.pours(MUCH));
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Its stream goes with it.
    sending.abort();
    let reset = in_time(async {
        while program.try_write(b"").is_ok() && program.take_error().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    reset.await;
}

#[tokio::test]
async fn the_end_of_envoys_connection_resets_its_programs() {
    let mut envoy = site().await;
    let (tunnel, mut program) = connected(&mut envoy).await;
    let (tunnel2, mut program2) = connected(&mut envoy).await;
    envoy.dies();
    drop((tunnel, tunnel2));
    for program in [&mut program, &mut program2] {
        let error = read_to_end(program).await.1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_program_that_resets_is_heard_before_and_then_takes_no_more() {
    let mut envoy = site().await;
    let (mut tunnel, mut program) = connected(&mut envoy).await;
    program.write_all(b"answer").await.unwrap();
    tunnel.hears(b"answer").await;
    program.set_zero_linger().unwrap();
    drop(program);
    assert_eq!(in_time(tunnel.heard()).await.0, b"");
    assert_eq!(in_time(tunnel.reset()).await, Reason::NO_ERROR);
}

#[tokio::test]
async fn what_cannot_be_connected_is_answered_why() {
    let mut envoy = site().await;
    let (listener, at) = listening().await;
    drop(listener);
    assert_eq!(envoy.opens(at).await.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE, "nothing listens");
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
    assert_eq!(envoy.opens(elsewhere).await.unwrap_err(), StatusCode::NOT_FOUND, "another VM's");

    let (_listener, at) = listening().await;
    let at = at.to_string();
    let asks = [
        (Method::CONNECT, vec![]),
        (Method::CONNECT, vec!["web.g.d.boshy:80"]),
        (Method::CONNECT, vec![&*at, &*at]),
        (Method::GET, vec![&*at]),
    ];
    for (method, programs) in asks {
        let answer = envoy.asks(method.clone(), &programs).await.unwrap_err();
        assert_eq!(answer, StatusCode::BAD_REQUEST, "{method} {programs:?}");
    }
    assert!(envoy.asks(Method::CONNECT, &[&at]).await.is_ok(), "and the connection goes on");
}

#[tokio::test]
async fn a_program_whose_backlog_is_full_is_given_up_soon() {
    let mut envoy = site().await;
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    full.listen(0).unwrap();
    let at = full.local_addr().unwrap().as_socket().unwrap();
    let _fills = TcpStream::connect(at).await.unwrap();
    let begun = Instant::now();
    assert_eq!(envoy.opens(at).await.unwrap_err(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_program_sees_the_vms_own_address() {
    let mut envoy = site().await;
    let listener = TcpListener::bind("127.0.0.9:0").await.unwrap();
    let _tunnel = envoy.opens(listener.local_addr().unwrap()).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip(), Ipv4Addr::new(127, 0, 0, 9));
}

#[tokio::test]
async fn thousands_of_tunnels_that_are_reset_at_once_end_no_other() {
    let mut envoy = site().await;
    let (mut held, mut its_program) = connected(&mut envoy).await;
    let (listener, at) = listening().await;
    let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for _ in 0..50 {
        envoy.opens_and_resets(at, 100).await;
    }
    held.says(b"question");
    held.ends();
    assert_eq!(read_to_end(&mut its_program).await.0, b"question");
    accepting.abort();
}

#[tokio::test]
async fn only_its_owner_may_use_it_and_an_earlier_ones_socket_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("programs.sock");
    drop(envoy::start(&socket));
    assert!(socket.exists(), "the kernel does not remove it");
    let _end = envoy::start(&socket);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}
