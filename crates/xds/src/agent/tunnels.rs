//! What the local Envoy has accepted of the tunnels to its VM.

use crate::{
    AckState, AckStates, CERTIFICATE, ROOTS, ResourceSet, ResourceType,
    envoy::{is_mesh_name, roots},
};

/// Whether Envoy accepts tunnels to this VM: it has acknowledged the listener and the routes of each of the VM's
/// addresses, and the secrets. Without an Envoy nothing is acknowledged.
pub fn accepts_tunnels(served: &ResourceSet, ack_states: &AckStates) -> bool {
    let listeners = served.of(ResourceType::Listener);
    let mut names = listeners.iter().map(|listener| &listener.name).filter(|name| is_mesh_name(name)).peekable();
    let has = |kind, name: &str| ack_states.acked_version(kind, name).is_some();
    names.peek().is_some()
        && names.all(|name| has(ResourceType::Listener, name) && has(ResourceType::Route, name))
        && has(ResourceType::Secret, CERTIFICATE)
        && has(ResourceType::Secret, ROOTS)
}

/// Whether Envoy has acknowledged just these roots, a text in PEM.
pub fn accepts_roots(pem: &str, ack_states: &AckStates) -> bool {
    ack_states.of(ResourceType::Secret, ROOTS, &roots(pem).version) == AckState::Acked
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Layer, Resource, TypedResources, ack_states::StreamAckStates};

    const MESH: &str = "mesh_10.0.0.2";
    const NEEDED: [(ResourceType, &str); 4] = [
        (ResourceType::Listener, MESH),
        (ResourceType::Route, MESH),
        (ResourceType::Secret, CERTIFICATE),
        (ResourceType::Secret, ROOTS),
    ];

    fn served() -> ResourceSet {
        let kinds = [ResourceType::Listener, ResourceType::Route, ResourceType::Secret];
        kinds.into_iter().fold(ResourceSet::default(), |set, kind| {
            let of_kind = NEEDED.iter().filter(|(of, _)| *of == kind);
            let layer: Layer = of_kind.map(|(_, name)| Resource::new(*name, vec![1])).collect();
            set.with(kind, TypedResources::new([layer]))
        })
    }

    fn acks(envoy: &StreamAckStates, served: &ResourceSet, (kind, name): (ResourceType, &str)) {
        let resource = served.of(kind).get(name).unwrap();
        envoy.acked(kind, [(Arc::clone(&resource.name), Some(Arc::clone(&resource.version)))]);
    }

    #[test]
    fn all_of_it_takes_an_envoy_that_has_accepted_every_part() {
        let (served, ack_states) = (served(), AckStates::default());
        assert!(!accepts_tunnels(&served, &ack_states), "there is no Envoy");
        let envoy = ack_states.open();
        for part in NEEDED {
            assert!(!accepts_tunnels(&served, &ack_states), "without {part:?}");
            acks(&envoy, &served, part);
        }
        assert!(accepts_tunnels(&served, &ack_states));
        drop(envoy);
        assert!(!accepts_tunnels(&served, &ack_states), "Envoy has gone");
    }

    #[test]
    fn a_vm_without_a_listener_for_tunnels_accepts_none() {
        let ack_states = AckStates::default();
        let envoy = ack_states.open();
        let whole = served();
        NEEDED.into_iter().for_each(|part| acks(&envoy, &whole, part));
        let others: Layer = [Resource::new("tcp_169.254.255.2_80", vec![1])].into_iter().collect();
        let without = whole.with(ResourceType::Listener, TypedResources::new([others]));
        assert!(!accepts_tunnels(&without, &ack_states));
    }

    #[test]
    fn roots_count_once_just_they_are_accepted() {
        let ack_states = AckStates::default();
        assert!(!accepts_roots("old", &ack_states));
        let envoy = ack_states.open();
        let old = roots("old");
        envoy.acked(ResourceType::Secret, [(old.name, Some(old.version))]);
        assert!(accepts_roots("old", &ack_states));
        assert!(!accepts_roots("old and new", &ack_states));
    }
}
