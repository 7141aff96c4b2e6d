//! Listeners: the one that accepts redirected connections, and those to which it passes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use boshy_mesh::{Hostname, ServiceKey};
use envoy_types::{
    pb::{
        envoy::{
            config::{
                core::v3::{
                    Address, BackoffStrategy, SocketOption, address, socket_address::PortSpecifier, socket_option,
                },
                listener::v3::{Filter, FilterChain, Listener, filter},
            },
            extensions::filters::network::tcp_proxy::v3::{
                TcpProxy,
                tcp_proxy::{ClusterSpecifier, TunnelingConfig},
            },
        },
        google::protobuf::{BoolValue, Duration, UInt32Value},
    },
    util::pack_any,
};
use prost::Message;

use super::{
    cluster::NOWHERE,
    endpoint::address,
    metadata::says,
    peers::PeerTimeout,
    refusals,
    resource_names::{inbound_name, listener_name, outbound_name, tunnel_name},
};
use crate::Resource;

/// Name of the capture listener, which accepts redirected connections.
pub const CAPTURE: &str = "virtual";
/// Key of what is said about a listener whose connections go through tunnels: the service.
const TUNNEL: &str = "tunnel";
/// Maximum number of endpoints that one connection tries, so that a stopped instance that is still listed costs no
/// request. Connections share one round-robin position, so a single one may meet the same dead endpoint again until
/// that is ejected. Together with the time of an attempt, this is how long a single endpoint with a full backlog may
/// take: eight seconds. An instance that refuses a tunnel is met again and ejected in the same way.
const CONNECT_ATTEMPTS: u32 = 16;
/// Maximum pause before the second attempt; the pause grows with each further one. It gives the failed endpoint time to
/// be ejected: attempts within the same millisecond may all go to one endpoint.
const CONNECT_AGAIN: Duration = Duration { seconds: 0, nanos: 10_000_000 };
/// Longest pause. It is short, so that a client of a service that is completely down gets an error within a fraction of
/// a second.
const LONGEST_PAUSE: Duration = Duration { seconds: 0, nanos: 40_000_000 };
/// Connections that Envoy accepts before it handles others. By default it accepts as long as there are any: a program
/// that opens thousands keeps it from noticing established connections to instances for longer than
/// [`CONNECT_TIMEOUT`].
pub(super) const ACCEPTED_AT_ONCE: u32 = 16;
/// No idle timeout: a program may keep a direct connection idle for days.
const NO_IDLE_TIMEOUT: Duration = Duration { seconds: 0, nanos: 0 };

/// `tcp_VIP_PORT`: not bound. Envoy passes it the connections to this address that the capture listener accepted.
pub(crate) fn outbound_listener(key: &ServiceKey, vip: Ipv4Addr, port: u16) -> Resource {
    resource(unbound_listener(vip.into(), port, tcp_proxy(&outbound_name(key))))
}

/// The same, through tunnels. The other end learns which service is called, and at which port.
pub(crate) fn tunnel_listener(key: &ServiceKey, host: &Hostname, vip: Ipv4Addr, port: u16) -> Resource {
    let tunneling_config = TunnelingConfig { hostname: format!("{host}:{port}"), ..TunnelingConfig::default() };
    let proxy = TcpProxy {
        tunneling_config: Some(tunneling_config),
        access_log: vec![refusals::of_callers()],
        ..tcp_proxy(&tunnel_name(key))
    };
    // A listener that differs in its filters alone is updated in place, and Envoy then still reports the version before.
    // So the two kinds differ in more.
    let listener =
        Listener { metadata: Some(says(TUNNEL, host.as_str())), ..unbound_listener(vip.into(), port, proxy) };
    resource(listener)
}

/// `tcp_IP_PORT` on a VM's own address, not bound.
pub(crate) fn inbound_listener(ip: IpAddr, port: u16) -> Resource {
    resource(unbound_listener(ip, port, tcp_proxy(&inbound_name(port))))
}

/// `virtual`: accepts redirected connections and passes each to the listener of its original destination. A connection
/// for which there is no listener is closed; forwarding it to its destination would bring it back here.
pub(crate) fn capture_listener(capture: Capture) -> Resource {
    resource(handing_over(CAPTURE, capture))
}

/// A bound listener that passes each connection to the listener of its original destination.
pub(super) fn handing_over(name: &str, Capture { address, peer_timeout }: Capture) -> Listener {
    Listener {
        use_original_dst: Some(BoolValue { value: true }),
        max_connections_to_accept_per_socket_event: Some(UInt32Value { value: ACCEPTED_AT_ONCE }),
        // Accepted connections inherit the options. The other listeners are not bound and accept nothing.
        socket_options: keepalive(peer_timeout),
        ..listener(name, address, tcp_proxy(NOWHERE))
    }
}

/// Settings of the capture listener. An agent makes it with those of its VM, a pilot with the usual ones for a proxy
/// that has no agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Address at which redirected connections arrive.
    pub address: SocketAddr,
    /// Time after which the connection of a vanished program is closed; `None` leaves it to the kernel.
    pub peer_timeout: Option<PeerTimeout>,
}

impl Capture {
    /// The usual settings at an address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, peer_timeout: Some(PeerTimeout::DEFAULT) }
    }
}

/// Address of a listener, by its message; `None` if it has no IP address and port.
pub(crate) fn listener_address(resource: &Resource) -> Option<SocketAddr> {
    /// The field of a `Listener` that is read. The filters beside it are skipped, not parsed.
    #[derive(Clone, PartialEq, Message)]
    struct Addressed {
        #[prost(message, optional, tag = "2")]
        address: Option<Address>,
    }
    address_of(Addressed::decode(&*resource.body).ok()?.address?)
}

/// The IP address and port of an address; `None` if it is of another kind.
pub(super) fn address_of(address: Address) -> Option<SocketAddr> {
    let address::Address::SocketAddress(socket) = address.address? else { return None };
    let port = match socket.port_specifier? {
        PortSpecifier::PortValue(port) => u16::try_from(port).ok()?,
        PortSpecifier::NamedPort(_) => return None,
    };
    Some(SocketAddr::new(socket.address.parse().ok()?, port))
}

pub(super) fn resource(listener: Listener) -> Resource {
    let body = listener.encode_to_vec();
    Resource::new(listener.name, body)
}

pub(super) fn unbound_listener(ip: IpAddr, port: u16, proxy: TcpProxy) -> Listener {
    Listener {
        bind_to_port: Some(BoolValue { value: false }),
        ..listener(&listener_name(ip, port), SocketAddr::new(ip, port), proxy)
    }
}

/// The way to the one program behind a captured port. What arrives for each port is counted by itself. Unless it tries
/// `again`, a caller learns that the program does not listen as soon as it would without Envoy.
pub(super) fn program_proxy(cluster: &str, again: bool) -> TcpProxy {
    let proxy = tcp_proxy(cluster);
    let max_connect_attempts = proxy.max_connect_attempts.filter(|_| again);
    TcpProxy { stat_prefix: cluster.to_owned(), max_connect_attempts, ..proxy }
}

fn tcp_proxy(cluster: &str) -> TcpProxy {
    TcpProxy {
        stat_prefix: "tcp".to_owned(),
        max_connect_attempts: Some(UInt32Value { value: CONNECT_ATTEMPTS }),
        backoff_options: Some(BackoffStrategy {
            base_interval: Some(CONNECT_AGAIN),
            max_interval: Some(LONGEST_PAUSE),
        }),
        idle_timeout: Some(NO_IDLE_TIMEOUT),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..TcpProxy::default()
    }
}

pub(super) fn tcp_proxy_filter(proxy: TcpProxy) -> Filter {
    Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(proxy))),
    }
}

fn listener(name: &str, at: SocketAddr, proxy: TcpProxy) -> Listener {
    Listener {
        name: name.to_owned(),
        address: Some(address(at.ip(), at.port())),
        filter_chains: vec![FilterChain { filters: vec![tcp_proxy_filter(proxy)], ..FilterChain::default() }],
        ..Listener::default()
    }
}

pub(super) fn keepalive(timeout: Option<PeerTimeout>) -> Vec<SocketOption> {
    timeout.into_iter().flat_map(PeerTimeout::keepalive).map(socket_option).collect()
}

fn socket_option((level, name, value): (i64, i64, i64)) -> SocketOption {
    SocketOption { level, name, value: Some(socket_option::Value::IntValue(value)), ..SocketOption::default() }
}
