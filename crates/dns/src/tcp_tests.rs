use std::net::SocketAddr;

use arc_swap::ArcSwap;
use hickory_proto::rr::RecordType;

use super::*;
use crate::testing::{HTTPBIN, query, zone};

fn started() -> (SocketAddr, Arc<Stats>) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let stats = Arc::<Stats>::default();
    tokio::spawn(run(listener, Arc::new(ArcSwap::from_pointee(zone())), Arc::clone(&stats)));
    (address, stats)
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(&framed(&query(HTTPBIN, RecordType::A).to_vec().unwrap())).await.unwrap();
}

async fn answer_length(stream: &mut TcpStream) -> u16 {
    let length = stream.read_u16().await.unwrap();
    stream.read_exact(&mut vec![0; usize::from(length)]).await.unwrap();
    length
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let (address, stats) = started();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream).await;
        answer_length(&mut stream).await;
        open.push(stream);
    }
    let mut late = TcpStream::connect(address).await.unwrap();
    ask(&mut late).await;
    ask(&mut open[0]).await;
    answer_length(&mut open[0]).await;
    assert_eq!(stats.snapshot().tcp_connections, CONNECTIONS as u64, "the late one is not accepted");

    drop(open.pop());
    assert!(timeout(PATIENCE, answer_length(&mut late)).await.unwrap() > 0);
    assert_eq!(stats.snapshot().tcp_connections, CONNECTIONS as u64 + 1);
}

#[tokio::test(start_paused = true)]
async fn rfc7766_6_2_3_a_silent_connection_is_closed() {
    let (address, _) = started();
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
    answer_length(&mut stream).await;
    stream.write_all(&[0]).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert!(began.elapsed() >= PATIENCE - Duration::from_millis(10), "{:?}", began.elapsed());
}
