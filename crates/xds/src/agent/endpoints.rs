//! Changes the endpoints that Envoy is served, where an agent knows more than the pilot has said.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::config::{
    core::v3::{Locality, address},
    endpoint::v3::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier},
};
use prost::Message;

use crate::{Layer, Resource, ResourceSet, ResourceType, envoy::service_host};

/// What becomes of a service's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointEdit {
    /// Addresses to leave out.
    pub without: BTreeSet<IpAddr>,
    /// Endpoints to add.
    pub with: Vec<NewEndpoint>,
}

/// An endpoint that the pilot has not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEndpoint {
    /// Its address.
    pub ip: IpAddr,
    /// UUID of the instance.
    pub instance: String,
    /// Availability zone.
    pub zone: Option<String>,
}

/// The set with edited endpoints. `edit` gets a service's host name and the addresses that the pilot has named, and
/// says what becomes of them; `None` when they stay. The endpoints of a service's ports are edited alike. It gets those
/// services alone whose host name `may_change`: reading the addresses of thousands takes long.
///
/// An added endpoint has the port, and the form of the name for its certificate, of those that the pilot has named. So
/// nothing is added to a service without any.
#[must_use]
pub fn with_edited_endpoints(
    set: &ResourceSet,
    may_change: impl Fn(&str) -> bool,
    mut edit: impl FnMut(&str, &BTreeSet<IpAddr>) -> Option<EndpointEdit>,
) -> ResourceSet {
    let known = set.of(ResourceType::Endpoints);
    let concerned = known.iter().filter(|resource| service_host(&resource.name).is_some_and(&may_change));
    let edited: Layer = concerned.filter_map(|resource| edited(resource, &mut edit)).collect();
    if edited.resources().is_empty() {
        return set.clone();
    }
    set.clone().with(ResourceType::Endpoints, known.with(edited))
}

fn edited(
    resource: &Arc<Resource>,
    edit: &mut impl FnMut(&str, &BTreeSet<IpAddr>) -> Option<EndpointEdit>,
) -> Option<Resource> {
    let host = service_host(&resource.name)?;
    let mut assignment = ClusterLoadAssignment::decode(&*resource.body).ok()?;
    let all = assignment.endpoints.iter().flat_map(|zone| &zone.lb_endpoints);
    let pattern = all.clone().next().cloned()?;
    let named = all.filter_map(ip).collect();
    let EndpointEdit { without, with } = edit(host, &named)?;
    for zone in &mut assignment.endpoints {
        zone.lb_endpoints.retain(|endpoint| ip(endpoint).is_none_or(|ip| !without.contains(&ip)));
    }
    for new in with {
        let endpoint = like(&pattern, &new)?;
        let is_zone = |zone: &&mut LocalityLbEndpoints| zone_of(zone) == new.zone.as_deref().unwrap_or_default();
        match assignment.endpoints.iter_mut().find(is_zone) {
            Some(zone) => zone.lb_endpoints.push(endpoint),
            None => assignment.endpoints.push(LocalityLbEndpoints {
                locality: new.zone.map(|zone| Locality { zone, ..Locality::default() }),
                lb_endpoints: vec![endpoint],
                ..LocalityLbEndpoints::default()
            }),
        }
    }
    Some(resource.edited(assignment.encode_to_vec()))
}

fn zone_of(zone: &LocalityLbEndpoints) -> &str {
    zone.locality.as_ref().map(|locality| locality.zone.as_str()).unwrap_or_default()
}

fn ip(endpoint: &LbEndpoint) -> Option<IpAddr> {
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return None };
    match endpoint.address.as_ref()?.address.as_ref()? {
        address::Address::SocketAddress(socket) => socket.address.parse().ok(),
        _ => None,
    }
}

/// An endpoint as another one, at another address. The name of a certificate is `INSTANCE-ID.TRUST-DOMAIN`.
fn like(pattern: &LbEndpoint, new: &NewEndpoint) -> Option<LbEndpoint> {
    let mut next = pattern.clone();
    let Some(HostIdentifier::Endpoint(endpoint)) = &mut next.host_identifier else { return None };
    if let Some((_, domain)) = endpoint.hostname.split_once('.') {
        endpoint.hostname = format!("{}.{domain}", new.instance);
    }
    match endpoint.address.as_mut()?.address.as_mut()? {
        address::Address::SocketAddress(socket) => socket.address = new.ip.to_string(),
        _ => return None,
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use boshy_mesh::{
        Endpoint, Hostname, Origin, Port, PortName, Protocol, Service, ServiceKey, ServicePlan, Shared, TrustDomain,
        Workload,
    };

    use super::*;
    use crate::{AckState, AckStates, TypedResources, envoy};

    const HOST: &str = "app.web.shop.boshy";

    fn plan(instances: &[(&str, &str, &str)]) -> ServicePlan {
        let endpoint = |(id, ip, zone): &(&str, &str, &str)| Endpoint {
            ip: ip.parse().unwrap(),
            workload: Shared::new(Workload {
                id: (*id).into(),
                az: Some((*zone).into()).filter(|zone: &String| !zone.is_empty()),
                ..Workload::default()
            }),
        };
        let origin = Origin { deployment: "shop".into(), group: "web".into(), job: "app".into() };
        let endpoints = instances.iter().map(endpoint).collect();
        let service = Service { host: Hostname::parse(HOST).unwrap(), origin, ports: vec![port()], endpoints };
        ServicePlan { service, vip: Ipv4Addr::new(169, 254, 255, 2), tunnel: None, withdrawn: BTreeSet::new() }
    }

    fn port() -> Port {
        Port { name: PortName::new("http").unwrap(), number: 8080, protocol: Protocol::Tcp, ingress: None }
    }

    /// The endpoints as an agent gets them, in plaintext and through tunnels.
    fn set(instances: &[(&str, &str, &str)]) -> ResourceSet {
        let (plan, key) = (plan(instances), ServiceKey::new(&Hostname::parse(HOST).unwrap(), &port().name));
        let both =
            [envoy::endpoints(&key, &plan, &port()), envoy::tunnel_endpoints(&key, &plan, &TrustDomain::default())];
        ResourceSet::default().with(ResourceType::Endpoints, TypedResources::new([both.into_iter().collect::<Layer>()]))
    }

    fn edited_set(before: &ResourceSet, without: &[&str], with: &[(&str, &str, &str)]) -> ResourceSet {
        let new = |(id, ip, zone): &(&str, &str, &str)| NewEndpoint {
            ip: ip.parse().unwrap(),
            instance: (*id).into(),
            zone: Some((*zone).into()).filter(|zone: &String| !zone.is_empty()),
        };
        with_edited_endpoints(
            before,
            |host| host == HOST,
            |host, named| {
                assert_eq!((host, named.len()), (HOST, 2));
                let without = without.iter().map(|ip| ip.parse().unwrap()).collect();
                Some(EndpointEdit { without, with: with.iter().map(new).collect() })
            },
        )
    }

    #[test]
    fn what_is_edited_is_what_the_pilot_would_have_made() {
        let before = set(&[("a", "10.0.0.1", "z1"), ("b", "10.0.0.2", "z1")]);
        let after = edited_set(&before, &["10.0.0.1"], &[("c", "10.0.0.3", "z1"), ("d", "fd00::4", "z2")]);
        let wanted = set(&[("b", "10.0.0.2", "z1"), ("c", "10.0.0.3", "z1"), ("d", "fd00::4", "z2")]);
        let body = |resource: &Arc<Resource>| (Arc::clone(&resource.name), resource.body.clone());
        let all = |set: &ResourceSet| set.of(ResourceType::Endpoints).iter().map(body).collect::<Vec<_>>();
        assert_eq!(all(&after), all(&wanted));
        assert_eq!(all(&after).len(), 2, "plaintext and tunnels");
        for (before, after) in before.of(ResourceType::Endpoints).iter().zip(after.of(ResourceType::Endpoints).iter()) {
            assert_ne!(before.version, after.version);
            let (ack_states, _envoy) = AckStates::with_acked(&[(ResourceType::Endpoints, after)]);
            assert_eq!(ack_states.of(ResourceType::Endpoints, &before.name, &before.version), AckState::Acked);
        }
        let zoneless = set(&[("a", "10.0.0.1", ""), ("b", "10.0.0.2", "")]);
        let after = edited_set(&zoneless, &[], &[("c", "10.0.0.3", "")]);
        assert_eq!(all(&after), all(&set(&[("a", "10.0.0.1", ""), ("b", "10.0.0.2", ""), ("c", "10.0.0.3", "")])));
    }

    #[test]
    fn what_stays_is_shared_and_what_cannot_be_read_stays() {
        let before = set(&[("a", "10.0.0.1", "z1"), ("b", "10.0.0.2", "z1")]);
        assert_eq!(with_edited_endpoints(&before, |_| true, |_, _| None), before);
        assert_eq!(with_edited_endpoints(&before, |_| false, |_, _| panic!("no service may change")), before);
        let odd: Layer =
            [Resource::new("out.a.b.c.boshy|http", vec![0xff]), Resource::new("odd", "")].into_iter().collect();
        let odd = ResourceSet::default().with(ResourceType::Endpoints, TypedResources::new([odd]));
        assert_eq!(with_edited_endpoints(&odd, |_| true, |_, _| Some(EndpointEdit::default())), odd);
        let none = set(&[]);
        assert_eq!(with_edited_endpoints(&none, |_| true, |_, _| Some(EndpointEdit::default())), none);
    }
}
