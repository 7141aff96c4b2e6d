//! The wire format of the 2018 v1 discovery API.
//!
//! Fields are in the order of the output. Fields that this mesh never fills (`ssl_context`, `features`, circuit
//! breakers, fault filters) are left out, as the API leaves out empty ones.

use serde::Serialize;

/// Response of LDS.
#[derive(Debug, Serialize)]
pub(super) struct Listeners {
    pub(super) listeners: Vec<Listener>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listener {
    pub(super) address: String,
    pub(super) name: String,
    pub(super) filters: Vec<Filter>,
    pub(super) bind_to_port: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) use_original_dst: bool,
}

/// A network filter.
#[derive(Debug, Serialize)]
pub(super) struct Filter {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(flatten)]
    pub(super) filter: FilterKind,
}

#[derive(Debug, Serialize)]
#[serde(tag = "name", content = "config", rename_all = "snake_case")]
pub(super) enum FilterKind {
    TcpProxy(TcpProxy),
    HttpConnectionManager(HttpConnectionManager),
}

#[derive(Debug, Serialize)]
pub(super) struct TcpProxy {
    pub(super) stat_prefix: &'static str,
    pub(super) route_config: TcpRoutes,
}

#[derive(Debug, Serialize)]
pub(super) struct TcpRoutes {
    pub(super) routes: Vec<TcpRoute>,
}

#[derive(Debug, Serialize)]
pub(super) struct TcpRoute {
    pub(super) cluster: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) destination_ip_list: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct HttpConnectionManager {
    pub(super) codec_type: &'static str,
    pub(super) stat_prefix: &'static str,
    pub(super) generate_request_id: bool,
    pub(super) use_remote_address: bool,
    pub(super) tracing: Tracing,
    pub(super) rds: Rds,
    pub(super) filters: Vec<HttpFilter>,
    pub(super) access_log: Vec<AccessLog>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tracing {
    pub(super) operation_name: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Rds {
    pub(super) cluster: &'static str,
    pub(super) route_config_name: &'static str,
    pub(super) refresh_delay_ms: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct HttpFilter {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) config: Empty,
}

/// An empty object, `{}`.
#[derive(Debug, Serialize)]
pub(super) struct Empty {}

#[derive(Debug, Serialize)]
pub(super) struct AccessLog {
    pub(super) path: &'static str,
}

/// Response of CDS.
#[derive(Debug, Serialize)]
pub(super) struct Clusters {
    pub(super) clusters: Vec<Cluster>,
}

#[derive(Debug, Serialize)]
pub(super) struct Cluster {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_name: Option<String>,
    pub(super) connect_timeout_ms: u32,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) lb_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hosts: Vec<ClusterHost>,
}

#[derive(Debug, Serialize)]
pub(super) struct ClusterHost {
    pub(super) url: String,
}

/// Response of RDS.
#[derive(Debug, Serialize)]
pub(super) struct Routes {
    pub(super) virtual_hosts: [Empty; 0],
}

/// Response of SDS.
#[derive(Debug, Serialize)]
pub(super) struct Hosts {
    pub(super) hosts: Vec<Host>,
}

#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub(super) ip_address: String,
    pub(super) port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<Tags>,
}

#[derive(Debug, Serialize)]
pub(super) struct Tags {
    pub(super) az: String,
}

/// One entry of the registration.
#[derive(Debug, Serialize)]
pub(super) struct Registration {
    #[serde(rename = "service-key")]
    pub(super) service_key: String,
    pub(super) hosts: Vec<Host>,
}

fn is_false(value: &bool) -> bool {
    !*value
}
