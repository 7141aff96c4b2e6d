//! Tunnels of HTTP/2 CONNECT over mutual TLS, through real Envoys.

mod bad_instance;
mod certificates;
mod denied;
pub(crate) mod program;
mod refused;
mod secrets;
mod site;

use std::time::Duration;

use program::{GREETING, Manner, POURED, Program, asks, connected, drained, failures};
use site::{Role, Site};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const LONG_ENOUGH_TO_FILL_ALL_BUFFERS: Duration = Duration::from_secs(1);

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
async fn a_program_that_sends_much_and_closes_is_heard_to_the_end_also_by_one_that_reads_late() {
    const TIMES: usize = 5;
    let site = Site::new();
    let _program = Program::start(site.program(2), Manner::Pours).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    for _ in 0..TIMES {
        let mut stream = TcpStream::connect(site.service()).await.unwrap();
        assert_eq!(drained(&mut stream).await, POURED);
    }
    let mut late = Vec::new();
    for _ in 0..TIMES {
        late.push(TcpStream::connect(site.service()).await.unwrap());
    }
    tokio::time::sleep(LONG_ENOUGH_TO_FILL_ALL_BUFFERS).await;
    for stream in &mut late {
        assert_eq!(drained(stream).await, POURED);
    }
}

#[tokio::test]
async fn each_half_of_a_connection_ends_alone_and_nothing_is_left() {
    const MANY: usize = 1000;
    const LAST_WORDS: &[u8] = b"I go on";
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Shuts).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let mut held = Vec::new();
    for _ in 0..MANY {
        let mut stream = TcpStream::connect(site.service()).await.unwrap();
        assert_eq!(drained(&mut stream).await, GREETING.len());
        held.push(stream);
    }
    for mut stream in held {
        stream.write_all(LAST_WORDS).await.unwrap();
    }
    program.has_closed(MANY).await;
    assert_eq!(program.heard(), MANY * LAST_WORDS.len());
    for vm in [1, 2] {
        site.has_no_tunnel(vm).await;
    }
}

#[tokio::test]
async fn a_caller_of_a_program_that_is_down_is_closed_soon() {
    let site = Site::new();
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    for _ in 0..3 {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(site.service()).await.unwrap();
        assert_eq!(drained(&mut stream).await, 0);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn vms_with_and_without_a_tunnel_end_reach_each_other() {
    let site = Site::without_tunnel_end(&[1, 3]);
    let programs =
        [Program::start(site.program(2), Manner::Echoes).await, Program::start(site.program(3), Manner::Echoes).await];
    let _vms = (site.instance(2).await, site.instance(3).await, site.caller(&[2, 3]).await);
    assert_eq!(failures(site.service(), 400).await, 0);
    let [new, old] = programs.map(|program| program.accepted());
    assert!(new > 0 && old > 0 && new + old == 400, "{new} {old}");
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
async fn programs_that_close_before_their_callers_end_no_other_tunnel() {
    const HELD: usize = 12;
    /// Of eight callers: together more than a connection between Envoys may have open, for each of its workers.
    const EACH: usize = 500;
    const LAST_WORDS: &[u8] = b"I go on";
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Shuts).await;
    let _vms = (site.instance(2).await, site.caller(&[2]).await);
    let service = site.service();
    let mut held = Vec::new();
    for _ in 0..HELD {
        let mut stream = TcpStream::connect(service).await.unwrap();
        assert_eq!(drained(&mut stream).await, GREETING.len());
        held.push(stream);
    }
    let short = (0..8).map(|_| {
        tokio::spawn(async move {
            for number in 0..EACH {
                let mut stream = TcpStream::connect(service).await.unwrap();
                assert_eq!(drained(&mut stream).await, GREETING.len(), "connection {number}");
            }
        })
    });
    for one in short.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    for mut stream in held {
        stream.write_all(LAST_WORDS).await.unwrap();
    }
    program.has_closed(8 * EACH + HELD).await;
    assert_eq!(program.heard(), HELD * LAST_WORDS.len());
}

#[tokio::test]
async fn programs_that_never_read_stop_no_other() {
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
