//! Resources of a proxy as a short list of layers.
//!
//! | layer, lowest first | resources | made | today |
//! |---|---|---|---|
//! | mesh | of every proxy: names, outbound clusters, endpoints and listeners | once per generation | pilot |
//! | scope | of the proxies of one [`Scope`](crate::Scope): what is tunnelled | once per generation and scope | pilot |
//! | workload | of one VM: its inbound clusters, routes and listeners | once per VM, scope and change | pilot |
//! | local | that only the VM itself can make: its capture listener and its secrets | by the agent | agent |
//!
//! A resource hides those of the same name in the layers before its own. The pilot serves the first three. To an agent
//! they arrive as one, because a stream carries names and versions, but no layers. The agent puts its local layer on
//! top of what it received:
//!
//! ```text
//! let received = TypedResources::new([Layer::new(held)]);
//! let served = received.with(local);
//! ```
//!
//! The local layer is made when what it consists of changes, and is kept beside the received resources, not among them.
//! So it is never stored, and the versions that the pilot is told are the pilot's own. A received resource that a local one
//! hides never reaches Envoy. What Envoy answers about the name concerns the local resource, and the pilot gets this
//! answer for its own, so that it knows what a VM lacks. A type that was not received stays unknown: a local layer
//! alone would make it known, and a proxy would then drop everything else of that type. A type that no pilot serves is
//! known once the local layer has it.
//!
//! Layers are shared by reference and compared by pointer first, and the version of each is computed once, when the
//! layer is made. So a layer costs nothing per proxy, and a proxy's resources cost as much as the number of their
//! layers. A difference that is computed once for all proxies between two generations of a layer belongs here, beside
//! [`TypedResources::changed_since`].

use std::{cmp::Ordering, sync::Arc};

use crate::{
    Resource, ResourceMap, ResourceType,
    resource::{version_of, version_of_map},
};

/// Resources of one type that are made together and shared by all proxies that have them. Immutable; clones share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    version: Arc<str>,
    resources: Arc<ResourceMap>,
}

impl Layer {
    /// Makes a layer of resources by name. Computes its version, which costs as much as the number of resources.
    pub fn new(resources: impl Into<Arc<ResourceMap>>) -> Self {
        let resources = resources.into();
        Self { version: version_of_map(&resources), resources }
    }

    /// The resources by name.
    pub fn resources(&self) -> &Arc<ResourceMap> {
        &self.resources
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.resources, &other.resources) || self.version == other.version
    }
}

/// A layer without resources.
impl Default for Layer {
    fn default() -> Self {
        Self::new(ResourceMap::new())
    }
}

impl FromIterator<Resource> for Layer {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let named = |resource: Resource| (Arc::clone(&resource.name), Arc::new(resource));
        Self::new(resources.into_iter().map(named).collect::<ResourceMap>())
    }
}

/// Resources of one type of one proxy: layers, the lowest first. A later layer's resource hides the same name of an
/// earlier one.
///
/// The default value has no layers. It is *not known*, which differs from empty: an empty type is served and removes
/// everything from a proxy, a type that is not known is not served at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedResources {
    version: Arc<str>,
    layers: Arc<[Layer]>,
}

impl TypedResources {
    /// Combines layers, the lowest first. Costs as much as their number, however many resources they have.
    pub fn new(layers: impl Into<Arc<[Layer]>>) -> Self {
        let layers = layers.into();
        Self { version: version_of(layers.iter().map(|layer| layer.version.as_bytes())), layers }
    }

    /// The same layers with one more on top.
    #[must_use]
    pub fn with(&self, top: Layer) -> Self {
        Self::new(self.layers.iter().cloned().chain([top]).collect::<Arc<[_]>>())
    }

    #[cfg(test)]
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Whether the type is known; see above.
    pub fn is_known(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Version of all resources: equal for equal layers.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// A resource by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.layers.iter().rev().find_map(|layer| layer.resources.get(name))
    }

    /// All resources that no other one hides: those of the top layer first, each layer in order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.layers.iter().enumerate().rev().flat_map(|(place, layer)| {
            let above = &self.layers[place + 1..];
            let hidden = |name: &Arc<str>| above.iter().any(|layer| layer.resources.contains_key(name));
            layer.resources.values().filter(move |resource| !hidden(&resource.name))
        })
    }

    /// Names whose resources may differ from an older state, top layer first, ordered within each layer. Costs nothing
    /// for a layer that both have in the same place, and one walk through both for any other.
    pub(crate) fn changed_since<'a>(&'a self, old: &'a Self) -> Vec<&'a Arc<str>> {
        const NONE: &ResourceMap = &ResourceMap::new();
        let mut changed = Vec::new();
        for place in (0..self.layers.len().max(old.layers.len())).rev() {
            match (self.layers.get(place), old.layers.get(place)) {
                (Some(new), Some(old)) if new.is(old) => {}
                (new, old) => {
                    let resources = |layer: Option<&'a Layer>| layer.map_or(NONE, |layer| &*layer.resources);
                    changed_in_layer(resources(new), resources(old), &mut changed);
                }
            }
        }
        changed
    }

    /// Number of resources.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no resources.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(|layer| layer.resources.is_empty())
    }
}

/// All resources for one proxy. Immutable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceSet {
    generation: u64,
    types: [TypedResources; ResourceType::ALL.len()],
}

impl ResourceSet {
    /// Resources of a type.
    pub fn of(&self, kind: ResourceType) -> &TypedResources {
        &self.types[kind.index()]
    }

    /// Generation of its snapshot; 0 without one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sets the generation.
    #[must_use]
    pub(crate) fn of_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// Shares the types that are equal in `previous`, so that they are not held twice.
    #[must_use]
    pub(crate) fn sharing(mut self, previous: &Self) -> Self {
        for (new, old) in self.types.iter_mut().zip(&previous.types) {
            if new.version == old.version {
                new.clone_from(old);
            }
        }
        self
    }

    /// Replaces the resources of one type.
    #[must_use]
    pub fn with(mut self, kind: ResourceType, resources: TypedResources) -> Self {
        self.types[kind.index()] = resources;
        self
    }
}

fn changed_in_layer<'a>(new: &'a ResourceMap, old: &'a ResourceMap, changed: &mut Vec<&'a Arc<str>>) {
    let (mut new, mut old) = (new.values().peekable(), old.values().peekable());
    loop {
        let order = match (new.peek(), old.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(new), Some(old)) if Arc::ptr_eq(new, old) => Ordering::Equal,
            (Some(new), Some(old)) => new.name.cmp(&old.name),
        };
        let (ours, theirs) =
            (if order.is_le() { new.next() } else { None }, if order.is_ge() { old.next() } else { None });
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.version == theirs.version => {}
            (Some(resource), _) | (None, Some(resource)) => changed.push(&resource.name),
            (None, None) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    fn layer(resources: &[(&str, u8)]) -> Layer {
        resources.iter().map(|(name, edition)| Resource::new(*name, vec![*edition])).collect()
    }

    fn seen(resources: &TypedResources) -> Vec<(&str, u8)> {
        resources.iter().map(|resource| (&*resource.name, resource.body[0])).collect()
    }

    #[test]
    fn a_later_layer_hides_the_same_name_of_an_earlier_one() {
        let mesh = TypedResources::new([layer(&[("a", 1), ("b", 1), ("c", 1)])]);
        let all = mesh.with(layer(&[("b", 2), ("c", 2)])).with(layer(&[("c", 3)]));
        assert_eq!(seen(&all), [("c", 3), ("b", 2), ("a", 1)]);
        assert_eq!(NAMES.map(|name| all.get(name).map(|resource| resource.body[0])), [Some(1), Some(2), Some(3), None]);
        assert_eq!((all.len(), all.is_empty()), (3, false));
    }

    #[test]
    fn a_type_without_layers_is_not_known_and_one_with_empty_layers_is_empty() {
        let unknown = TypedResources::default();
        assert!(!unknown.is_known() && unknown.is_empty());
        let empty = TypedResources::new([Layer::default()]);
        assert!(empty.is_known() && empty.is_empty());
        assert_ne!(empty.version(), unknown.version());
    }

    #[test]
    fn layers_are_shared_by_whoever_has_them() {
        let mesh = layer(&[("a", 1)]);
        let both = [layer(&[("b", 1)]), layer(&[("c", 1)])].map(|own| TypedResources::new([mesh.clone()]).with(own));
        for resources in both {
            assert!(Arc::ptr_eq(resources.get("a").unwrap(), mesh.resources().get("a").unwrap()));
        }
    }

    fn layers() -> impl Strategy<Value = TypedResources> {
        let layer = prop::collection::btree_map(prop::sample::select(NAMES.to_vec()), 0..3u8, 0..4)
            .prop_map(|resources| layer(&resources.into_iter().collect::<Vec<_>>()));
        prop::collection::vec(layer, 0..4).prop_map(TypedResources::new)
    }

    proptest! {
        #[test]
        fn what_differs_between_two_states_is_found(old in layers(), new in layers()) {
            let changed = new.changed_since(&old);
            for name in NAMES {
                let differs = new.get(name) != old.get(name);
                prop_assert!(!differs || changed.iter().any(|changed| &***changed == name), "{name}");
            }
            prop_assert!(new.changed_since(&new.clone()).is_empty());
        }
    }
}
