//! No answer is lost or wrong while the server or its zone is replaced.

use hickory_proto::{op::ResponseCode, rr::RecordType};
use tokio::{net::TcpStream, time::timeout};

use crate::world::{BLUE, Client, DEADLINE, GREEN, HTTPBIN, World, address_in, question, tcp_receive, tcp_send, zone};

#[tokio::test]
async fn questions_wait_for_the_next_server_and_none_is_lost() {
    let world = World::new();
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(world.client().await);
    }
    for round in 0..3 {
        for client in &clients {
            client.send(&question(round, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        }
        let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
        tcp_send(&mut stream, &question(round, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        let server = world.start();
        for client in &clients {
            assert_eq!(client.receive().await.metadata.id, round);
        }
        assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(BLUE));
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_is_swapped_under_load_without_a_wrong_or_a_lost_answer() {
    const WINDOW: u16 = 32;
    const SWAPS: u32 = 200;
    let world = World::new();
    let _server = world.start();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (address, zones) = (world.sockets.address(), world.zones.clone());
            tokio::spawn(async move {
                let client = Client::new(address).await;
                let mut rounds = 0;
                // Continue until the last swap, and then once more.
                loop {
                    let last = zones.load().serial() == SWAPS;
                    for id in 0..WINDOW {
                        client.send(&question(id, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
                    }
                    let mut seen = [false; WINDOW as usize];
                    for _ in 0..WINDOW {
                        let reply = client.receive().await;
                        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                        let address = address_in(&reply).expect("an address");
                        assert!(address == GREEN || address == BLUE && !last, "{address} after the last swap: {last}");
                        assert!(!std::mem::replace(&mut seen[usize::from(reply.metadata.id)], true), "answered twice");
                    }
                    rounds += 1;
                    if last {
                        return rounds;
                    }
                }
            })
        })
        .collect();
    for serial in 2..=SWAPS {
        let before = world.stats.snapshot().queries;
        world.zones.store(zone(if serial % 2 == 0 { GREEN } else { BLUE }, serial));
        world.counted(before + 64).await;
    }
    for asker in askers {
        let rounds: u32 = timeout(DEADLINE, asker).await.expect("no answer is lost").unwrap();
        assert!(rounds > 1);
    }
}
