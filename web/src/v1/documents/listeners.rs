//! Computes the listeners (LDS) of a node from a snapshot.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use boshy_mesh::{InboundPort, MeshSnapshot, NodeId, NodeKind, Protocol};

use super::{
    names::{inbound_cluster, inbound_ports, listener_name, outbound_cluster, service_key, single, url},
    wire::{
        AccessLog, Empty, Filter, FilterKind, HttpConnectionManager, HttpFilter, Listener, Rds, TcpProxy, TcpRoute,
        TcpRoutes, Tracing,
    },
};

/// Port at which captured connections arrive. They are passed on by their original destination address.
const CAPTURE_PORT: u16 = 15001;
/// Port at which an ingress accepts HTTP.
const INGRESS_PORT: u16 = 80;
/// Period at which an Envoy of the v1 API polls for routes.
const RDS_REFRESH_MS: u32 = 1000;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Listeners of a node, one per address, sorted by address. Of two on one address the first is used: inbound precedes
/// outbound, outbound precedes the capture listener, and among services the first by name wins.
pub(super) fn of_node(snapshot: &MeshSnapshot, node: &NodeId) -> Vec<Listener> {
    let mut by_address = BTreeMap::new();
    let mut add = |listener: Listener| {
        by_address.entry(listener.address.clone()).or_insert(listener);
    };
    match node.kind() {
        NodeKind::Sidecar => {
            node.ip().into_iter().flat_map(|ip| inbound(snapshot, ip)).for_each(&mut add);
            outbound(snapshot).for_each(&mut add);
            add(capture());
        }
        NodeKind::Router => standing_alone(snapshot).for_each(&mut add),
        NodeKind::Ingress => add(ingress()),
    }
    by_address.into_values().collect()
}

fn inbound(snapshot: &MeshSnapshot, ip: IpAddr) -> impl Iterator<Item = Listener> {
    inbound_ports(snapshot, ip).map(|InboundPort { at, protocol, .. }| {
        proxied(*at, *protocol, inbound_cluster(at.port()), vec![single(at.ip())], false)
    })
}

fn outbound(snapshot: &MeshSnapshot) -> impl Iterator<Item = Listener> {
    snapshot.content.services.iter().flat_map(|plan| {
        let vip = IpAddr::V4(plan.vip);
        plan.service.ports.iter().map(move |port| {
            let cluster = outbound_cluster(&service_key(plan, port));
            proxied((vip, port.number).into(), port.protocol, cluster, vec![single(vip)], false)
        })
    })
}

/// Listeners of a router. It has no virtual addresses: it accepts every address on a port number, for the first service
/// by name that exposes this port.
fn standing_alone(snapshot: &MeshSnapshot) -> impl Iterator<Item = Listener> {
    snapshot.content.services.iter().flat_map(|plan| {
        plan.service.ports.iter().map(move |port| {
            let cluster = outbound_cluster(&service_key(plan, port));
            proxied((ANY, port.number).into(), port.protocol, cluster, Vec::new(), true)
        })
    })
}

fn proxied(
    at: SocketAddr,
    protocol: Protocol,
    cluster: String,
    destination_ip_list: Vec<String>,
    bind_to_port: bool,
) -> Listener {
    let (prefix, filter) = match protocol {
        Protocol::Tcp => {
            let route_config = TcpRoutes { routes: vec![TcpRoute { cluster, destination_ip_list }] };
            ("tcp", FilterKind::TcpProxy(TcpProxy { stat_prefix: "tcp", route_config }))
        }
    };
    Listener {
        address: url(at),
        name: listener_name(prefix, at),
        filters: vec![Filter { kind: "read", filter }],
        bind_to_port,
        use_original_dst: false,
    }
}

fn capture() -> Listener {
    Listener {
        address: url((ANY, CAPTURE_PORT).into()),
        name: "virtual".into(),
        filters: Vec::new(),
        bind_to_port: true,
        use_original_dst: true,
    }
}

fn ingress() -> Listener {
    let manager = HttpConnectionManager {
        codec_type: "auto",
        stat_prefix: "http",
        generate_request_id: true,
        use_remote_address: true,
        tracing: Tracing { operation_name: "egress" },
        rds: Rds { cluster: "rds", route_config_name: "80", refresh_delay_ms: RDS_REFRESH_MS },
        filters: vec![
            HttpFilter { kind: "", name: "cors", config: Empty {} },
            HttpFilter { kind: "decoder", name: "router", config: Empty {} },
        ],
        access_log: vec![AccessLog { path: "/dev/stdout" }],
    };
    Listener {
        address: url((ANY, INGRESS_PORT).into()),
        name: listener_name("http", (ANY, INGRESS_PORT).into()),
        filters: vec![Filter { kind: "read", filter: FilterKind::HttpConnectionManager(manager) }],
        bind_to_port: true,
        use_original_dst: false,
    }
}
