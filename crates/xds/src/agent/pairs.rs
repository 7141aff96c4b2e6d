//! Pairs of virtual IP and port for which the local Envoy gets listeners.

use std::{collections::BTreeSet, net::SocketAddrV4};

use boshy_mesh::VipRange;

use crate::{ResourceSet, ResourceType};

/// The pairs of virtual IP and port of the outbound listeners; `None` while the listeners are not known.
pub fn outbound_pairs(served: &ResourceSet, range: VipRange) -> Option<BTreeSet<SocketAddrV4>> {
    let listeners = served.of(ResourceType::Listener);
    let pairs = listeners.iter().filter_map(|listener| pair(&listener.name));
    listeners.is_known().then(|| pairs.filter(|pair| range.contains(*pair.ip())).collect())
}

/// The pair of the listener `tcp_IP_PORT`. The listeners of the VM's own ports have the VM's address.
fn pair(name: &str) -> Option<SocketAddrV4> {
    let (ip, port) = name.strip_prefix("tcp_")?.split_once('_')?;
    Some(SocketAddrV4::new(ip.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layer, Resource, TypedResources};

    #[test]
    fn each_outbound_listener_is_a_pair_and_no_other_is() {
        let names = [
            "tcp_169.254.255.2_22",
            "tcp_169.254.255.2_65535",
            "virtual",
            "tcp_10.0.0.5_80",
            "tcp_169.254.255.3",
            "tcp_x_1",
        ];
        let listeners = names.into_iter().map(|name| Resource::new(name, "")).collect();
        let served = ResourceSet::default().with(ResourceType::Listener, TypedResources::new([listeners]));
        let pairs = ["169.254.255.2:22", "169.254.255.2:65535"].map(|pair| pair.parse().unwrap());
        assert_eq!(outbound_pairs(&served, VipRange::default()), Some(pairs.into()));
    }

    #[test]
    fn what_is_not_known_is_not_empty() {
        assert_eq!(outbound_pairs(&ResourceSet::default(), VipRange::default()), None);
        let none = ResourceSet::default().with(ResourceType::Listener, TypedResources::new([Layer::default()]));
        assert_eq!(outbound_pairs(&none, VipRange::default()), Some(BTreeSet::new()));
    }
}
