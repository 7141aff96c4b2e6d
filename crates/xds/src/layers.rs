//! Resources of a proxy as a short list of layers.
//!
//! | layer, lowest first | resources | made | today |
//! |---|---|---|---|
//! | scope | of the proxies of one [`Scope`](crate::Scope): names, outbound clusters, endpoints and listeners | once per generation and scope | pilot |
//! | workload | of one VM: its inbound clusters, routes and listeners | once per VM, scope and change | pilot |
//! | local | that only the VM itself can make: its capture listener and its secrets | by the agent | agent |
//!
//! A resource hides those of the same name in the layers before its own. The pilot serves the first two. To an agent
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
//! layers. The lowest layer is the same for many proxies. What leads to it from another one is found and encoded once
//! for all of them ([`Layer::shared`], `crate::way`).

use std::sync::Arc;

use crate::{
    Digest, Resource, ResourceMap, ResourceType,
    resource::{version_of, version_of_map},
    way::{SHARED_MESSAGE, Way, Ways, compare},
};

/// Resources of one type that are made together and shared by all proxies that have them. Immutable; clones share them.
#[derive(Clone, Debug)]
pub struct Layer {
    version: Arc<str>,
    resources: Arc<ResourceMap>,
    /// Of a layer that many streams have.
    ways: Option<Arc<Ways>>,
}

/// The ways to a layer follow from its resources.
impl PartialEq for Layer {
    fn eq(&self, other: &Self) -> bool {
        (&self.version, &self.resources) == (&other.version, &other.resources)
    }
}

impl Eq for Layer {}

impl Layer {
    /// Makes a layer of resources by name. Computes its version, which costs as much as the number of resources.
    pub fn new(resources: impl Into<Arc<ResourceMap>>) -> Self {
        let resources = resources.into();
        Self { version: version_of_map(&resources), resources, ways: None }
    }

    /// The same layer, as the lowest one of many proxies. What leads to it is found and encoded once for all of them.
    #[must_use]
    pub fn shared(self, kind: ResourceType) -> Self {
        self.shared_in_steps(kind, SHARED_MESSAGE)
    }

    /// The same in responses of this many octets at most.
    pub(crate) fn shared_in_steps(self, kind: ResourceType, largest: usize) -> Self {
        Self { ways: Some(Arc::new(Ways::new(kind, largest))), ..self }
    }

    /// The resources by name.
    pub fn resources(&self) -> &Arc<ResourceMap> {
        &self.resources
    }

    fn digest(&self) -> Digest {
        let of = || Digest::of(&self.resources);
        self.ways.as_ref().map_or_else(of, |ways| *ways.digest.get_or_init(of))
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
    /// What the version begins with.
    label: Arc<str>,
    version: Arc<str>,
    layers: Arc<[Layer]>,
}

impl TypedResources {
    /// Combines layers, the lowest first. Costs as much as their number, however many resources they have.
    pub fn new(layers: impl Into<Arc<[Layer]>>) -> Self {
        Self::of("".into(), layers.into())
    }

    fn of(label: Arc<str>, layers: Arc<[Layer]>) -> Self {
        let version = version_of(layers.iter().map(|layer| layer.version.as_bytes()));
        let version = if label.is_empty() { version } else { format!("{label}{version}").into() };
        Self { label, version, layers }
    }

    /// The same with a version that begins with this.
    #[must_use]
    pub(crate) fn labelled(&self, label: &str) -> Self {
        Self::of(label.into(), Arc::clone(&self.layers))
    }

    /// The same layers with one more on top.
    #[must_use]
    pub fn with(&self, top: Layer) -> Self {
        Self::of(Arc::clone(&self.label), self.layers.iter().cloned().chain([top]).collect())
    }

    /// All layers as one.
    pub(crate) fn flattened(&self) -> Layer {
        let named = |resource: &Arc<Resource>| (Arc::clone(&resource.name), Arc::clone(resource));
        Layer::new(self.iter().map(named).collect::<ResourceMap>())
    }

    #[cfg(test)]
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Whether the type is known; see above.
    pub fn is_known(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Version of all resources: equal for equal layers and labels.
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
        self.changed_from_place(0, old)
    }

    /// The same without the lowest layer.
    pub(crate) fn changed_above<'a>(&'a self, old: &'a Self) -> Vec<&'a Arc<str>> {
        self.changed_from_place(1, old)
    }

    fn changed_from_place<'a>(&'a self, lowest: usize, old: &'a Self) -> Vec<&'a Arc<str>> {
        let mut changed = Vec::new();
        for place in (lowest..self.layers.len().max(old.layers.len())).rev() {
            match (self.layers.get(place), old.layers.get(place)) {
                (Some(new), Some(old)) if new.is(old) => {}
                (new, old) => compare(resources_of(old), resources_of(new), |old, new| {
                    changed.extend(new.or(old).map(|resource| &resource.name));
                }),
            }
        }
        changed
    }

    /// What an agent says that has exactly these resources. Costs as much as the layers above the lowest one have, where
    /// that one is shared.
    pub(crate) fn digest(&self) -> Digest {
        let Some((lowest, above)) = self.layers.split_first() else { return Digest::default() };
        above.iter().enumerate().fold(lowest.digest(), |sum, (place, layer)| {
            let below = &self.layers[..=place];
            layer.resources.values().fold(sum, |sum, resource| {
                let hidden = below.iter().rev().find_map(|layer| layer.resources.get(&resource.name));
                let without = hidden.map_or(sum, |hidden| sum.without(&hidden.name, &hidden.version));
                without.with(&resource.name, &resource.version)
            })
        })
    }

    /// The way from another state's lowest layer to this one's. `None` when this one's is not shared.
    pub(crate) fn way_from(&self, old: &Self) -> Option<Arc<Way>> {
        let layer = self.layers.first()?;
        let ways = layer.ways.as_ref()?;
        Some(match old.layers.first() {
            Some(old) if layer.is(old) => Arc::default(),
            Some(old) => ways.from(&old.version, &old.resources, &layer.resources),
            None => ways.from(&Arc::default(), resources_of(None), &layer.resources),
        })
    }

    /// The same layers, but for the lowest one, which is another state's.
    pub(crate) fn on_lowest_of(&self, other: &Self) -> Self {
        Self::new(other.layers.iter().take(1).chain(self.layers.iter().skip(1)).cloned().collect::<Arc<[_]>>())
    }

    /// A resource of the lowest layer, hidden or not.
    pub(crate) fn lowest(&self, name: &str) -> Option<&Arc<Resource>> {
        self.layers.first()?.resources.get(name)
    }

    /// Names in the layers above the lowest one.
    pub(crate) fn names_above(&self) -> impl Iterator<Item = &Arc<str>> {
        self.layers.iter().skip(1).flat_map(|layer| layer.resources.keys())
    }

    /// Number of resources, those counted that others hide.
    pub(crate) fn len_with_hidden(&self) -> usize {
        self.layers.iter().map(|layer| layer.resources.len()).sum()
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

fn resources_of(layer: Option<&Layer>) -> &ResourceMap {
    const NONE: &ResourceMap = &ResourceMap::new();
    layer.map_or(NONE, |layer| &layer.resources)
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
            prop_assert_eq!(new.digest(), Digest::of(new.flattened().resources()));
        }
    }
}
