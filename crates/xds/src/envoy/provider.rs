//! The instance's end of tunnels: one listener for each address of a workload, the routes to its programs, and the
//! clusters that dial them.
//!
//! The listener does not change when ports, modes and policies do. They are in the routes, which Envoy replaces without
//! ending a connection.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use boshy_mesh::{InboundPort, MESH_PORT, MtlsMode};
use envoy_types::{
    pb::{
        envoy::{
            config::{
                cluster::v3::Cluster,
                core::v3::{
                    HeaderValue, HeaderValueOption, RuntimeFractionalPercent, TrafficDirection,
                    header_value_option::HeaderAppendAction,
                },
                listener::v3::{Filter, FilterChain, Listener, filter},
                route::v3::{
                    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
                    route::Action,
                    route_action::{ClusterSpecifier, UpgradeConfig, upgrade_config::ConnectConfig},
                    route_match::{ConnectMatcher, PathSpecifier},
                },
            },
            extensions::filters::{
                http::router::v3::Router,
                network::http_connection_manager::v3::{
                    HttpConnectionManager, HttpFilter, Rds,
                    http_connection_manager::{CodecType, RouteSpecifier},
                    http_filter,
                },
            },
            r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
        },
        google::protobuf::{Any, BoolValue, Duration, UInt32Value},
    },
    util::pack_any,
};
use prost::Message;

use super::{
    bootstrap,
    cluster::static_cluster,
    endpoint::{address, lb_endpoint},
    listener::{ACCEPTED_AT_ONCE, keepalive, resource},
    metadata::{said, says},
    peers::PeerTimeout,
    rbac, refusals, tls,
};
use crate::{Resource, ResourceSet, ResourceType};

/// How long a client may take for its TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration { seconds: 5, nanos: 0 };
/// No limit on a stream. By default, an idle tunnel ends after five minutes.
const NO_TIMEOUT: Duration = Duration { seconds: 0, nanos: 0 };
/// What callers' programs send. The window is also how much Envoy holds of what the program here sends, before it stops
/// to read from it.
const FROM_CALLERS: tls::Http2 = tls::Http2 { stream_window: 256 << 10, most_streams: 1024 };
/// Octets that an Envoy without a tunnel end reads from the program at once. With the last ones it learns that the
/// program has closed, and then what the caller's window does not admit is lost (ADR 40).
const READ_AT_ONCE: u32 = 64 << 10;
/// Header that tells the tunnel end which program is meant: `IP:PORT`.
pub const PROGRAM_HEADER: &str = "x-boshy-program";
/// Key of what the agent reads at a route: the place that accepts tunnels only.
const STRICT: &str = "strict";
/// `mesh_IP`: accepts tunnels at a workload's address, from callers with a certificate of the mesh.
pub(crate) fn mesh_listener(ip: IpAddr) -> Resource {
    let name = mesh_name(ip);
    let manager = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(connection_manager(&name)))),
    };
    let chain = FilterChain {
        filters: vec![manager],
        transport_socket: Some(tls::downstream()),
        transport_socket_connect_timeout: Some(HANDSHAKE_TIMEOUT),
        ..FilterChain::default()
    };
    let listener = Listener {
        name,
        address: Some(address(ip, MESH_PORT)),
        filter_chains: vec![chain],
        max_connections_to_accept_per_socket_event: Some(UInt32Value { value: ACCEPTED_AT_ONCE }),
        // Accepted connections inherit the options, so that those of a caller that has vanished end.
        socket_options: keepalive(Some(PeerTimeout::DEFAULT)),
        // An Envoy that is about to stop closes these first (`drain_listeners?inboundonly`), so that callers go elsewhere.
        traffic_direction: TrafficDirection::Inbound.into(),
        ..Listener::default()
    };
    resource(listener)
}

/// `mesh_IP`: where the tunnels of each port lead, and who may open them. A port without a route is reached by nobody.
pub(crate) fn mesh_routes(ip: IpAddr, ports: &[&InboundPort]) -> Resource {
    let name = mesh_name(ip);
    let virtual_host = |port: &&InboundPort| VirtualHost {
        name: port.at.port().to_string(),
        // The caller names the service and the port.
        domains: vec![format!("*:{}", port.at.port())],
        routes: vec![to_the_tunnel_end(port), to_the_program(port)],
        typed_per_filter_config: filter_config(rbac::DENY, rbac::deny(port.authorization.as_deref())),
        ..VirtualHost::default()
    };
    let configuration = RouteConfiguration {
        name: name.clone(),
        virtual_hosts: ports.iter().map(virtual_host).collect(),
        ..RouteConfiguration::default()
    };
    Resource::new(name, configuration.encode_to_vec())
}

/// `mesh_IP_PORT`: the program at an address of this VM, for an Envoy without a tunnel end. It is dialled where a caller without a mesh would dial it: a
/// program that listens on loopback only is not published.
pub(crate) fn mesh_cluster(at: SocketAddr) -> Resource {
    let name = cluster_name(at);
    let cluster = Cluster {
        per_connection_buffer_limit_bytes: Some(UInt32Value { value: READ_AT_ONCE }),
        ..static_cluster(&name, vec![lb_endpoint(at.ip(), at.port())])
    };
    Resource::new(name, cluster.encode_to_vec())
}

/// The places of a VM that accept tunnels only, by the routes of the VM's proxy. The VM itself has to keep others out.
pub fn strict_ports(set: &ResourceSet) -> BTreeSet<SocketAddr> {
    let configurations =
        set.of(ResourceType::Route).iter().filter_map(|one| RouteConfiguration::decode(one.body.clone()).ok());
    let routes = configurations.flat_map(|one| one.virtual_hosts).flat_map(|host| host.routes);
    routes.filter_map(|route| strict_port(&route)).collect()
}

fn strict_port(route: &Route) -> Option<SocketAddr> {
    said(route.metadata.as_ref()?, STRICT)?.parse().ok()
}

/// Name of an address's listener, and of its routes.
pub(crate) fn mesh_name(ip: IpAddr) -> String {
    format!("mesh_{ip}")
}

/// Whether a name is that of an address's listener.
pub(crate) fn is_mesh_name(name: &str) -> bool {
    name.strip_prefix("mesh_").is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
}

fn cluster_name(at: SocketAddr) -> String {
    format!("mesh_{}_{}", at.ip(), at.port())
}

fn connection_manager(routes: &str) -> HttpConnectionManager {
    let rds = Rds { config_source: Some(tls::ads_soon()), route_config_name: routes.to_owned() };
    let router = HttpFilter {
        name: "router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(Router {
            suppress_envoy_headers: true,
            ..Router::default()
        }))),
        ..HttpFilter::default()
    };
    HttpConnectionManager {
        codec_type: CodecType::Http2.into(),
        stat_prefix: "mesh".to_owned(),
        http2_protocol_options: Some(FROM_CALLERS.options()),
        http_filters: rbac::filters().into_iter().chain([router]).collect(),
        stream_idle_timeout: Some(NO_TIMEOUT),
        generate_request_id: Some(BoolValue { value: false }),
        access_log: refusals::of_instances(),
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        ..HttpConnectionManager::default()
    }
}

/// The way of an Envoy whose bootstrap says that it has a tunnel end: it leaves CONNECT to that one, and tells it in a
/// header which program is meant. So the pilot need not know which VM has one.
fn to_the_tunnel_end(port: &InboundPort) -> Route {
    let program = HeaderValueOption {
        header: Some(HeaderValue {
            key: PROGRAM_HEADER.to_owned(),
            value: port.at.to_string(),
            ..HeaderValue::default()
        }),
        // Whatever the caller says.
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    let fraction = FractionalPercent { numerator: 0, denominator: DenominatorType::Hundred.into() };
    let with_tunnel_end =
        RuntimeFractionalPercent { default_value: Some(fraction), runtime_key: bootstrap::TUNNEL_END.to_owned() };
    let direct = route(port, bootstrap::PROGRAMS.to_owned(), None);
    Route {
        r#match: direct.r#match.map(|matched| RouteMatch { runtime_fraction: Some(with_tunnel_end), ..matched }),
        request_headers_to_add: vec![program],
        ..direct
    }
}

/// The way of any other Envoy: it ends CONNECT itself.
fn to_the_program(port: &InboundPort) -> Route {
    route(port, cluster_name(port.at), Some(ConnectConfig::default()))
}

fn route(port: &InboundPort, cluster: String, connect_config: Option<ConnectConfig>) -> Route {
    let connect = UpgradeConfig { upgrade_type: "CONNECT".to_owned(), connect_config, ..UpgradeConfig::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        timeout: Some(NO_TIMEOUT),
        upgrade_configs: vec![connect],
        ..RouteAction::default()
    };
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::ConnectMatcher(ConnectMatcher::default())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(action)),
        metadata: (port.mode == MtlsMode::Strict).then(|| says(STRICT, &port.at.to_string())),
        typed_per_filter_config: filter_config(rbac::ALLOW, Some(rbac::allow(port.authorization.as_deref()))),
        ..Route::default()
    }
}

/// The configuration of one filter.
fn filter_config(filter: &str, config: Option<Any>) -> HashMap<String, Any> {
    config.into_iter().map(|config| (filter.to_owned(), config)).collect()
}

/// The ports of a workload that accept tunnels, by address.
pub(crate) fn tunnelled_ports(inbound: &[InboundPort]) -> BTreeMap<IpAddr, Vec<&InboundPort>> {
    let mut ports: BTreeMap<IpAddr, Vec<_>> = BTreeMap::new();
    for port in inbound.iter().filter(|port| port.mode != MtlsMode::Disable) {
        ports.entry(port.at.ip()).or_default().push(port);
    }
    ports
}
