//! Shared by the tests of both flavours.

use std::{collections::BTreeMap, sync::Arc};

use prost::Message;

use super::{Action, ResponseToProxy};
use crate::{
    Layer, Resource, ResourceMap, ResourceSet, ResourceType, TypedResources,
    envoy::{ClusterEndpoints, EdsServiceName},
};

/// A resource with this name and content. Read as a cluster, `out.NAME` or `NAME` has the endpoints `NAME`. The last
/// octet is the version, in a field that no cluster has.
pub(crate) fn resource(name: &str, version: u8) -> Arc<Resource> {
    let service_name = name.strip_prefix("out.").unwrap_or(name).to_owned();
    let cluster = ClusterEndpoints { config: Some(EdsServiceName { service_name }) };
    Arc::new(Resource::new(name, [&cluster.encode_to_vec()[..], &[0xf8, 0x7f, version]].concat()))
}

/// A set in which every type is known.
pub(crate) fn set(entries: &[(ResourceType, &str, u8)]) -> ResourceSet {
    let mut maps: BTreeMap<ResourceType, ResourceMap> = ResourceType::ALL.map(|kind| (kind, ResourceMap::new())).into();
    for (kind, name, version) in entries {
        let resource = resource(name, *version);
        maps.entry(*kind).or_default().insert(resource.name.clone(), resource);
    }
    maps.into_iter()
        .fold(ResourceSet::default(), |set, (kind, map)| set.with(kind, TypedResources::new([Layer::new(map)])))
}

/// A set in which every type is known. Of each type, streams share the lowest layer, in steps of about two resources; a
/// node's own layer is above it.
pub(crate) fn layered(shared: &[(ResourceType, &str, u8)], own: &[(ResourceType, &str, u8)]) -> ResourceSet {
    let of = |entries: &[(ResourceType, &str, u8)], kind| -> Layer {
        let of_kind = entries.iter().filter(|(other, ..)| *other == kind);
        of_kind.map(|(_, name, version)| Resource::clone(&resource(name, *version))).collect()
    };
    ResourceType::ALL.into_iter().fold(ResourceSet::default(), |set, kind| {
        let lowest = of(shared, kind).shared_in_steps(kind, TWO_RESOURCES);
        set.with(kind, TypedResources::new([lowest, of(own, kind)]))
    })
}

/// Octets of about two resources.
const TWO_RESOURCES: usize = 300;

/// The responses in a list of actions.
pub(crate) fn responses(actions: Vec<Action>) -> Vec<ResponseToProxy> {
    let response = |action| if let Action::Send(response) = action { Some(response) } else { None };
    actions.into_iter().filter_map(response).collect()
}

/// Names in a response; removed names have a minus sign.
pub(crate) fn described(response: &ResponseToProxy) -> Vec<(ResourceType, String)> {
    let sent = response.resources.iter().map(|resource| resource.name.to_string());
    let removed = response.removed.iter().map(|name| format!("-{name}"));
    sent.chain(removed).map(|text| (response.kind, text)).collect()
}
