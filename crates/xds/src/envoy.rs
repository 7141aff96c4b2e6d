//! Envoy's v3 messages as used by the mesh, under the names of the v1 API.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use boshy_mesh::{Endpoint, MeshService, Port, ServiceKey};
use envoy_types::{
    pb::{
        envoy::{
            config::{
                cluster::v3::{
                    CircuitBreakers, Cluster, OutlierDetection,
                    circuit_breakers::Thresholds,
                    cluster::{ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig},
                },
                core::v3::{
                    Address, AggregatedConfigSource, ApiVersion, BackoffStrategy, ConfigSource, Locality,
                    SocketAddress, SocketOption, address, config_source::ConfigSourceSpecifier,
                    socket_address::PortSpecifier, socket_option,
                },
                endpoint::v3::{
                    ClusterLoadAssignment, Endpoint as EnvoyEndpoint, LbEndpoint, LocalityLbEndpoints,
                    lb_endpoint::HostIdentifier,
                },
                listener::v3::{Filter, FilterChain, Listener, filter},
            },
            extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier},
            r#type::v3::Percent,
        },
        google::protobuf::{BoolValue, Duration, UInt32Value},
    },
    util::pack_any,
};
use prost::Message;

use crate::{PeerTimeout, Resource};

/// Name of the capture listener, which accepts redirected connections.
pub const CAPTURE: &str = "virtual";
/// Separates a version from the settings that were inserted into the resource. No pilot's version contains it.
const AT: char = '@';
/// Name of the cluster without endpoints: a connection to it is closed.
const NOWHERE: &str = "nowhere";
/// Maximum number of endpoints that one connection tries, so that a stopped instance that is still listed costs no
/// request. Connections share one round-robin position, so a single one may meet the same dead endpoint again until
/// that is ejected. Together with the time of an attempt, this is how long a single endpoint with a full backlog may
/// take: eight seconds.
const CONNECT_ATTEMPTS: u32 = 16;
/// Maximum pause before the second attempt; the pause grows with each further one. It gives the failed endpoint time to
/// be ejected: attempts within the same millisecond may all go to one endpoint.
const CONNECT_AGAIN: Duration = Duration { seconds: 0, nanos: 10_000_000 };
/// Longest pause. It is short, so that a client of a service that is completely down gets an error within a fraction of
/// a second.
const LONGEST_PAUSE: Duration = Duration { seconds: 0, nanos: 40_000_000 };
/// Timeout of one attempt, and so the longest round trip to an instance. A connection that meets two endpoints in a row
/// that swallow packets still succeeds within 1.1 seconds. When the first packet is lost, the next attempt sends it
/// sooner than the kernel would.
const CONNECT_TIMEOUT: Duration = Duration { seconds: 0, nanos: 500_000_000 };
/// Connections that Envoy accepts before it handles others. By default it accepts as long as there are any: a program
/// that opens thousands keeps it from noticing established connections to instances for longer than
/// [`CONNECT_TIMEOUT`].
const ACCEPTED_AT_ONCE: u32 = 16;
/// No idle timeout: a program may keep a direct connection idle for days.
const NO_IDLE_TIMEOUT: Duration = Duration { seconds: 0, nanos: 0 };
/// Duration of the first ejection of an endpoint that could not be connected to. Each further ejection lasts longer by
/// this time.
const FIRST_EJECTION: Duration = Duration { seconds: 1, nanos: 0 };
/// Longest ejection, and so the longest time that a recovered endpoint waits for connections.
const LONGEST_EJECTION: Duration = Duration { seconds: 3, nanos: 0 };
/// How often Envoy checks which ejections are over.
const EJECTION_SWEEP: Duration = Duration { seconds: 0, nanos: 500_000_000 };

/// `out.KEY`: the instances of a service, by EDS.
pub(crate) fn outbound_cluster(key: &ServiceKey) -> Resource {
    let ads = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    let eds = EdsClusterConfig { eds_config: Some(ads), service_name: key.to_string() };
    let name = outbound_name(key);
    let cluster = Cluster {
        eds_cluster_config: Some(eds),
        outlier_detection: Some(unreachable_endpoints()),
        circuit_breakers: Some(unbroken()),
        common_lb_config: Some(heeding_ejections()),
        ..cluster(&name, DiscoveryType::Eds)
    };
    Resource::new(name, cluster.encode_to_vec())
}

/// Endpoint ejection: an endpoint that cannot be connected to is excluded for a while, because a director lists an
/// instance also while it is stopped, restarts or has crashed. An endpoint that answers with errors stays, because only
/// a client that speaks the protocol can recognise errors.
fn unreachable_endpoints() -> OutlierDetection {
    let number = |value| Some(UInt32Value { value });
    OutlierDetection {
        // For TCP, these are failures to connect.
        consecutive_5xx: number(1),
        enforcing_success_rate: number(0),
        interval: Some(EJECTION_SWEEP),
        base_ejection_time: Some(FIRST_EJECTION),
        max_ejection_time: Some(LONGEST_EJECTION),
        max_ejection_percent: number(100),
        ..OutlierDetection::default()
    }
}

/// No limit on connections. By default, Envoy closes the 1,025th connection to a service, and those that wait for a
/// connection beyond 1,024 others. The limit is the number of files that Envoy may open.
fn unbroken() -> CircuitBreakers {
    let most = Some(UInt32Value { value: u32::MAX });
    let thresholds = Thresholds { max_connections: most, max_pending_requests: most, ..Thresholds::default() };
    CircuitBreakers { thresholds: vec![thresholds], ..CircuitBreakers::default() }
}

/// An ejected endpoint gets no connections from that moment on, unless all are ejected: then all are tried, because one
/// may have recovered. By default, Envoy delays such a change to its workers for up to a second after the previous one,
/// and tries all endpoints once half of them are ejected.
fn heeding_ejections() -> CommonLbConfig {
    CommonLbConfig {
        update_merge_window: Some(Duration::default()),
        healthy_panic_threshold: Some(Percent { value: 1.0 }),
        ..CommonLbConfig::default()
    }
}

/// `KEY`: the endpoints, one locality per availability zone, all with the same priority. Without zone-aware routing,
/// which requires a local cluster in the bootstrap, Envoy balances over all of them.
pub(crate) fn endpoints(key: &ServiceKey, service: &MeshService, port: &Port) -> Resource {
    let mut zones: BTreeMap<&Option<String>, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in &service.service.endpoints {
        zones.entry(&endpoint.az).or_default().push(endpoint);
    }
    let locality = |(zone, endpoints): (&Option<String>, Vec<&Endpoint>)| LocalityLbEndpoints {
        locality: zone.clone().map(|zone| Locality { zone, ..Locality::default() }),
        lb_endpoints: endpoints.iter().map(|endpoint| lb_endpoint(endpoint.ip, port.number)).collect(),
        ..LocalityLbEndpoints::default()
    };
    let assignment = ClusterLoadAssignment {
        cluster_name: key.to_string(),
        endpoints: zones.into_iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    };
    Resource::new(key.as_str(), assignment.encode_to_vec())
}

/// `tcp_VIP_PORT`: not bound. Envoy passes it the connections to this address that the capture listener accepted.
pub(crate) fn outbound_listener(key: &ServiceKey, vip: Ipv4Addr, port: u16) -> Resource {
    unbound_listener(IpAddr::V4(vip), port, &outbound_name(key))
}

/// `in.PORT`: the workload on the proxy's VM.
pub(crate) fn inbound_cluster(port: u16) -> Resource {
    let name = inbound_name(port);
    let cluster = static_cluster(&name, vec![lb_endpoint(Ipv4Addr::LOCALHOST.into(), port)]);
    Resource::new(name, cluster.encode_to_vec())
}

/// `tcp_IP_PORT` on a VM's own address, not bound.
pub(crate) fn inbound_listener(ip: IpAddr, port: u16) -> Resource {
    unbound_listener(ip, port, &inbound_name(port))
}

/// `virtual`: accepts redirected connections and passes each to the listener of its original destination. A connection
/// for which there is no listener is closed; forwarding it to its destination would bring it back here.
pub(crate) fn capture_listener(capture: SocketAddr) -> Resource {
    let listener = Listener {
        use_original_dst: Some(BoolValue { value: true }),
        max_connections_to_accept_per_socket_event: Some(UInt32Value { value: ACCEPTED_AT_ONCE }),
        // Accepted connections inherit the options. The other listeners are not bound and accept nothing.
        socket_options: keepalive(Some(PeerTimeout::DEFAULT)),
        ..listener(CAPTURE, capture, NOWHERE)
    };
    Resource::new(CAPTURE, listener.encode_to_vec())
}

/// A VM's settings of the capture listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Address at which redirected connections arrive.
    pub address: SocketAddr,
    /// Time after which the connection of a vanished program is closed; `None` leaves it to the kernel.
    pub peer_timeout: Option<PeerTimeout>,
}

/// Adapts the capture listener to this VM: a pilot serves the same one to all, and its address and its keepalive are
/// settings of the VM. The version then includes them. A body that is not a listener stays unchanged.
pub(crate) fn captured_at(resource: &Resource, capture: Capture) -> Resource {
    let as_served = resource.version.split_once(AT).map_or(&*resource.version, |(version, _)| version);
    let Ok(message) = Listener::decode(resource.body.clone()) else { return resource.clone() };
    let Capture { address: at, peer_timeout } = capture;
    let (wanted, socket_options) = (Some(address(at.ip(), at.port())), keepalive(peer_timeout));
    if message.address == wanted && message.socket_options == socket_options {
        return resource.clone();
    }
    let seconds = peer_timeout.map_or(0, PeerTimeout::seconds);
    let body = Listener { address: wanted, socket_options, ..message }.encode_to_vec().into();
    Resource { name: resource.name.clone(), version: format!("{as_served}{AT}{at},{seconds}s").into(), body }
}

/// The pilot's version of a resource that [`captured_at`] may have changed.
pub(crate) fn version_as_served(version: &Arc<str>) -> Arc<str> {
    version.split_once(AT).map_or_else(|| Arc::clone(version), |(version, _)| version.into())
}

/// The cluster without endpoints to which `virtual` falls back.
pub(crate) fn nowhere_cluster() -> Resource {
    Resource::new(NOWHERE, static_cluster(NOWHERE, Vec::new()).encode_to_vec())
}

fn outbound_name(key: &ServiceKey) -> String {
    format!("out.{key}")
}

fn inbound_name(port: u16) -> String {
    format!("in.{port}")
}

fn unbound_listener(ip: IpAddr, port: u16, cluster: &str) -> Resource {
    let name = format!("tcp_{ip}_{port}");
    let listener = Listener {
        bind_to_port: Some(BoolValue { value: false }),
        ..listener(&name, SocketAddr::new(ip, port), cluster)
    };
    Resource::new(name, listener.encode_to_vec())
}

fn listener(name: &str, at: SocketAddr, cluster: &str) -> Listener {
    let proxy = TcpProxy {
        stat_prefix: "tcp".to_owned(),
        max_connect_attempts: Some(UInt32Value { value: CONNECT_ATTEMPTS }),
        backoff_options: Some(BackoffStrategy {
            base_interval: Some(CONNECT_AGAIN),
            max_interval: Some(LONGEST_PAUSE),
        }),
        idle_timeout: Some(NO_IDLE_TIMEOUT),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..TcpProxy::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(proxy))),
    };
    Listener {
        name: name.to_owned(),
        address: Some(address(at.ip(), at.port())),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn static_cluster(name: &str, lb_endpoints: Vec<LbEndpoint>) -> Cluster {
    let endpoints = if lb_endpoints.is_empty() {
        Vec::new()
    } else {
        vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }]
    };
    let assignment =
        ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..ClusterLoadAssignment::default() };
    Cluster {
        load_assignment: Some(assignment),
        circuit_breakers: Some(unbroken()),
        ..cluster(name, DiscoveryType::Static)
    }
}

fn cluster(name: &str, discovery: DiscoveryType) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        connect_timeout: Some(CONNECT_TIMEOUT),
        ..Cluster::default()
    }
}

fn lb_endpoint(ip: IpAddr, port: u16) -> LbEndpoint {
    let endpoint = EnvoyEndpoint { address: Some(address(ip, port)), ..EnvoyEndpoint::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() }
}

fn keepalive(timeout: Option<PeerTimeout>) -> Vec<SocketOption> {
    timeout.into_iter().flat_map(PeerTimeout::keepalive).map(socket_option).collect()
}

fn socket_option((level, name, value): (i64, i64, i64)) -> SocketOption {
    SocketOption { level, name, value: Some(socket_option::Value::IntValue(value)), ..SocketOption::default() }
}

fn address(ip: IpAddr, port: u16) -> Address {
    let address = SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    Address { address: Some(address::Address::SocketAddress(address)) }
}
