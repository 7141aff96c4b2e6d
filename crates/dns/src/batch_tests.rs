use std::{net::UdpSocket, os::fd::AsFd, time::Duration};

use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    (server, client)
}

fn echo(batch: &mut Batch) {
    batch.answer(|datagram, _, reply| {
        reply[..datagram.octets.len()].copy_from_slice(datagram.octets);
        Some(datagram.octets.len())
    });
}

#[test]
fn every_datagram_of_a_batch_goes_back_to_its_own_sender() {
    let (server, first) = pair();
    let second = UdpSocket::bind("127.0.0.1:0").unwrap();
    second.connect(server.local_addr().unwrap()).unwrap();
    second.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for number in 0..BATCH as u8 / 2 {
        first.send(&[1, number]).unwrap();
        second.send(&[2, number, 0]).unwrap();
    }
    let mut batch = Batch::new();
    assert_eq!(batch.receive(server.as_fd()).unwrap(), BATCH);
    echo(&mut batch);
    assert_eq!(batch.send(server.as_fd()).unwrap(), 0);
    for number in 0..BATCH as u8 / 2 {
        let mut octets = [0; 8];
        assert_eq!(first.recv(&mut octets).unwrap(), 2);
        assert_eq!(octets[..2], [1, number]);
        assert_eq!(second.recv(&mut octets).unwrap(), 3);
        assert_eq!(octets[..2], [2, number]);
    }
}

#[test]
fn an_empty_socket_would_block_and_leaves_nothing_to_send() {
    let (server, client) = pair();
    client.send(b"once").unwrap();
    let mut batch = Batch::new();
    assert_eq!(batch.receive(server.as_fd()).unwrap(), 1);
    echo(&mut batch);
    assert_eq!(batch.receive(server.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    echo(&mut batch);
    batch.send(server.as_fd()).unwrap();
    client.set_nonblocking(true).unwrap();
    assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn an_answer_that_the_kernel_refuses_does_not_hold_up_the_others() {
    let (server, client) = pair();
    for number in 0..3 {
        client.send(&[number]).unwrap();
    }
    let mut batch = Batch::new();
    assert_eq!(batch.receive(server.as_fd()).unwrap(), 3);
    echo(&mut batch);
    batch.slots[1].peer.ss_family = libc::AF_INET6 as libc::sa_family_t;
    assert_eq!(batch.send(server.as_fd()).unwrap(), 1);
    let mut octets = [0; 8];
    for number in [0, 2] {
        client.recv(&mut octets).unwrap();
        assert_eq!(octets[0], number);
    }
}

#[test]
fn a_datagram_larger_than_the_buffer_is_marked() {
    let (server, client) = pair();
    client.send(&[7; REQUEST + 1]).unwrap();
    client.send(&[8; REQUEST]).unwrap();
    let mut batch = Batch::new();
    batch.receive(server.as_fd()).unwrap();
    let mut seen = Vec::new();
    batch.answer(|datagram, _, _| {
        seen.push((datagram.octets.len(), datagram.cut_short));
        None
    });
    assert_eq!(seen, [(REQUEST, true), (REQUEST, false)]);
}
