use std::net::SocketAddr;

use hickory_proto::rr::RecordType;

use super::*;
use crate::testing::{HTTPBIN, query, zone};

fn started() -> (SocketAddr, Arc<Stats>) {
    let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let stats = Arc::<Stats>::default();
    tokio::spawn(run(listener, CurrentZone::new(zone()), Arc::clone(&stats)));
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

/// What a client does with a connection to keep other clients out.
#[derive(Clone, Copy, Debug)]
enum Hostile {
    /// Asks valid questions: a first one, and another one each time it is told to after an answer.
    Asking,
    Silent,
    /// Sends a part of a question and stops.
    Half,
    /// Announces the longest message and sends part of it.
    Long,
    /// Keeps asking and never reads.
    Deaf,
}

impl Hostile {
    async fn connects(self, address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match self {
            Self::Asking => {
                ask(&mut stream).await;
                answer_length(&mut stream).await;
            }
            Self::Silent => {}
            Self::Half => stream.write_all(&[0, 40, 1, 2, 3]).await.unwrap(),
            Self::Long => stream.write_all(&[&[0xff, 0xff][..], &[0; 8192]].concat()).await.unwrap(),
            Self::Deaf => {
                let questions = framed(&query(HTTPBIN, RecordType::A).to_vec().unwrap()).repeat(1000);
                while timeout(Duration::from_millis(50), stream.write_all(&questions))
                    .await
                    .is_ok_and(|sent| sent.is_ok())
                {}
            }
        }
        stream
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_served_within_a_second_whoever_holds_the_places() {
    use Hostile::*;
    for (hostile, count) in [(Asking, 64), (Asking, 500), (Silent, 500), (Half, 500), (Long, 500), (Deaf, 64)] {
        let (address, _) = started();
        let mut open = Vec::new();
        for _ in 0..count {
            open.push(hostile.connects(address).await);
        }
        for _ in 0..20 {
            let began = std::time::Instant::now();
            let newcomer = async {
                let mut stream = TcpStream::connect(address).await.unwrap();
                ask(&mut stream).await;
                answer_length(&mut stream).await
            };
            let served = timeout(Duration::from_secs(20), newcomer).await;
            assert!(
                served.is_ok() && began.elapsed() < Duration::from_secs(1),
                "{hostile:?} {count}: {:?}",
                began.elapsed()
            );
            open.push(hostile.connects(address).await);
        }
    }
}

#[tokio::test]
async fn who_is_of_no_use_makes_room_and_who_asks_stays() {
    let (address, stats) = started();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 * CONNECTIONS {
        ask(&mut busy).await;
        answer_length(&mut busy).await;
        let mut other = TcpStream::connect(address).await.unwrap();
        ask(&mut other).await;
        answer_length(&mut other).await;
        std::mem::forget(other.into_std().unwrap());
    }
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
    ask(&mut busy).await;
    assert!(answer_length(&mut busy).await > 0);
    assert_eq!(stats.snapshot().tcp_connections, 2 + 2 * CONNECTIONS as u64);
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
