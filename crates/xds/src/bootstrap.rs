//! Envoy's bootstrap: where it gets everything else from.
//!
//! Statistics are the larger part of what a service costs Envoy, so only those are kept that tell whether the mesh works, and they are
//! made on first use. At 5,000 services this saves half of the memory.

use std::{net::SocketAddr, path::PathBuf};

use boshy_mesh::NodeId;
use serde_json::{Value, json};

use crate::Flavour;

/// Endings of the cluster statistics that are kept.
const KEPT_OF_CLUSTERS: [&str; 7] = [
    ".membership_healthy",
    ".membership_total",
    ".upstream_cx_active",
    ".upstream_cx_connect_attempts_exceeded",
    ".upstream_cx_connect_fail",
    ".upstream_cx_none_healthy",
    ".upstream_cx_total",
];
/// Beginnings of the other statistics that are kept.
const KEPT: [&str; 6] = ["cluster.ads.", "cluster_manager.", "control_plane.", "listener_manager.", "server.", "tcp."];
/// Name of the cluster behind which the ADS server is.
const ADS: &str = "ads";

/// What one Envoy starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Who it says it is.
    pub node: NodeId,
    /// Unix socket of the ADS server.
    pub ads_socket: PathBuf,
    /// Where it listens for its operator; it has no authentication, so a loopback address.
    pub admin: SocketAddr,
    /// Delta unless there is a reason: a change costs the state of the world its whole size.
    pub flavour: Flavour,
}

impl Bootstrap {
    /// The document, which Envoy takes as it takes YAML.
    pub fn to_json(&self) -> Value {
        let api_type = match self.flavour {
            Flavour::Delta => "DELTA_GRPC",
            Flavour::Sotw => "GRPC",
        };
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        json!({
            "node": { "id": self.node.as_str(), "cluster": "boshy" },
            "admin": { "address": { "socket_address": {
                "address": self.admin.ip().to_string(), "port_value": self.admin.port(),
            } } },
            "dynamic_resources": {
                "ads_config": {
                    "api_type": api_type,
                    "transport_api_version": "V3",
                    "grpc_services": [{ "envoy_grpc": { "cluster_name": ADS } }],
                },
                "cds_config": ads,
                "lds_config": ads,
            },
            "static_resources": { "clusters": [self.ads_cluster()] },
            "deferred_stat_options": { "enable_deferred_creation_stats": true },
            "stats_config": { "stats_matcher": { "inclusion_list": { "patterns": kept_statistics() } } },
        })
    }

    fn ads_cluster(&self) -> Value {
        json!({
            "name": ADS,
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

fn kept_statistics() -> Vec<Value> {
    let endings = KEPT_OF_CLUSTERS.map(|suffix| json!({ "suffix": suffix }));
    let beginnings = KEPT.map(|prefix| json!({ "prefix": prefix }));
    endings.into_iter().chain(beginnings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bootstrap(flavour: Flavour) -> Value {
        let node = "sidecar~10.0.0.1~x~x".parse().unwrap();
        let admin = "127.0.0.1:8001".parse().unwrap();
        Bootstrap { node, ads_socket: "/run/ads.sock".into(), admin, flavour }.to_json()
    }

    #[test]
    fn it_says_who_asks_whom_and_how() {
        let document = bootstrap(Flavour::Delta);
        let at = |pointer: &str| document.pointer(pointer).unwrap().clone();
        assert_eq!(at("/node/id"), "sidecar~10.0.0.1~x~x");
        assert_eq!(at("/admin/address/socket_address/port_value"), 8001);
        assert_eq!(at("/dynamic_resources/ads_config/api_type"), "DELTA_GRPC");
        let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        assert_eq!(at(&format!("{endpoint}/address/pipe/path")), "/run/ads.sock");
        let state = bootstrap(Flavour::Sotw);
        assert_eq!(state.pointer("/dynamic_resources/ads_config/api_type").unwrap(), "GRPC");
    }
}
