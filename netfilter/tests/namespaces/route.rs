//! boshy's route makes virtual IPs reachable, and no route of other software is touched.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
};

use boshy_netfilter::{Ownership, RouteError, RouteWatch, VipRoute};
use ipnet::Ipv4Net;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use crate::world::{VIP, VM, alone, beside, default_route, device, guarded, listen, one_pair, reach, role, said, sh};

fn range() -> Ipv4Net {
    "169.254.255.0/24".parse().unwrap()
}

fn ours() -> String {
    sh("ip route show table all proto 176").trim().to_owned()
}

/// Connects from an address of the VM that the program has chosen.
fn reach_from(source: Ipv4Addr, to: SocketAddrV4) -> String {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(SocketAddrV4::new(source, 0))).unwrap();
    let connected = connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(to));
    connected.map_err(Into::into).and_then(|()| said(TcpStream::from(fd))).unwrap_or_else(|error| error.to_string())
}

#[test]
fn without_a_default_route_the_own_route_makes_virtual_ips_reachable() {
    alone(|| {
        device();
        listen(15001);
        let mut route = VipRoute::new(range(), VM).unwrap();
        guarded(Ownership::Shared, &one_pair());
        assert_eq!(reach(VIP, 9002), "Network is unreachable (os error 101)");
        route.ensure().unwrap();
        let redirected = format!("15001 from {VM} to {VIP}:9002");
        assert_eq!(reach(VIP, 9002), redirected);
        assert_eq!(reach_from(VM, SocketAddrV4::new(VIP, 9002)), redirected);
    });
}

#[test]
fn with_a_default_route_it_works_the_same_whatever_the_reverse_path_filter() {
    alone(|| {
        device();
        default_route();
        listen(15001);
        let mut route = VipRoute::new(range(), VM).unwrap();
        let redirected = format!("15001 from {VM} to {VIP}:9002");
        guarded(Ownership::Shared, &one_pair());
        assert_eq!(reach(VIP, 9002), redirected, "by the default route alone");
        route.ensure().unwrap();
        for filter in ["0", "1", "2"] {
            for device in ["all", "lo", "eth0"] {
                fs::write(format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"), filter).unwrap();
            }
            assert_eq!(reach(VIP, 9002), redirected, "rp_filter {filter}");
            assert_eq!(reach_from(VM, SocketAddrV4::new(VIP, 9002)), redirected);
            assert_eq!(
                reach_from(Ipv4Addr::LOCALHOST, SocketAddrV4::new(VIP, 9002)).split(" to ").nth(1),
                Some("169.254.255.9:9002")
            );
            assert_eq!(reach(VIP, 9003), "Connection refused (os error 111)", "rp_filter {filter}");
        }
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/route_localnet").unwrap().trim(), "0");
    });
}

#[test]
fn the_route_gives_connections_the_segments_of_loopback() {
    alone(|| {
        device();
        default_route();
        listen(15001);
        guarded(Ownership::Shared, &one_pair());
        let segment = || {
            let stream = TcpStream::connect(SocketAddr::from((VIP, 9002))).unwrap();
            nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::TcpMaxSeg).unwrap()
        };
        assert!(segment() < 1500, "{}", segment());
        VipRoute::new(range(), VM).unwrap().ensure().unwrap();
        assert!(segment() > 16000, "{}", segment());
    });
}

#[test]
fn ensuring_again_changes_nothing_and_another_source_or_range_takes_the_place() {
    alone(|| {
        device();
        sh("ip addr add 10.244.0.6/24 dev eth0");
        let mut route = VipRoute::new(range(), VM).unwrap();
        assert!(route.ensure().unwrap());
        assert_eq!(ours(), "169.254.255.0/24 dev lo scope link src 10.244.0.5");
        assert!(!route.ensure().unwrap());
        assert!(VipRoute::new(range(), Ipv4Addr::new(10, 244, 0, 6)).unwrap().ensure().unwrap());
        assert_eq!(ours(), "169.254.255.0/24 dev lo scope link src 10.244.0.6");
        assert!(VipRoute::new("10.96.0.0/12".parse().unwrap(), VM).unwrap().ensure().unwrap());
        assert_eq!(ours(), "10.96.0.0/12 dev lo scope link src 10.244.0.5");
        sh("ip route del 10.96.0.0/12");
        assert!(route.ensure().unwrap());
        route.remove().unwrap();
        assert_eq!(ours(), "");
        route.remove().unwrap();
    });
}

#[test]
fn routes_of_others_stay_and_one_in_the_same_place_is_an_error() {
    alone(|| {
        device();
        default_route();
        sh("ip route add 169.254.0.0/16 dev eth0 && ip route add 169.254.255.0/24 dev eth0 metric 100 \
            && ip route add 169.254.255.0/24 dev eth0 table 200");
        let all = || sh("ip route show table all");
        let before = all();
        let mut route = VipRoute::new(range(), VM).unwrap();
        assert!(route.ensure().unwrap());
        assert_eq!(ours(), "169.254.255.0/24 dev lo scope link src 10.244.0.5");
        route.remove().unwrap();
        assert_eq!(all(), before);
        sh("ip route add 169.254.255.0/24 dev eth0");
        let before = all();
        assert!(matches!(route.ensure(), Err(RouteError::Taken(net)) if net == range()));
        route.remove().unwrap();
        assert_eq!(all(), before);
    });
}

#[test]
fn a_source_that_is_not_the_vms_and_a_missing_capability_are_named() {
    alone(|| {
        if role().is_some() {
            let error = VipRoute::new(range(), VM).unwrap().ensure().unwrap_err();
            assert_eq!(error.to_string(), "cannot apply the route for virtual IPs: this needs CAP_NET_ADMIN");
            return;
        }
        device();
        let error = VipRoute::new(range(), Ipv4Addr::new(10, 1, 1, 1)).unwrap().ensure().unwrap_err();
        assert_eq!(error.to_string(), "cannot apply the route for virtual IPs: 10.1.1.1 is no address of this VM");
        let output = beside(&|| (), "powerless", &["unshare", "--user", "--"]).output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    });
}

#[test]
fn whatever_takes_the_route_away_is_noticed() {
    alone(|| {
        device();
        sh("ip addr add 10.244.0.6/24 dev eth0");
        let mut route = VipRoute::new(range(), VM).unwrap();
        let mut watch = RouteWatch::open().unwrap();
        route.ensure().unwrap();
        watch.changed().unwrap();
        assert!(!watch.changed().unwrap(), "there is silence while nothing changes");
        for line in [
            "ip route del 169.254.255.0/24",
            "ip route flush proto 176",
            // The kernel removes routes together with these, without a notification for each route.
            "ip link set lo down && ip link set lo up",
            "ip addr del 10.244.0.5/24 dev eth0 && ip addr add 10.244.0.5/24 dev eth0",
        ] {
            sh(line);
            assert!(watch.changed().unwrap(), "`{line}` is not noticed");
            assert!(route.ensure().unwrap(), "`{line}` did not take the route away");
            watch.changed().unwrap();
        }
    });
}
