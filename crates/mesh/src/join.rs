//! Joins facts, leases and rules to plans. What is unchanged keeps its plan.

use std::net::Ipv4Addr;

use crate::{
    Authorization, Discovery, InboundPort, Ingress, Leases, MeshRules, MtlsMode, Port, Service, ServicePlan, Shared,
    Workload, WorkloadPlan, Workloads, workloads::ByAddress,
};

/// The services that hold a lease, sorted by name.
pub(crate) fn services(
    found: &Discovery,
    leases: &Leases,
    rules: &MeshRules,
    previous: &[Shared<ServicePlan>],
) -> Vec<Shared<ServicePlan>> {
    // Both are sorted by name.
    let mut previous = previous.iter().peekable();
    let leased = found.leased(leases).map(|(service, vip)| {
        let host = &service.host;
        let (tunnel, withdrawn) = (rules.tunnel(service), rules.withdrawn(service));
        // Compared before it is copied.
        let is_same = |known: &&Shared<ServicePlan>| {
            let ServicePlan { service: known, vip: known_vip, tunnel: known_tunnel, withdrawn: known_withdrawn } =
                &***known;
            known == service && *known_vip == vip && *known_tunnel == tunnel && *known_withdrawn == withdrawn
        };
        while previous.next_if(|known| known.host() < host).is_some() {}
        let known = previous.peek().copied().filter(is_same).cloned();
        known.unwrap_or_else(|| Shared::new(ServicePlan { service: service.clone(), vip, tunnel, withdrawn }))
    });
    leased.collect()
}

/// Joins workloads with the services that have endpoints at their addresses.
pub(crate) fn workloads(
    workloads: impl IntoIterator<Item = Shared<Workload>>,
    services: &[Shared<ServicePlan>],
    rules: &MeshRules,
    previous: &Workloads,
) -> Workloads {
    let workloads: Vec<_> = workloads.into_iter().collect();
    let by_address = ByAddress::of(&workloads);
    let mut inbound = inbound(services, rules, &by_address).into_iter().peekable();
    let plans = workloads.into_iter().enumerate().map(|(index, workload)| {
        let own = std::iter::from_fn(|| inbound.next_if(|(of, _)| *of == index).map(|(_, port)| port));
        joined(workload, own.collect(), previous)
    });
    Workloads::new(plans.collect(), by_address)
}

/// The ports of all workloads, each with the index of its workload, in order.
fn inbound(services: &[Shared<ServicePlan>], rules: &MeshRules, by_address: &ByAddress) -> Vec<(usize, InboundPort)> {
    let mut inbound = Vec::new();
    for ServicePlan { service, .. } in services.iter().map(|plan| &**plan) {
        let ports: Vec<_> = service.ports.iter().map(|port| ruled(service, port, rules)).collect();
        for endpoint in &service.endpoints {
            let Some(index) = by_address.get(endpoint.ip) else { continue };
            let at = |port: &InboundPort| InboundPort { at: (endpoint.ip, port.at.port()).into(), ..port.clone() };
            inbound.extend(ports.iter().map(|port| (index, at(port))));
        }
    }
    // The sort is stable, so that the first service by name stays the first.
    inbound.sort_by_key(|(index, port)| (*index, port.at));
    inbound.dedup_by(|(index, port), (first, kept)| {
        let is_same = (*index, port.at) == (*first, kept.at);
        if is_same {
            kept.mode = kept.mode.max(port.mode);
            kept.authorization = together(kept.authorization.take(), port.authorization.take());
            kept.plaintext = together(kept.plaintext.take(), port.plaintext.take());
            let both = [kept.ingress, port.ingress].into_iter().flatten().reduce(Ingress::and);
            kept.ingress = both.filter(|_| kept.mode != MtlsMode::Strict);
        }
        is_same
    });
    for (_, port) in &mut inbound {
        // Nobody looks at what reaches the program directly.
        port.plaintext = port.plaintext.take().filter(|_| port.ingress.is_some());
    }
    inbound
}

/// A port with the rules of its service, at no address yet.
fn ruled(service: &Service, port: &Port, rules: &MeshRules) -> InboundPort {
    let mode = rules.stage(service, port).mode();
    InboundPort {
        at: (Ipv4Addr::UNSPECIFIED, port.number).into(),
        protocol: port.protocol,
        mode,
        authorization: rules.authorization(service, port).map(Shared::new),
        plaintext: rules.plaintext(service, port).map(Shared::new),
        ingress: port.ingress.filter(|_| mode != MtlsMode::Strict),
    }
}

fn together(one: Option<Shared<Authorization>>, other: Option<Shared<Authorization>>) -> Option<Shared<Authorization>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Shared::new(one.and(&other))),
        (one, other) => one.or(other),
    }
}

fn joined(workload: Shared<Workload>, inbound: Vec<InboundPort>, previous: &Workloads) -> Shared<WorkloadPlan> {
    let known = previous.like(&workload).cloned();
    let plan = WorkloadPlan { workload, inbound };
    known.filter(|known| **known == plan).unwrap_or_else(|| Shared::new(plan))
}
