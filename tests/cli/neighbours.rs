//! Runs an agent on a VM whose ports are held by other jobs, or whose network is unusual. The agent runs, reports what
//! is missing, and picks it up once it is available.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::net::UnixListener,
    time::Duration,
};

use serde_json::Value;

use crate::degraded::{Agent, NOBODY, VCAP, alone, rules, sh};

const HANDLER: &str = "handler: {listen: '127.0.0.1:15054'}\n";

/// The response code of a question about the mesh's own zone.
fn dns_answers() -> Option<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, 15053)).unwrap();
    socket.send(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05boshy\0\0\x06\0\x01").ok()?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).ok()?;
    (length > 12).then(|| answer[3] & 15)
}

/// Asks about another zone. Such a question is answered at once, whether the zone is known or not.
fn is_answered() -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, 15053)).unwrap();
    let sent = socket.send(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05other\0\0\x01\0\x01");
    sent.is_ok() && socket.recv(&mut [0; 512]).is_ok()
}

/// The pid of the process that a keeper has started.
fn kept(keeper: u32) -> String {
    sh(&format!("until grep -q . /proc/{keeper}/task/{keeper}/children; do sleep 0.01; done; cat /proc/{keeper}/task/{keeper}/children"))
        .trim()
        .to_owned()
}

fn logs(agent: &Agent, text: &str) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !agent.log().contains(text) {
        assert!(std::time::Instant::now() < deadline, "waited in vain for {text:?} in:\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn in_place(status: &Value) -> bool {
    status["rules"]["in_place"] == true && status["rules"]["route"]["in_place"] == true
}

#[test]
fn every_socket_may_be_taken_and_costs_its_own_function_until_it_is_free() {
    alone("neighbours::every_socket_may_be_taken_and_costs_its_own_function_until_it_is_free", || {
        let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        for (what, port) in [("dns", 15053), ("handler", 15054)] {
            let holder = listen(port);
            let agent = Agent::start(&VCAP, NOBODY, HANDLER);
            agent.lacks(what, "Address already in use", &format!("See who holds 127.0.0.1:{port}"));
            agent.shows("the rest works", in_place);
            drop(holder);
            agent.has(what);
            assert!(dns_answers().is_some());
            agent.stops();
        }
        // A UDP socket alone is enough to block the port.
        let holder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 15053)).unwrap();
        let agent = Agent::start(&VCAP, NOBODY, "");
        agent.lacks("dns", "Address already in use", "See who holds 127.0.0.1:15053");
        drop(holder);
        agent.has("dns");
        agent.stops();

        let holder = listen(15020);
        let agent = Agent::start(&VCAP, NOBODY, "");
        logs(&agent, "doing without what=\"http\"");
        assert!(dns_answers().is_some(), "{}", agent.log());
        drop(holder);
        agent.has("http");
        agent.stops();
    });
}

#[test]
fn a_local_socket_that_cannot_be_made_costs_envoys_configuration_alone() {
    alone("neighbours::a_local_socket_that_cannot_be_made_costs_envoys_configuration_alone", || {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("taken");
        std::fs::create_dir(&socket).unwrap();
        sh(&format!("chmod 777 {}", folder.path().display()));
        let agent = Agent::start(&VCAP, NOBODY, &format!("ads_socket: {}\n", socket.display()));
        agent.lacks("ads", "directory", "See who holds");
        agent.shows("the rest works", in_place);
        std::fs::remove_dir(&socket).unwrap();
        agent.has("ads");
        agent.stops();
        assert!(UnixListener::bind(folder.path().join("other")).is_ok());
    });
}

#[test]
fn an_address_that_comes_after_the_agent_is_found_and_one_that_changes_is_followed() {
    alone("neighbours::an_address_that_comes_after_the_agent_is_found_and_one_that_changes_is_followed", || {
        sh("ip addr flush dev eth0");
        let before = rules();
        let agent = Agent::start_as("{id: 673e}", &VCAP, NOBODY, "");
        agent.lacks("address", "no interface of this VM has an address yet", "`ip address`");
        assert_eq!(rules(), before, "nothing is touched without an address");
        for address in ["10.244.0.131", "10.244.0.132"] {
            sh(&format!("ip addr flush dev eth0; ip addr add {address}/24 dev eth0"));
            agent.shows(&format!("the node is {address}"), |status| {
                status["node"] == format!("sidecar~{address}~673e~x") && in_place(status)
            });
            agent.has("address");
            assert!(rules().contains(&format!("src {address}")), "{}", rules());
        }
        agent.stops();
    });
}

#[test]
fn a_vm_with_ipv6_alone_is_left_as_it_is() {
    alone("neighbours::a_vm_with_ipv6_alone_is_left_as_it_is", || {
        sh("ip addr flush dev eth0; ip -6 addr add fd00::5/64 dev eth0 nodad");
        let before = rules();
        for node in ["{id: 673e, ip: 'fd00::5'}", "{id: 673e}"] {
            let agent = Agent::start_as(node, &VCAP, NOBODY, "");
            agent.lacks("address", "no IPv4 address, only fd00::5", "nothing to do");
            agent.shows("it is not ready", |status| status["ready"] == false && status["pilot"]["error"].is_null());
            assert!(dns_answers().is_some(), "{}", agent.log());
            assert_eq!(rules(), before);
            agent.stops();
        }
    });
}

#[test]
fn a_vm_that_lies_in_the_range_of_virtual_ips_is_left_as_it_is() {
    alone("neighbours::a_vm_that_lies_in_the_range_of_virtual_ips_is_left_as_it_is", || {
        let before = rules();
        let agent = Agent::start(&VCAP, NOBODY, "vip_range: 10.244.0.0/24\n");
        agent.lacks("address", "10.244.0.130 lies in the range of virtual IPs", "Choose another `vip_range`");
        assert_eq!(rules(), before);
        agent.stops();
    });
}

#[test]
fn a_killed_agent_loses_no_question_and_a_killed_keeper_leaves_nobody_behind() {
    alone("neighbours::a_killed_agent_loses_no_question_and_a_killed_keeper_leaves_nobody_behind", || {
        let agent = Agent::start(&VCAP, NOBODY, "");
        agent.shows("it works", in_place);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let (mut asked, mut lost) = (0, 0);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    asked += 1;
                    lost += u32::from(!is_answered());
                    std::thread::sleep(Duration::from_millis(2));
                }
                (asked, lost)
            });
            for _ in 0..3 {
                let worker = kept(agent.pid());
                sh(&format!("kill -9 {worker}; while [ -e /proc/{worker} ]; do sleep 0.01; done"));
                assert_ne!(kept(agent.pid()), worker);
                agent.shows("it works again", in_place);
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            let (asked, lost) = asking.join().unwrap();
            assert!(asked > 10 && lost == 0, "{lost} of {asked} questions were lost");
        });
        let worker = kept(agent.pid());
        sh(&format!("kill -9 {}; while [ -e /proc/{worker} ]; do sleep 0.01; done", agent.pid()));
        assert!(!is_answered());
    });
}
