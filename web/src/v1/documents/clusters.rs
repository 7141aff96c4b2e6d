//! Computes the clusters (CDS) of a node from a snapshot.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use boshy_mesh::{MeshSnapshot, NodeId, NodeKind};

use super::{
    names::{inbound_cluster, inbound_ports, outbound_cluster, service_key, url},
    wire::{Cluster, ClusterHost},
};

const CONNECT_TIMEOUT_MS: u32 = 1000;

/// Clusters of a node, one per name, sorted by name. An ingress has none, because no manifest declares ingress rules.
pub(super) fn of_node(snapshot: &MeshSnapshot, node: &NodeId) -> Vec<Cluster> {
    let mut by_name = BTreeMap::new();
    let mut add = |cluster: Cluster| {
        by_name.entry(cluster.name.clone()).or_insert(cluster);
    };
    match node.kind() {
        NodeKind::Sidecar => {
            node.ip().into_iter().flat_map(|ip| inbound(snapshot, ip)).for_each(&mut add);
            outbound(snapshot).for_each(&mut add);
        }
        NodeKind::Router => outbound(snapshot).for_each(&mut add),
        NodeKind::Ingress => {}
    }
    by_name.into_values().collect()
}

/// Inbound clusters reach the workload beside the sidecar over loopback.
fn inbound(snapshot: &MeshSnapshot, ip: IpAddr) -> impl Iterator<Item = Cluster> {
    inbound_ports(snapshot, ip).map(|port| Cluster {
        name: inbound_cluster(port.at.port()),
        service_name: None,
        connect_timeout_ms: CONNECT_TIMEOUT_MS,
        kind: "static",
        lb_type: "round_robin",
        hosts: vec![ClusterHost { url: url((Ipv4Addr::LOCALHOST, port.at.port()).into()) }],
    })
}

/// Envoy asks for endpoints by service key (SDS), so a change of endpoints changes no cluster.
fn outbound(snapshot: &MeshSnapshot) -> impl Iterator<Item = Cluster> {
    snapshot.content.services.iter().flat_map(|plan| {
        plan.service.ports.iter().map(move |port| {
            let key = service_key(plan, port);
            Cluster {
                name: outbound_cluster(&key),
                service_name: Some(key.to_string()),
                connect_timeout_ms: CONNECT_TIMEOUT_MS,
                kind: "sds",
                lb_type: "round_robin",
                hosts: Vec::new(),
            }
        })
    })
}
