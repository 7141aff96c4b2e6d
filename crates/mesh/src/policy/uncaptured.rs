//! Ports whose connections are to pass through Envoy and do not, because of their mode.

use crate::{Discovery, MeshRules, MtlsMode, Place, Problem, Service};

impl MeshRules {
    /// Ports that say they are captured and are not, because they are strict.
    pub(crate) fn uncaptured(&self, found: &Discovery) -> Vec<Problem> {
        let services = found.services.values().flatten();
        services
            .flat_map(|service| service.ports.iter().enumerate().map(move |(index, port)| (service, index, port)))
            .filter(|(service, _, port)| port.ingress.is_some() && self.mode(service, port) == MtlsMode::Strict)
            .map(|(service, index, _)| Problem::new(place(service, index), STRICT))
            .collect()
    }
}

const STRICT: &str = "has no effect: the mode of this port is STRICT, so that nobody from outside of the mesh reaches it. \
                      Take it away, or give the port another mode by a policy";

fn place(service: &Service, index: usize) -> Place {
    service.origin.place().key(format!("expose_ports[{index}].ingress"))
}
