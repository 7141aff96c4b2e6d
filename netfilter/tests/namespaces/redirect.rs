//! Where connections end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use boshy_netfilter::{ALWAYS_BYPASSED, BackendKind, Ruleset};

use crate::world::{VIP, alone, every_backend, listen, reach, ruleset, sh};

/// The virtual IP is an address of the VM here, so that a connection that is not redirected also has an end, and can be told.
fn with_reachable_vip() {
    sh("ip addr add 169.254.255.9/32 dev lo");
}

#[test]
fn only_tcp_to_the_range_is_redirected_and_the_original_destination_is_known() {
    alone(|| {
        with_reachable_vip();
        sh("ip addr add 169.254.254.9/32 dev lo");
        listen(15001);
        listen(9002);
        assert_eq!(reach(VIP, 9002), "9002 from 169.254.255.9 to none");
        for mut backend in every_backend() {
            backend.apply(&ruleset()).unwrap();
            assert_eq!(reach(VIP, 9002), "15001 from 169.254.255.9 to 169.254.255.9:9002", "{}", backend.kind());
            let outside = reach("169.254.254.9".parse().unwrap(), 9002);
            assert!(outside.starts_with("9002 from 169.254.254.9"), "{outside}");
            assert!(reach("127.0.0.1".parse().unwrap(), 9002).starts_with("9002 from 127.0.0.1"));
            backend.remove().unwrap();
            assert!(reach(VIP, 9002).starts_with("9002 "), "{}", backend.kind());
        }
    });
}

#[test]
fn bypassed_ports_are_not_redirected() {
    alone(|| {
        with_reachable_vip();
        let extra = Ruleset::new("169.254.255.0/24".parse().unwrap(), 15001, [9999]).unwrap();
        for port in ALWAYS_BYPASSED.into_iter().chain([9999, 9998, 15001]) {
            listen(port);
        }
        for mut backend in every_backend() {
            backend.apply(&extra).unwrap();
            for port in ALWAYS_BYPASSED.into_iter().chain([9999]) {
                let end = reach(VIP, port);
                assert!(end.starts_with(&format!("{port} ")), "{}: {end}", backend.kind());
            }
            assert!(reach(VIP, 9998).starts_with("15001 "));
            backend.remove().unwrap();
        }
    });
}

#[test]
fn no_connection_escapes_while_rules_are_replaced() {
    alone(|| {
        with_reachable_vip();
        listen(15001);
        listen(9002);
        let one = ruleset();
        let other = Ruleset::new("169.254.254.0/23".parse().unwrap(), 15001, [9999]).unwrap();
        for mut backend in every_backend() {
            backend.apply(&ruleset()).unwrap();
            let enough = if backend.kind() == BackendKind::Netlink { 200 } else { 10 };
            let (stop, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
            let connecting = thread::spawn({
                let (stop, connected) = (stop.clone(), connected.clone());
                move || {
                    let mut ends = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        ends.push(reach(VIP, 9002));
                        connected.store(ends.len(), Ordering::Relaxed);
                    }
                    ends
                }
            });
            let (deadline, mut swaps) = (Instant::now() + Duration::from_secs(30), 0);
            while (swaps < enough || connected.load(Ordering::Relaxed) < 500) && Instant::now() < deadline {
                backend.apply(if swaps % 2 == 0 { &other } else { &one }).unwrap();
                swaps += 1;
            }
            stop.store(true, Ordering::Relaxed);
            let ends = connecting.join().unwrap();
            let escaped: Vec<_> = ends.iter().filter(|end| !end.starts_with("15001 ")).collect();
            println!("{}: {swaps} replacements, {} connections", backend.kind(), ends.len());
            assert!(escaped.is_empty(), "{}: {} of {}: {:?}", backend.kind(), escaped.len(), ends.len(), escaped[0]);
            assert!(swaps >= enough && ends.len() >= 500, "{swaps} replacements, {} connections", ends.len());
            backend.remove().unwrap();
        }
    });
}
