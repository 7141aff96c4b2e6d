//! Envoy's bootstrap configuration, which tells it where to get everything else.
//!
//! Statistics are the larger part of what a service costs Envoy. So only those are kept that show whether the mesh
//! works, and they are created on first use. At 5,000 services this saves half of the memory.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use boshy_mesh::NodeId;
use serde_json::{Value, json};

use super::{
    inspection::PEER_TIMEOUT,
    peers::{KEEPALIVE_ON, PeerTimeout, SocketOption},
};
use crate::Flavour;

/// Suffixes of the cluster statistics that are kept.
const KEPT_OF_CLUSTERS: [&str; 10] = [
    ".membership_healthy",
    ".membership_total",
    ".upstream_cx_active",
    ".upstream_cx_connect_attempts_exceeded",
    ".upstream_cx_connect_fail",
    ".upstream_cx_none_healthy",
    ".upstream_cx_overflow",
    ".upstream_cx_total",
    // What the parent of Envoy counts: a connection in a tunnel is a request there.
    ".upstream_rq_active",
    ".upstream_rq_pending_active",
];
/// Prefixes of the other statistics that are kept.
const KEPT: [&str; 8] = [
    "cluster.ads.",
    "cluster_manager.",
    "control_plane.",
    "http.mesh.",
    "listener_manager.",
    "overload.",
    "server.",
    "tcp.",
];
/// Parts of statistics that are kept wherever they occur: decisions of policies, and certificates that were refused.
const KEPT_ANYWHERE: [&str; 2] = [".rbac.", ".ssl.fail_verify"];
/// Files that Envoy opens in addition to connections: those of its workers, its listeners and its admin interface.
const OTHER_FILES: u64 = 1024;
/// Files per connection: each program's connection has one to an instance as its counterpart.
const FILES_OF_A_CONNECTION: u64 = 2;
/// Runtime guards of Envoy that are switched off, each with the first version that has it; an older version complains
/// of an unknown guard. By default, a reset on one side immediately causes a reset on the other, which discards data
/// that Envoy has read and not yet written: the answer of a server that closes without reading the whole request, or
/// the last bytes of a client. With the guards off, Envoy writes its data and then closes in order.
const GUARDS_OFF: [(EnvoyVersion, &str); 2] = [
    (EnvoyVersion(1, 38), "envoy.reloadable_features.propagate_upstream_rst_through_tunneled_tcp_proxy"),
    (EnvoyVersion(1, 40), "envoy.reloadable_features.propagate_downstream_rst_to_upstream"),
];
/// Runtime guard that is switched on for an Envoy with a tunnel end: a half that the program has ended is no end of the
/// stream. Without a tunnel end, Envoy could then leave tunnels open for ever.
const HALVES: &str = "envoy.reloadable_features.allow_multiplexed_upstream_half_close";
/// Runtime key that makes Envoy take the routes to its tunnel end, in percent. An Envoy without one has no such key.
pub(super) const TUNNEL_END: &str = "boshy.tunnel_end";
/// Name of the cluster of the tunnel end.
pub(super) const PROGRAMS: &str = "programs";
/// Octets of a program that Envoy holds for a caller whose program does not read them.
const FROM_PROGRAMS: u32 = 256 << 10;
/// Tunnels in one connection to the tunnel end.
const MOST_TUNNELS: u32 = 1024;
/// Name of the cluster of the ADS server.
pub(super) const ADS: &str = "ads";
/// Name of the listener for health checks.
const HEALTH: &str = "health";

/// Settings for one Envoy's bootstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Envoy's node id.
    pub node: NodeId,
    /// Unix socket of the ADS server.
    pub ads_socket: PathBuf,
    /// Where the admin interface is; `None` for an Envoy without.
    pub admin: Option<AdminAddress>,
    /// Delta unless there is a reason against it: in the state of the world, a change costs the size of the whole
    /// state.
    pub flavour: Flavour,
    /// Envoy's version; `None` means the newest that boshy knows.
    pub version: Option<EnvoyVersion>,
    /// Time after which a connection to a vanished instance ends; `None` leaves it to the kernel.
    pub peer_timeout: Option<PeerTimeout>,
    /// Limit on the open files of the process (RLIMIT_NOFILE). Envoy refuses connections before it reaches the limit,
    /// and reports how close it is.
    pub open_files: u64,
    /// Unix socket at which Envoy's workers answer monit's checks. It is separate from the admin port, which another
    /// process may hold.
    pub health_socket: Option<PathBuf>,
    /// Unix socket of the VM's tunnel end. An Envoy without one connects tunnels with programs itself, and loses what
    /// ADR 40 says.
    pub tunnel_end: Option<PathBuf>,
}

/// Where Envoy's admin interface is. It has no authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A port, which must be on loopback.
    Tcp(SocketAddr),
    /// A Unix socket, for its owner and group.
    Unix(PathBuf),
}

impl AdminAddress {
    fn to_json(&self) -> Value {
        match self {
            Self::Tcp(at) => json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } }),
            Self::Unix(path) => json!({ "pipe": { "path": path, "mode": 0o660 } }),
        }
    }
}

/// Envoy's version, without the patch number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvoyVersion(u32, u32);

impl EnvoyVersion {
    /// Parses the output of `envoy --version`: `envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL`.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(['/', ' ', '\n']).find_map(|part| {
            let mut numbers = part.split(['.', '-']).map(str::parse);
            let (Some(Ok(major)), Some(Ok(minor)), Some(Ok::<u32, _>(_))) =
                (numbers.next(), numbers.next(), numbers.next())
            else {
                return None;
            };
            Some(Self(major, minor))
        })
    }
}

impl Bootstrap {
    /// The configuration as JSON, which Envoy accepts like YAML.
    pub fn to_json(&self) -> Value {
        let api_type = match self.flavour {
            Flavour::Delta => "DELTA_GRPC",
            Flavour::Sotw => "GRPC",
        };
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        let mut json = json!({
            "node": { "id": self.node.as_str(), "cluster": "boshy" },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": api_type,
                    "transport_api_version": "V3",
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": ADS } }],
                },
                "cds_config": ads,
                "lds_config": ads,
            },
            "static_resources": { "clusters": self.clusters(), "listeners": self.health_listener() },
            "cluster_manager": { "upstream_bind_config": { "socket_options": self.upstream_options() } },
            "layered_runtime": { "layers": [{ "name": "boshy", "static_layer": self.runtime() }] },
            "overload_manager": { "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": self.most_connections(),
                },
            }] },
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
            "stats_config": { "stats_matcher": { "inclusion_list": { "patterns": kept_statistics() } } },
        });
        if let Some(admin) = &self.admin {
            json["admin"] = json!({ "address": admin.to_json() });
        }
        json
    }

    fn upstream_options(&self) -> Vec<Value> {
        self.peer_timeout.into_iter().flat_map(PeerTimeout::towards_instances).map(socket_option).collect()
    }

    fn runtime(&self) -> Value {
        let known = GUARDS_OFF.into_iter().filter(|(since, _)| self.version.is_none_or(|version| version >= *since));
        let off = known.map(|(_, guard)| (guard, json!(false)));
        let told = (PEER_TIMEOUT, json!(self.peer_timeout.map_or(0, PeerTimeout::seconds)));
        let end = self.tunnel_end.iter().flat_map(|_| [(HALVES, json!(true)), (TUNNEL_END, json!(100))]);
        off.chain([told]).chain(end).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn most_connections(&self) -> u64 {
        (self.open_files.saturating_sub(OTHER_FILES) / FILES_OF_A_CONNECTION).max(1)
    }

    /// `GET /healthz`, answered by any worker: an Envoy whose worker handles connections is healthy, whatever its main
    /// thread does.
    fn health_listener(&self) -> Vec<Value> {
        let Some(path) = &self.health_socket else { return Vec::new() };
        let answer = json!({ "match": { "path": "/healthz" }, "direct_response": {
            "status": 200, "body": { "inline_string": "ok\n" },
        } });
        vec![json!({
            "name": HEALTH,
            "address": { "pipe": { "path": path, "mode": 0o660 } },
            "ignore_global_conn_limit": true,
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": HEALTH,
                    "codec_type": "HTTP1",
                    // As monit requests it.
                    "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": HEALTH },
                    "route_config": { "virtual_hosts": [{ "name": HEALTH, "domains": ["*"], "routes": [answer] }] },
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                    }],
                },
            }] }],
        })]
    }

    fn clusters(&self) -> Vec<Value> {
        [self.ads_cluster()].into_iter().chain(self.tunnel_end.as_deref().map(programs_cluster)).collect()
    }

    fn ads_cluster(&self) -> Value {
        json!({
            "name": ADS,
            // Replaces the options of the other clusters, which do not apply to a Unix socket.
            "upstream_bind_config": { "socket_options": [socket_option(KEEPALIVE_ON)] },
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {
                    "connection_keepalive": { "interval": "30s", "timeout": "10s" },
                } },
            } },
            "load_assignment": { "cluster_name": ADS, "endpoints": [{ "lb_endpoints": [{
                "endpoint": { "address": { "pipe": { "path": self.ads_socket } } },
            }] }] },
        })
    }
}

/// All programs of the VM. A route says which one is meant by a header.
fn programs_cluster(socket: &Path) -> Value {
    json!({
        "name": PROGRAMS,
        "upstream_bind_config": { "socket_options": [socket_option(KEEPALIVE_ON)] },
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": { "thresholds": [{
            "max_connections": u32::MAX, "max_pending_requests": u32::MAX, "max_requests": u32::MAX,
        }] },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {
                "allow_connect": true,
                "max_concurrent_streams": MOST_TUNNELS,
                "initial_stream_window_size": FROM_PROGRAMS,
                // Those of all its tunnels, so that callers that do not read stop no other.
                "initial_connection_window_size": MOST_TUNNELS * FROM_PROGRAMS,
            } },
        } },
        "load_assignment": { "cluster_name": PROGRAMS, "endpoints": [{ "lb_endpoints": [{
            "endpoint": { "address": { "pipe": { "path": socket } } },
        }] }] },
    })
}

fn socket_option((level, name, value): SocketOption) -> Value {
    json!({ "level": level, "name": name, "int_value": value })
}

fn kept_statistics() -> Vec<Value> {
    let endings = KEPT_OF_CLUSTERS.map(|suffix| json!({ "suffix": suffix }));
    let beginnings = KEPT.map(|prefix| json!({ "prefix": prefix }));
    let parts = KEPT_ANYWHERE.map(|part| json!({ "contains": part }));
    endings.into_iter().chain(beginnings).chain(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bootstrap {
        Bootstrap {
            node: "sidecar~10.0.0.1~x~x".parse().unwrap(),
            ads_socket: "/run/ads.sock".into(),
            admin: Some(AdminAddress::Tcp("127.0.0.1:8001".parse().unwrap())),
            flavour: Flavour::Delta,
            version: None,
            peer_timeout: Some(PeerTimeout::DEFAULT),
            open_files: 65_536,
            health_socket: None,
            tunnel_end: None,
        }
    }

    #[test]
    fn an_older_envoy_is_not_told_of_guards_that_it_does_not_know() {
        let guards = |text: &str| {
            let bootstrap = Bootstrap { version: EnvoyVersion::parse(text), ..sample() };
            bootstrap.runtime().as_object().unwrap().values().filter(|guard| **guard == false).count()
        };
        assert_eq!(guards("\nenvoy  version: bad8280d/1.36.4/Clean/RELEASE/BoringSSL\n\n"), 0);
        assert_eq!(guards("envoy  version: 9e558093/1.38.0/Clean/RELEASE/BoringSSL"), 1);
        assert_eq!(guards("envoy  version: 9e558093/1.40.0-dev/Modified/DEBUG/BoringSSL"), 2);
        assert_eq!(guards("envoy  version: 9e558093/2.0.1/Clean/RELEASE/BoringSSL"), 2);
        assert_eq!(guards("no version"), 2);
    }

    #[test]
    fn connections_are_as_many_as_files_allow_and_a_vanished_peer_is_noticed() {
        let document = sample().to_json();
        let at = |pointer: &str| document.pointer(pointer).unwrap().clone();
        let monitor = "/overload_manager/resource_monitors/0/typed_config/max_active_downstream_connections";
        assert_eq!(at(monitor), (65_536 - 1024) / 2);
        let options = at("/cluster_manager/upstream_bind_config/socket_options");
        // Idle after 20 s, and marked for the agent.
        for option in [json!({"level": 6, "name": 4, "int_value": 20}), json!({"level": 0, "name": 15, "int_value": 1})]
        {
            assert!(options.as_array().unwrap().contains(&option), "{options}");
        }
    }

    #[test]
    fn an_envoy_with_a_tunnel_end_is_told_so_and_keeps_halves() {
        let with = Bootstrap { tunnel_end: Some("/run/programs.sock".into()), ..sample() };
        let (with, without) = (with.to_json(), sample().to_json());
        let of = |document: &Value, key: &str| document["layered_runtime"]["layers"][0]["static_layer"][key].clone();
        assert_eq!((of(&with, HALVES), of(&with, TUNNEL_END)), (json!(true), json!(100)));
        assert_eq!((of(&without, HALVES), of(&without, TUNNEL_END)), (Value::Null, Value::Null));
        let clusters = |document: &Value| document["static_resources"]["clusters"].as_array().unwrap().clone();
        let [_, programs] = &clusters(&with)[..] else { panic!("{with}") };
        let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
        assert_eq!(programs.pointer(endpoint).unwrap(), "/run/programs.sock");
        assert_eq!(clusters(&without).len(), 1);
    }

    #[test]
    fn it_says_who_asks_whom_and_how() {
        let document = sample().to_json();
        let at = |pointer: &str| document.pointer(pointer).unwrap().clone();
        assert_eq!(at("/node/id"), "sidecar~10.0.0.1~x~x");
        assert_eq!(at("/layered_runtime/layers/0/static_layer/boshy.peer_timeout"), 50);
        assert_eq!(at("/admin/address/socket_address/port_value"), 8001);
        assert_eq!(at("/dynamic_resources/ads_config/api_type"), "DELTA_GRPC");
        let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        assert_eq!(at(&format!("{endpoint}/address/pipe/path")), "/run/ads.sock");
        let state = Bootstrap { flavour: Flavour::Sotw, ..sample() }.to_json();
        assert_eq!(state.pointer("/dynamic_resources/ads_config/api_type").unwrap(), "GRPC");
    }
}
