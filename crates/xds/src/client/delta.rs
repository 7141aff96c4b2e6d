//! The state of a delta ADS client: what it holds of each type.

use std::{net::Ipv4Addr, sync::Arc};

use boshy_mesh::Hostname;

use super::{Malformed, Request, Response};
use crate::{Resource, ResourceMap, ResourceType, envoy::version_as_served, names};

/// The first field of every Envoy resource that is served here is its name (`cluster_name` in a `ClusterLoadAssignment`).
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// What a response changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The type.
    pub kind: ResourceType,
    /// Nonce to answer with.
    pub nonce: String,
    /// The server's version of the whole, for people.
    pub version: String,
    /// Every resource of the response, changed or not.
    pub resources: Vec<Arc<Resource>>,
    /// What was held in their places, in the same order.
    pub before: Vec<Option<Arc<Resource>>>,
    /// For [`ResourceType::Names`], what `resources` mean, in the same order.
    pub names: Vec<(Hostname, Ipv4Addr)>,
    /// Names that are no more, held before or not.
    pub removed: Vec<Arc<str>>,
}

/// All resources received and not removed since, by type. Cloning shares them.
///
/// A type is known once all of it was received, or when it was known at the start: before that, what is not held may well
/// exist. It stays known when streams end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaClient {
    held: [Arc<ResourceMap>; ResourceType::ALL.len()],
    known: [bool; ResourceType::ALL.len()],
}

impl DeltaClient {
    /// A client that knows types already.
    pub fn knowing(held: impl Fn(ResourceType) -> Option<Arc<ResourceMap>>) -> Self {
        let held = ResourceType::ALL.map(held);
        Self { known: held.each_ref().map(Option::is_some), held: held.map(Option::unwrap_or_default) }
    }

    /// Whether what is not held of a type does not exist.
    pub fn is_known(&self, kind: ResourceType) -> bool {
        self.known[kind.index()]
    }

    /// Resources of a type.
    pub fn held(&self, kind: ResourceType) -> &Arc<ResourceMap> {
        &self.held[kind.index()]
    }

    /// Changes one resource, if it is held.
    pub(crate) fn replace(&mut self, kind: ResourceType, name: &str, change: impl Fn(&Resource) -> Resource) {
        if let Some(changed) = self.held(kind).get(name).map(|resource| change(resource)) {
            let held = Arc::make_mut(&mut self.held[kind.index()]);
            held.insert(Arc::clone(&changed.name), Arc::new(changed));
        }
    }

    /// Makes all resources of a type known.
    pub(crate) fn know(&mut self, kind: ResourceType, resources: Arc<ResourceMap>) {
        self.held[kind.index()] = resources;
        self.known[kind.index()] = true;
    }

    /// The first messages of a stream, one for each type in push order. A resource that is `in_doubt` is asked for again.
    pub fn subscribe(&self, in_doubt: impl Fn(ResourceType, &str) -> bool) -> Vec<Request> {
        let version = |kind, resource: &Resource| {
            if in_doubt(kind, &resource.name) { Arc::from("") } else { version_as_served(&resource.version) }
        };
        ResourceType::ALL
            .into_iter()
            .map(|kind| Request::Subscribe {
                kind,
                held: self.held(kind).values().map(|held| (Arc::clone(&held.name), version(kind, held))).collect(),
                mark: !self.is_known(kind),
            })
            .collect()
    }

    /// Takes a response as a whole.
    ///
    /// # Errors
    /// When a body is no message of its type or carries another name than its resource; nothing is taken then.
    pub fn on_response(&mut self, response: Response) -> Result<Update, Malformed> {
        let Response { kind, nonce, version, resources, removed, complete } = response;
        let refuse = |reason| Malformed { type_url: kind.url().to_owned(), nonce: nonce.clone(), reason };
        let mut names = Vec::new();
        for resource in &resources {
            match kind {
                ResourceType::Names => names.push(name_in(resource).map_err(refuse)?),
                _ => check_name(resource).map_err(refuse)?,
            }
        }
        let resources: Vec<Arc<Resource>> = resources.into_iter().map(Arc::new).collect();
        self.known[kind.index()] |= complete;
        let held = Arc::make_mut(&mut self.held[kind.index()]);
        for name in &removed {
            held.remove(name);
        }
        let before =
            resources.iter().map(|resource| held.insert(Arc::clone(&resource.name), Arc::clone(resource))).collect();
        Ok(Update { kind, nonce, version, resources, before, names, removed })
    }
}

fn name_in(resource: &Resource) -> Result<(Hostname, Ipv4Addr), String> {
    let (host, vip) =
        names::decode(&resource.body).map_err(|error| format!("resource {:?}: {error}", resource.name))?;
    same_name(resource, host.as_str()).map(|()| (host, vip))
}

fn check_name(resource: &Resource) -> Result<(), String> {
    let named: Named = prost::Message::decode(resource.body.clone())
        .map_err(|error| format!("resource {:?} is no message of its type: {error}", resource.name))?;
    same_name(resource, &named.name)
}

fn same_name(resource: &Resource, found: &str) -> Result<(), String> {
    if *found == *resource.name {
        Ok(())
    } else {
        Err(format!("resource {:?} carries the name {found:?}", resource.name))
    }
}

#[cfg(test)]
#[path = "delta_tests.rs"]
mod tests;
