//! Resources as they are held and passed on: encoded once and shared by reference.
//!
//! A resource's version is the hash of its encoding. So equal content has equal versions on every pilot and across
//! restarts, and a proxy that reconnects to another pilot is sent nothing that it has.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Resource types in push order: a name is removed before its listener, and a cluster is added before its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceType {
    /// Istio's name table (NDS): one resource per host name, so that a change costs one name.
    Names,
    /// Envoy clusters (CDS).
    Cluster,
    /// Envoy endpoints (EDS).
    Endpoints,
    /// Envoy listeners (LDS).
    Listener,
    /// Envoy routes (RDS).
    Route,
}

impl ResourceType {
    /// All types in push order.
    pub const ALL: [Self; 5] = [Self::Names, Self::Cluster, Self::Endpoints, Self::Listener, Self::Route];

    /// The type URL on the wire.
    pub const fn url(self) -> &'static str {
        match self {
            Self::Names => "type.googleapis.com/istio.networking.nds.v1.NameTable",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type's noun for use in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Names => "name",
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Listener => "listener",
            Self::Route => "route",
        }
    }

    /// The type of a URL; `None` for one that is not served.
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    /// Position in push order.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// One resource, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Name on the wire.
    pub name: Arc<str>,
    /// Hash of the encoding.
    pub version: Arc<str>,
    /// The message, as in `google.protobuf.Any.value`.
    pub body: Bytes,
}

impl Resource {
    /// Creates a resource from a name and an encoded message.
    pub fn new(name: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let version = version_of([&*body]);
        Self { name: name.into(), version, body }
    }
}

/// Resources of one type by name.
pub type ResourceMap = BTreeMap<Arc<str>, Arc<Resource>>;

/// Resources of one type: those that all proxies share, and those of one node. A name in both layers is the node's.
///
/// The default value is *not known*, which differs from empty: an empty type is served and removes everything from a
/// proxy, a type that is not known is not served at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedResources {
    shared: Arc<ResourceMap>,
    own: Arc<ResourceMap>,
    shared_version: Arc<str>,
    version: Arc<str>,
}

impl TypedResources {
    /// Combines shared resources with a node's own.
    pub fn new(shared: Arc<ResourceMap>, own: Arc<ResourceMap>) -> Self {
        let shared_version = version_of_map(&shared);
        let version = version_of_layers(&shared_version, &own);
        Self { shared, own, shared_version, version }
    }

    /// The same shared resources with a node's own. Costs only as much as the own ones, however many are shared.
    #[must_use]
    pub fn with_own(&self, own: Arc<ResourceMap>) -> Self {
        Self { version: version_of_layers(&self.shared_version, &own), own, ..self.clone() }
    }

    /// Whether the type is known; see above.
    pub fn is_known(&self) -> bool {
        !self.version.is_empty()
    }

    /// Version of all resources: equal for equal resources.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// A resource by name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    /// All resources: the node's own, then the shared ones, each in order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let shared = self.shared.values().filter(|resource| !self.own.contains_key(&resource.name));
        self.own.values().chain(shared)
    }

    /// Names whose resources may differ from an older state, ordered within each layer. Walks both states once and
    /// compares pointers.
    pub(crate) fn changed_since<'a>(&'a self, old: &'a Self) -> Vec<&'a Arc<str>> {
        let mut changed = Vec::new();
        for (new, old) in [(&self.own, &old.own), (&self.shared, &old.shared)] {
            if !Arc::ptr_eq(new, old) {
                changed_in_layer(new, old, &mut changed);
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
        self.shared.is_empty() && self.own.is_empty()
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

/// Version of named resources: the same content under another name gives another version. The octet between the parts
/// occurs in no text.
pub(crate) fn version_of_map(map: &ResourceMap) -> Arc<str> {
    const END: &[u8] = &[0xff];
    version_of(map.iter().flat_map(|(name, resource)| [name.as_bytes(), END, resource.version.as_bytes(), END]))
}

fn version_of_layers(shared: &str, own: &ResourceMap) -> Arc<str> {
    version_of([shared.as_bytes(), version_of_map(own).as_bytes()])
}

fn version_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Arc<str> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(resources: &[(&str, &str)]) -> Arc<str> {
        let resource = |(name, version): &(&str, &str)| {
            let resource = Resource { name: (*name).into(), version: (*version).into(), body: Bytes::new() };
            (resource.name.clone(), Arc::new(resource))
        };
        let map = Arc::new(resources.iter().map(resource).collect());
        TypedResources::new(map, Arc::default()).version().clone()
    }

    #[test]
    fn the_version_of_a_type_tells_names_apart_that_have_the_same_content() {
        assert_ne!(version(&[("a", "1")]), version(&[("b", "1")]));
        assert_ne!(version(&[("a", "1"), ("b", "11")]), version(&[("a", "11"), ("b", "1")]));
        assert_ne!(version(&[("a", "1")]), version(&[("a1", "")]));
        assert_eq!(version(&[("a", "1"), ("b", "1")]), version(&[("b", "1"), ("a", "1")]));
    }
}
