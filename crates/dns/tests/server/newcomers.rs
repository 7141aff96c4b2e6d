//! Clients that keep their connections busy, beside those that come.

use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::world::{BLUE, DEADLINE, HTTPBIN, World, address_in, framed, question};

/// Asks over a connection and reads the answer.
async fn ask_over(stream: &mut TcpStream) -> std::io::Result<()> {
    let query = question(7, HTTPBIN, RecordType::A).to_vec().unwrap();
    stream.write_all(&framed(&query)).await?;
    let length = stream.read_u16().await?;
    stream.read_exact(&mut vec![0; usize::from(length)]).await.map(drop)
}

/// Repeats an action for some time and returns the longest duration of one.
async fn slowest(time: Duration, mut act: impl AsyncFnMut()) -> Duration {
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < time {
        let at = Instant::now();
        act().await;
        slowest = slowest.max(at.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    slowest
}

/// Checks that newcomers are served while TCP clients keep asking one valid question every three seconds.
async fn is_there_for_newcomers(clients: usize) {
    let world = World::new();
    let running = world.start();
    let address = world.sockets.address();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask_over(&mut stream).await.unwrap();
        asking.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if ask_over(&mut stream).await.is_err() {
                    return;
                }
            }
        });
    }
    // Long enough for two questions from each client.
    let time = Duration::from_secs(7);
    let over_tcp = slowest(time, async || {
        let served = async { ask_over(&mut TcpStream::connect(address).await.unwrap()).await.unwrap() };
        timeout(DEADLINE, served).await.expect("a newcomer is served");
    });
    let client = world.client().await;
    let over_udp = slowest(time, async || {
        let answer = client.ask(&question(9, HTTPBIN, RecordType::A)).await;
        assert_eq!(address_in(&answer), Some(BLUE));
    });
    let (over_tcp, over_udp) = tokio::join!(over_tcp, over_udp);
    assert!(over_tcp < Duration::from_secs(1), "{clients} clients: a newcomer waited {over_tcp:?}");
    assert!(over_udp < Duration::from_secs(1), "{clients} clients: an answer over UDP took {over_udp:?}");
    asking.abort_all();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_clients_that_ask_every_three_seconds_hold_up_neither_newcomers_nor_udp() {
    tokio::join!(
        is_there_for_newcomers(64),
        is_there_for_newcomers(70),
        is_there_for_newcomers(128),
        is_there_for_newcomers(300)
    );
}
