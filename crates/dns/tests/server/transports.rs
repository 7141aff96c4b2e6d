//! UDP and TCP, plain questions and others, IPv4 and IPv6: the same answers.

use std::sync::Arc;

use boshy_dns::{CurrentZone, Rcode, Sockets, serve};
use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::{DNSClass, RecordType},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::world::{BLUE, Client, DEADLINE, HTTPBIN, World, address_in, question, tcp_receive, tcp_send, zone};

#[tokio::test]
async fn udp_and_tcp_give_the_same_answers() {
    let world = World::new();
    let _server = world.start();
    let client = world.client().await;
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    for (name, qtype) in [
        (HTTPBIN, RecordType::A),
        ("HTTPBIN.Banana.sample.boshy.", RecordType::A),
        (HTTPBIN, RecordType::AAAA),
        ("banana.sample.boshy.", RecordType::A),
        ("nope.boshy.", RecordType::A),
        ("boshy.", RecordType::SOA),
        ("boshy.", RecordType::NS),
        ("boshy.", RecordType::AXFR),
        ("example.org.", RecordType::A),
    ] {
        let query = question(1, name, qtype);
        let over_udp = client.ask(&query).await;
        tcp_send(&mut stream, &query.to_vec().unwrap()).await;
        assert_eq!(over_udp, tcp_receive(&mut stream).await, "{name} {qtype}");
    }
}

#[tokio::test]
async fn rfc7766_6_2_1_1_questions_may_follow_each_other_on_a_connection_without_waiting() {
    let world = World::new();
    let _server = world.start();
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    for id in 0..50 {
        tcp_send(&mut stream, &question(id, HTTPBIN, RecordType::A).to_vec().unwrap()).await;
    }
    for id in 0..50 {
        let reply = tcp_receive(&mut stream).await;
        assert_eq!((reply.metadata.id, address_in(&reply)), (id, Some(BLUE)));
    }
}

#[tokio::test]
async fn what_is_not_plain_is_answered_on_udp_and_a_response_is_not() {
    let world = World::new();
    let _server = world.start();
    let client = world.client().await;

    let mut chaos = question(1, "version.bind.", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(client.ask(&chaos).await.metadata.response_code, ResponseCode::Refused);
    let mut update = question(2, "boshy.", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert_eq!(client.ask(&update).await.metadata.response_code, ResponseCode::NotImp);
    let good = question(3, HTTPBIN, RecordType::A).to_vec().unwrap();
    client.send(&good[..20]).await;
    assert_eq!(client.receive().await.metadata.response_code, ResponseCode::FormErr);
    client.send(&[&good[..12], &[0; 5000]].concat()).await;
    assert_eq!(client.receive().await.metadata.response_code, ResponseCode::FormErr);

    let mut response = good.clone();
    response[2] |= 0x80;
    client.send(&response).await;
    client.send(&good[..11]).await;
    let reply = client.ask(&question(4, HTTPBIN, RecordType::A)).await;
    assert_eq!(address_in(&reply), Some(BLUE), "the next answer belongs to the next question");

    world.counted(7).await;
    let stats = world.stats.snapshot();
    assert_eq!((stats.queries, stats.dropped, stats.cut_short, stats.fallback), (7, 2, 1, 4));
    let by_code = [Rcode::NoError, Rcode::FormErr, Rcode::NotImp, Rcode::Refused].map(|rcode| stats.answered(rcode));
    assert_eq!(by_code, [1, 2, 1, 1]);
}

#[tokio::test]
async fn a_malformed_message_on_tcp_is_answered_and_the_connection_goes_on() {
    let world = World::new();
    let _server = world.start();
    let mut stream = TcpStream::connect(world.sockets.address()).await.unwrap();
    let good = question(9, HTTPBIN, RecordType::A).to_vec().unwrap();
    tcp_send(&mut stream, &good[..14]).await;
    assert_eq!(tcp_receive(&mut stream).await.metadata.response_code, ResponseCode::FormErr);
    tcp_send(&mut stream, &good).await;
    assert_eq!(address_in(&tcp_receive(&mut stream).await), Some(BLUE));
    tcp_send(&mut stream, &good[..5]).await;
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "closed");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let world = World::new();
    let error = Sockets::bind(world.sockets.address()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot bind the DNS server's TCP socket to {}", world.sockets.address()));
    assert_eq!(error.source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn ipv6_clients_are_served_too() {
    let sockets = Sockets::bind("[::1]:0".parse().unwrap()).unwrap();
    let zones = CurrentZone::new(zone(BLUE, 1));
    tokio::spawn(serve(sockets.clone(), zones, Arc::default(), std::future::pending()));
    let socket = UdpSocket::bind("[::1]:0").await.unwrap();
    socket.connect(sockets.address()).await.unwrap();
    assert_eq!(address_in(&Client(socket).ask(&question(5, HTTPBIN, RecordType::A)).await), Some(BLUE));
}
