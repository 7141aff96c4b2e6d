//! Computes endpoints from a snapshot: those of one service key (SDS), and those of all (registration).

use boshy_mesh::{Endpoint, MeshSnapshot, Port};

use super::{
    names::service_key,
    wire::{Host, Registration, Tags},
};

/// Endpoints of `HOST|PORTNAME[,PORTNAME..][|LABELS]`, instance by instance. An unknown host, port or label has none.
pub(super) fn of_key(snapshot: &MeshSnapshot, key: &str) -> Vec<Host> {
    let mut parts = key.split('|');
    let host = parts.next().unwrap_or_default();
    // A key without a port part means the port named "", which no service of the mesh has.
    let names: Vec<&str> = parts.next().unwrap_or_default().split(',').collect();
    // Instances of the mesh carry no labels, so no instance matches a requested label.
    let asks_for_labels = parts.next().is_some_and(|labels| !labels.is_empty());
    let Some(plan) = snapshot.content.service(host).filter(|_| !asks_for_labels) else {
        return Vec::new();
    };
    let ports: Vec<&Port> = plan.service.ports.iter().filter(|port| names.contains(&port.name.as_str())).collect();
    plan.endpoints().flat_map(|endpoint| ports.iter().map(|port| host_of(endpoint, port, false))).collect()
}

/// All services by port, sorted by service key.
pub(super) fn of_all(snapshot: &MeshSnapshot) -> Vec<Registration> {
    let services = snapshot.content.services.iter();
    let mut entries: Vec<Registration> = services
        .flat_map(|plan| {
            plan.service.ports.iter().map(move |port| Registration {
                service_key: service_key(plan, port).to_string(),
                hosts: plan.endpoints().map(|endpoint| host_of(endpoint, port, true)).collect(),
            })
        })
        .collect();
    entries.sort_by(|one, other| one.service_key.cmp(&other.service_key));
    entries
}

fn host_of(endpoint: &Endpoint, port: &Port, tagged: bool) -> Host {
    let zone = endpoint.workload.az.as_ref().filter(|az| tagged && !az.is_empty());
    Host { ip_address: endpoint.ip.to_string(), port: port.number, tags: zone.map(|az| Tags { az: az.clone() }) }
}
