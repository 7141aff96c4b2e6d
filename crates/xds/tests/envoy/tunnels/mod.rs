//! Tunnels of HTTP/2 CONNECT over mutual TLS, through real Envoys.

mod certificates;
mod denied;
mod program;
mod refused;
mod secrets;
mod site;

use std::time::Duration;

use program::{GREETING, Manner, Program, asks, connected, failures};
use site::{Role, Site};
use tokio::{io::AsyncReadExt, net::TcpStream};

#[tokio::test]
async fn a_program_that_is_spoken_to_answers_through_a_tunnel() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    assert_eq!(program.accepted(), 0, "nobody has called");
    assert_eq!(failures(site.service(), 200).await, 0);
    assert_eq!(program.accepted(), 200);
}

#[tokio::test]
async fn a_program_that_speaks_first_is_heard() {
    let site = Site::new();
    let _program = Program::start(site.program(2), Manner::Greets).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let mut stream = TcpStream::connect(site.service()).await.unwrap();
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, *GREETING);
    asks(&mut stream).await.unwrap();
}

#[tokio::test]
async fn an_instance_reaches_itself_by_the_virtual_ip() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vm = site.start(2, Role::Both, &[2], &site.ca.secrets(2)).await;
    assert_eq!(failures(site.service(), 40).await, 0);
    assert_eq!(program.accepted(), 40);
}

#[tokio::test]
async fn with_the_program_of_one_of_two_instances_down_no_connection_fails() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vms = (site.instance(2).await, site.instance(3).await, site.caller(&[2, 3]).await);
    assert_eq!(failures(site.service(), 800).await, 0);
    assert_eq!(program.accepted(), 800);
}

#[tokio::test]
async fn when_another_instance_has_an_address_now_no_connection_fails_or_reaches_it() {
    let site = Site::new();
    let right = Program::start(site.program(2), Manner::Echoes).await;
    let wrong = Program::start(site.program(3), Manner::Echoes).await;
    let other = site.start(3, Role::Instance, &[3], &site.ca.secrets(4)).await;
    let _vms = (site.instance(2).await, other, site.caller(&[2, 3]).await);
    assert_eq!(failures(site.service(), 800).await, 0);
    assert_eq!((right.accepted(), wrong.accepted()), (800, 0));
}

#[tokio::test]
async fn connections_are_as_many_as_programs_open() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let mut held = Vec::new();
    for number in 1..=1500 {
        held.push(connected(site.service()).await.unwrap_or_else(|error| panic!("connection {number}: {error}")));
    }
    for stream in &mut held {
        asks(stream).await.unwrap();
    }
    assert_eq!(program.accepted(), held.len());
}

#[tokio::test]
async fn programs_that_close_by_a_reset_end_no_other_tunnel() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Echoes).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(connected(site.service()).await.unwrap());
    }
    let resets = (0..8).map(|_| {
        let service = site.service();
        tokio::spawn(async move {
            for _ in 0..1250 {
                connected(service).await.unwrap().set_zero_linger().unwrap();
            }
        })
    });
    for reset in resets.collect::<Vec<_>>() {
        reset.await.unwrap();
    }
    for stream in &mut held {
        asks(stream).await.unwrap();
    }
    assert_eq!(program.accepted(), 10_012);
}

#[tokio::test]
async fn programs_that_never_read_stop_no_other() {
    const LONG_ENOUGH_TO_FILL_ALL_BUFFERS: Duration = Duration::from_secs(1);
    let site = Site::new();
    let _program = Program::start(site.program(2), Manner::FloodsOnZero).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(site.service()).await.unwrap();
        stream.try_write(b"0").unwrap();
        stuck.push(stream);
    }
    tokio::time::sleep(LONG_ENOUGH_TO_FILL_ALL_BUFFERS).await;
    assert_eq!(failures(site.service(), 8).await, 0);
}
