//! The local layer: resources that only this VM makes, on top of those that were received ([`crate::layers`]).
//!
//! Envoy answers for them as for others, so a rejected one is withdrawn and tried again. They are not stored: they
//! follow from this VM's settings, or their maker keeps them. A received resource that one of them hides never reaches
//! Envoy, also while the local one is rejected.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::unacked::Unacked;
use crate::{Capture, Layer, Resource, ResourceMap, ResourceType, Secrets, TypedResources, envoy};

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Local {
    layers: BTreeMap<ResourceType, Layer>,
    /// Those of its resources that Envoy has not accepted.
    pub(super) unacked: Unacked,
}

impl Local {
    /// Makes the resources that follow from settings: the capture listener, on this VM's port and with its keepalive.
    pub(super) fn new(capture: Option<Capture>) -> Self {
        let listeners = capture.map(|capture| [envoy::capture_listener(capture)].into_iter().collect());
        let layers: BTreeMap<_, _> = listeners.map(|layer| (ResourceType::Listener, layer)).into_iter().collect();
        let unacked = Unacked::presuming(resources(&layers));
        Self { layers, unacked }
    }

    /// Sets the secrets. Returns whether they are others than before.
    pub(super) fn hold(&mut self, secrets: &Secrets) -> bool {
        let new: Layer = secrets.resources().into_iter().collect();
        let old = self.layers.get(&ResourceType::Secret).cloned().unwrap_or_default();
        if new == old {
            return false;
        }
        for (name, resource) in new.resources().iter() {
            self.unacked.replaced(ResourceType::Secret, old.resources().get(name), resource);
        }
        self.layers.insert(ResourceType::Secret, new);
        true
    }

    /// Whether this VM alone makes the type, and has made it. A secret that Envoy asks for before is sent once there is
    /// one: until then nobody knows that it does not exist.
    pub(super) fn is_all_of(&self, kind: ResourceType) -> bool {
        !kind.is_of_pilots() && self.layers.contains_key(&kind)
    }

    /// A resource by name.
    pub(super) fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.layers.get(&kind)?.resources().get(name)
    }

    /// Whether there is a resource of this name, so that a received one is not served.
    pub(super) fn hides(&self, kind: ResourceType, name: &str) -> bool {
        self.get(kind, name).is_some()
    }

    /// See [`Unacked::restart`].
    pub(super) fn restart(&mut self, patience: Duration, now: Instant) -> Vec<ResourceType> {
        self.unacked.restart(resources(&self.layers), patience, now)
    }

    /// What is served of a type of which `received` is to be served.
    pub(super) fn on(&self, kind: ResourceType, mut received: Arc<ResourceMap>) -> TypedResources {
        let Some(layer) = self.layers.get(&kind) else { return TypedResources::new([Layer::new(received)]) };
        let offered = self.unacked.without_nacked(kind, layer.resources());
        if Arc::ptr_eq(&offered, layer.resources()) {
            return TypedResources::new([Layer::new(received), layer.clone()]);
        }
        for withdrawn in layer.resources().keys().filter(|name| !offered.contains_key(*name)) {
            if received.contains_key(withdrawn) {
                Arc::make_mut(&mut received).remove(withdrawn);
            }
        }
        TypedResources::new([received, offered].map(Layer::new))
    }
}

fn resources(layers: &BTreeMap<ResourceType, Layer>) -> impl Iterator<Item = (ResourceType, &Arc<Resource>)> {
    layers.iter().flat_map(|(kind, layer)| layer.resources().values().map(|resource| (*kind, resource)))
}
