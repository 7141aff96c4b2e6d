//! Questions that arrive before any name is known.

use std::time::Instant;

use boshy_dns::{PATIENCE, Zone};
use boshy_mesh::Tld;
use hickory_proto::{op::ResponseCode, rr::RecordType};
use tokio::net::TcpStream;

use crate::world::{GREEN, HTTPBIN, World, address_in, question, tcp_receive, tcp_send, zone};

fn not_known_yet() -> World {
    World::of(Zone::not_known_yet(&Tld::default()))
}

#[tokio::test]
async fn what_is_not_known_yet_is_waited_for_and_holds_up_nothing_else() {
    let world = not_known_yet();
    let _server = world.start();
    let (client, other) = (world.client().await, world.client().await);
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    let query = question(1, HTTPBIN, RecordType::A).to_vec().unwrap();
    client.send(&query).await;
    tcp_send(&mut stream, &query).await;
    let outside = other.ask(&question(2, "example.org.", RecordType::A)).await;
    assert_eq!(outside.metadata.response_code, ResponseCode::Refused);
    // The question over UDP and this one are counted on arrival.
    world.counted(2).await;
    world.zones.store(zone(GREEN, 1));
    assert_eq!(address_in(&client.receive().await), Some(GREEN));
    assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(GREEN));
}

#[tokio::test]
async fn what_is_waited_for_in_vain_is_servfail_before_a_forwarder_gives_up() {
    const { assert!(PATIENCE.as_millis() < 2000, "bosh-dns waits two seconds and says that the name does not exist") };
    let world = not_known_yet();
    let _server = world.start();
    let client = world.client().await;
    let began = Instant::now();
    let reply = client.ask(&question(1, HTTPBIN, RecordType::A)).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    tcp_send(&mut stream, &question(2, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
    assert_eq!(tcp_receive(&mut stream).await.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn there_is_room_for_so_many_that_wait_and_the_next_is_answered_at_once() {
    const MORE: u64 = 1100;
    let world = not_known_yet();
    let _server = world.start();
    let client = world.client().await;
    let began = Instant::now();
    for id in 0..MORE {
        client.send(&question(id as u16, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
        world.counted(id + 1).await;
    }
    let reply = client.receive().await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.metadata.id >= 1024 || began.elapsed() > PATIENCE, "{}", reply.metadata.id);
    world.zones.store(zone(GREEN, 1));
    let mut found = 0;
    while found == 0 {
        found += usize::from(address_in(&client.receive().await).is_some());
    }
}
