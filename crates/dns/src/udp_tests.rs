use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::time::timeout;

use super::*;
use crate::testing::{HTTPBIN, query, zone};

#[tokio::test]
async fn a_flood_leaves_the_thread_to_others_after_each_full_batch() {
    const FLOOD: u64 = 4 * BATCH as u64;
    let socket = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let client = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let question = query(HTTPBIN, RecordType::A).to_vec().unwrap();
    for _ in 0..FLOOD {
        client.send_to(&question, socket.local_addr().unwrap()).unwrap();
    }
    let stats = Arc::<Stats>::default();
    tokio::spawn(run(socket, CurrentZone::new(zone()), Arc::clone(&stats)));

    let mut seen = vec![0];
    let all = async {
        while seen[seen.len() - 1] < FLOOD {
            yield_now().await;
            seen.push(stats.snapshot().queries);
        }
    };
    timeout(Duration::from_secs(10), all).await.expect("every question is answered");
    seen.dedup();
    let batches: Vec<u64> = (0..=4).map(|count| count * BATCH as u64).collect();
    assert_eq!(seen, batches);
}
