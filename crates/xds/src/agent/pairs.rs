//! Pairs of virtual IP and port for which the local Envoy gets listeners.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, SocketAddrV4},
};

use boshy_mesh::VipRange;

use crate::{ResourceSet, ResourceType, envoy::listener_address};

/// The pairs of virtual IP and port of the outbound listeners; `None` while the listeners are not known. A listener is
/// outbound if its address is in the range: those of the VM's own ports have the VM's address, and the capture listener
/// a local one.
pub fn outbound_pairs(served: &ResourceSet, range: VipRange) -> Option<BTreeSet<SocketAddrV4>> {
    let listeners = served.of(ResourceType::Listener);
    let pairs = listeners.iter().filter_map(|listener| match listener_address(listener)? {
        SocketAddr::V4(pair) => range.contains(*pair.ip()).then_some(pair),
        SocketAddr::V6(_) => None,
    });
    listeners.is_known().then(|| pairs.collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use boshy_mesh::{Hostname, PortName, ServiceKey};

    use super::*;
    use crate::{CAPTURE, Capture, Layer, Resource, TypedResources, envoy};

    fn served(listeners: impl IntoIterator<Item = Resource>) -> ResourceSet {
        let layer = listeners.into_iter().collect::<Layer>();
        ResourceSet::default().with(ResourceType::Listener, TypedResources::new([layer]))
    }

    #[test]
    fn each_outbound_listener_is_a_pair_and_no_other_is() {
        let key = ServiceKey::new(&Hostname::parse("a.b.c.boshy").unwrap(), &PortName::new("http").unwrap());
        let outbound = |last, port| envoy::outbound_listener(&key, Ipv4Addr::new(169, 254, 255, last), port);
        let renamed = Resource { name: "any name".into(), ..outbound(2, 65535) };
        let listeners = [
            outbound(2, 22),
            renamed,
            envoy::capture_listener(Capture::at(CAPTURE)),
            envoy::inbound_listener([10, 0, 0, 5].into(), 80),
            envoy::inbound_listener([0xfd00, 0, 0, 0, 0, 0, 0, 5].into(), 80),
            Resource::new("tcp_169.254.255.3_1", ""),
            Resource::new("tcp_169.254.255.3_2", vec![0xff]),
        ];
        let pairs = ["169.254.255.2:22", "169.254.255.2:65535"].map(|pair| pair.parse().unwrap());
        assert_eq!(outbound_pairs(&served(listeners), VipRange::default()), Some(pairs.into()));
    }

    #[test]
    fn what_is_not_known_is_not_empty() {
        assert_eq!(outbound_pairs(&ResourceSet::default(), VipRange::default()), None);
        assert_eq!(outbound_pairs(&served([]), VipRange::default()), Some(BTreeSet::new()));
    }
}
