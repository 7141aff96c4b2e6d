//! Clusters: how Envoy connects to the instances of a service, and to the workload on its own VM.

use std::{collections::HashMap, net::Ipv4Addr};

use boshy_mesh::ServiceKey;
use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{
                CircuitBreakers, Cluster, OutlierDetection,
                circuit_breakers::Thresholds,
                cluster::{ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig},
            },
            core::v3::{Http2ProtocolOptions, HttpProtocolOptions as CommonHttpOptions, KeepaliveSettings},
            endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints},
        },
        extensions::upstreams::http::v3::{
            HttpProtocolOptions,
            http_protocol_options::{
                ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
            },
        },
        r#type::v3::Percent,
    },
    google::protobuf::{Duration, UInt32Value},
};
use envoy_types::util::pack_any;
use prost::Message;

use super::{
    endpoint::lb_endpoint,
    resource_names::{inbound_name, outbound_name, tunnel_name},
    tls,
};
use crate::Resource;

/// Name of the cluster without endpoints: a connection to it is closed.
pub(super) const NOWHERE: &str = "nowhere";
/// Timeout of one attempt, and so the longest round trip to an instance. A connection that meets two endpoints in a row
/// that swallow packets still succeeds within 1.1 seconds. When the first packet is lost, the next attempt sends it
/// sooner than the kernel would.
pub(super) const CONNECT_TIMEOUT: Duration = Duration { seconds: 0, nanos: 500_000_000 };
/// The same for a connection that carries tunnels: TLS adds a round trip.
const HANDSHAKE_TIMEOUT: Duration = Duration { seconds: 1, nanos: 0 };
/// Life of a connection that carries tunnels, after which another one carries the next ones. Certificates are checked
/// by handshakes only, and so is whether this VM has another one. Open tunnels live on.
const LONGEST_CONNECTION: Duration = Duration { seconds: 3600, nanos: 0 };
/// Tunnels in the life of one connection, after which another one carries the next ones. Envoy's codec (nghttp2) ends a
/// connection with all its tunnels when it receives a thousand resets sooner than it forgets them (33 a second), and a
/// program that closes by a reset resets its tunnel. Envoy's other codec (oghttp2) has no such limit, and never closes
/// a stream whose answer ends before its request.
const TUNNELS_OF_A_CONNECTION: u32 = 512;
/// A tunnel needs no handshake when there is a connection, so a VM that has vanished would swallow new tunnels until
/// its connection ends. Before a tunnel is opened in a connection that has brought nothing for this long, the other end
/// is asked whether it is there.
const ASKED_AFTER: Duration = Duration { seconds: 1, nanos: 0 };
/// Time for that answer, after which the connection ends with all its tunnels. A VM that stands still for a moment, as
/// in a live migration, must not lose them.
const ANSWERED_WITHIN: Duration = Duration { seconds: 5, nanos: 0 };
/// What instances' programs send. The window is larger than what a network leaves in flight. An instance without a tunnel
/// end drops what the window does not admit when its program closes (ADR 40).
const FROM_INSTANCES: tls::Http2 = tls::Http2 { stream_window: 4 << 20, most_streams: 100 };
/// Key of the options of a cluster that speaks HTTP.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Duration of the first ejection of an endpoint that could not be connected to. Each further ejection lasts longer by
/// this time.
const FIRST_EJECTION: Duration = Duration { seconds: 1, nanos: 0 };
/// Longest ejection, and so the longest time that a recovered endpoint waits for connections.
const LONGEST_EJECTION: Duration = Duration { seconds: 3, nanos: 0 };
/// How often Envoy checks which ejections are over.
const EJECTION_SWEEP: Duration = Duration { seconds: 0, nanos: 500_000_000 };

/// `out.KEY`: the instances of a service, by EDS.
pub(crate) fn outbound_cluster(key: &ServiceKey) -> Resource {
    let name = outbound_name(key);
    Resource::new(name.clone(), instances(&name).encode_to_vec())
}

/// `mtls.KEY`: the same instances, through tunnels. It has a name of its own, so that a service that is tunnelled from
/// now on has both clusters until its listener has changed from one to the other.
pub(crate) fn tunnel_cluster(key: &ServiceKey) -> Resource {
    let name = tunnel_name(key);
    let most = Some(UInt32Value { value: u32::MAX });
    // A tunnel is a request.
    let mut breakers = unbroken();
    breakers.thresholds.iter_mut().for_each(|thresholds| thresholds.max_requests = most);
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(CommonHttpOptions {
            max_connection_duration: Some(LONGEST_CONNECTION),
            max_requests_per_connection: Some(UInt32Value { value: TUNNELS_OF_A_CONNECTION }),
            ..CommonHttpOptions::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions {
                connection_keepalive: Some(KeepaliveSettings {
                    connection_idle_interval: Some(ASKED_AFTER),
                    timeout: Some(ANSWERED_WITHIN),
                    ..KeepaliveSettings::default()
                }),
                ..FROM_INSTANCES.options()
            })),
        })),
        ..HttpProtocolOptions::default()
    };
    let cluster = Cluster {
        connect_timeout: Some(HANDSHAKE_TIMEOUT),
        circuit_breakers: Some(breakers),
        transport_socket: Some(tls::upstream()),
        typed_extension_protocol_options: HashMap::from([(HTTP_OPTIONS.to_owned(), pack_any(options))]),
        ..instances(&name)
    };
    Resource::new(name, cluster.encode_to_vec())
}

/// `in.PORT`: the workload on the proxy's VM.
pub(crate) fn inbound_cluster(port: u16) -> Resource {
    let name = inbound_name(port);
    let cluster = static_cluster(&name, vec![lb_endpoint(Ipv4Addr::LOCALHOST.into(), port)]);
    Resource::new(name, cluster.encode_to_vec())
}

/// The cluster without endpoints to which `virtual` falls back.
pub(crate) fn nowhere_cluster() -> Resource {
    Resource::new(NOWHERE, static_cluster(NOWHERE, Vec::new()).encode_to_vec())
}

/// The fields of `envoy.config.cluster.v3.Cluster` that say which endpoints it has. Reading only these is cheap.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterEndpoints {
    /// `eds_cluster_config`.
    #[prost(message, optional, tag = "3")]
    pub(crate) config: Option<EdsServiceName>,
}

/// A field of `envoy.config.cluster.v3.Cluster.EdsClusterConfig`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EdsServiceName {
    /// `service_name`.
    #[prost(string, tag = "2")]
    pub(crate) service_name: String,
}

/// Name of a cluster's endpoints. Without `service_name` it is the cluster's own name. `None` for a cluster whose
/// endpoints are not discovered by EDS.
pub(crate) fn endpoints_of(cluster: &Resource) -> Option<String> {
    let EdsServiceName { service_name } = ClusterEndpoints::decode(cluster.body.clone()).ok()?.config?;
    Some(if service_name.is_empty() { cluster.name.to_string() } else { service_name })
}

/// Endpoint ejection: an endpoint that cannot be connected to is excluded for a while, because a director lists an
/// instance also while it is stopped, restarts or has crashed. An endpoint that answers with errors stays, because only
/// a client that speaks the protocol can recognise errors.
fn unreachable_endpoints() -> OutlierDetection {
    let number = |value| Some(UInt32Value { value });
    OutlierDetection {
        // For TCP, these are failures to connect. A tunnel that is answered with anything but 200 is one as well: the
        // program is down (503), or a policy denies the caller (403).
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

pub(super) fn static_cluster(name: &str, lb_endpoints: Vec<LbEndpoint>) -> Cluster {
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

/// A cluster whose endpoints are discovered under its own name.
fn instances(name: &str) -> Cluster {
    let eds = EdsClusterConfig { eds_config: Some(tls::ads()), ..EdsClusterConfig::default() };
    Cluster {
        eds_cluster_config: Some(eds),
        outlier_detection: Some(unreachable_endpoints()),
        circuit_breakers: Some(unbroken()),
        common_lb_config: Some(heeding_ejections()),
        ..cluster(name, DiscoveryType::Eds)
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

#[cfg(test)]
mod tests {
    use boshy_mesh::{Hostname, PortName};

    use super::*;

    #[test]
    fn a_cluster_says_which_endpoints_it_has() {
        let key = ServiceKey::new(&Hostname::parse("a.boshy").unwrap(), &PortName::new("http").unwrap());
        assert_eq!(endpoints_of(&outbound_cluster(&key)).as_deref(), Some("out.a.boshy|http"));
        let unnamed = Cluster { eds_cluster_config: Some(EdsClusterConfig::default()), ..Cluster::default() };
        assert_eq!(endpoints_of(&Resource::new("x", unnamed.encode_to_vec())).as_deref(), Some("x"));
        assert_eq!(endpoints_of(&inbound_cluster(80)), None);
        assert_eq!(endpoints_of(&Resource::new("x", vec![0xff])), None);
    }
}
