//! The client's end of the delta protocol: the resources that it holds of each type.
//!
//! ```text
//!   pilot --DeltaDiscoveryResponse--> ResponseFromPilot --> DeltaClient --> Update
//!   pilot <--DeltaDiscoveryRequest--- RequestToPilot <--- the owner's answer
//! ```
//!
//! Held resources outlive every stream: the end of a stream, an error and a reconnect remove nothing. A new stream
//! reports the held resources, so that an unchanged client is sent nothing.
//!
//! Not promised: an order between types other than the server's; TTLs of resources (a resource stays until it is
//! removed by name).

#[cfg(test)]
pub(crate) mod samples;
mod wire;

use std::sync::Arc;

pub use self::wire::{MARK, Malformed, RequestToPilot, ResponseFromPilot, UndecodableResponse};
pub use crate::digest::ASK;
use crate::{Digest, Resource, ResourceMap, ResourceType, names::Name};

/// The first field of every Envoy resource served here is its name (`cluster_name` in a `ClusterLoadAssignment`).
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// Changes made by a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The type.
    pub kind: ResourceType,
    /// Nonce to answer with.
    pub nonce: String,
    /// The server's version of the whole type, for display.
    pub version: String,
    /// Every resource of the response, changed or not.
    pub resources: Vec<Arc<Resource>>,
    /// The resources that these replaced, in the same order.
    pub before: Vec<Option<Arc<Resource>>>,
    /// For [`ResourceType::Names`], the content of `resources`, in the same order.
    pub names: Vec<Name>,
    /// Names that are removed, whether they were held or not.
    pub removed: Vec<Arc<str>>,
}

/// All resources received and not removed since, by type. Clones share them.
///
/// A type is known once all of it was received, or if it was known at the start. Before that, a resource that is not
/// held may still exist. A type stays known when streams end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaClient {
    held: [Arc<ResourceMap>; ResourceType::ALL.len()],
    known: [bool; ResourceType::ALL.len()],
}

impl DeltaClient {
    /// A client that already knows some types.
    pub fn knowing(held: impl Fn(ResourceType) -> Option<Arc<ResourceMap>>) -> Self {
        let held = ResourceType::ALL.map(held);
        Self { known: held.each_ref().map(Option::is_some), held: held.map(Option::unwrap_or_default) }
    }

    /// Whether a resource of the type that is not held is known not to exist.
    pub fn is_known(&self, kind: ResourceType) -> bool {
        self.known[kind.index()]
    }

    /// Resources of a type.
    pub fn held(&self, kind: ResourceType) -> &Arc<ResourceMap> {
        &self.held[kind.index()]
    }

    /// The first messages of a stream, one for each type of pilots in push order. Resources that are `in_doubt` are
    /// requested again. A pilot that reads `digests` is said one where all of a type is held.
    pub fn subscribe(&self, digests: bool, in_doubt: impl Fn(ResourceType, &str) -> bool) -> Vec<RequestToPilot> {
        let is_certain = |kind| self.is_known(kind) && !self.held(kind).keys().any(|name| in_doubt(kind, name));
        let subscription = |kind| {
            if digests && is_certain(kind) {
                return RequestToPilot::Claim { kind, digest: Digest::of(self.held(kind)) };
            }
            RequestToPilot::Subscribe { kind, held: self.versions(kind, &in_doubt), mark: !self.is_known(kind) }
        };
        ResourceType::OF_PILOTS.into_iter().map(subscription).collect()
    }

    /// The answer to a pilot that asks for names and versions of a type.
    pub fn tell(
        &self,
        kind: ResourceType,
        nonce: String,
        in_doubt: impl Fn(ResourceType, &str) -> bool,
    ) -> RequestToPilot {
        RequestToPilot::Tell { kind, nonce, held: self.versions(kind, &in_doubt) }
    }

    fn versions(
        &self,
        kind: ResourceType,
        in_doubt: &impl Fn(ResourceType, &str) -> bool,
    ) -> Vec<(Arc<str>, Arc<str>)> {
        let version = |resource: &Resource| {
            if in_doubt(kind, &resource.name) { Arc::from("") } else { Arc::clone(&resource.version) }
        };
        self.held(kind).values().map(|held| (Arc::clone(&held.name), version(held))).collect()
    }

    /// Applies a response as a whole.
    ///
    /// # Errors
    /// When no pilot serves the type, or a body is not a message of its type or contains another name than its resource.
    /// Nothing is applied then.
    pub fn on_response(&mut self, response: ResponseFromPilot) -> Result<Update, Malformed> {
        let ResponseFromPilot { kind, nonce, version, resources, removed, complete } = response;
        let refuse = |reason| Malformed { type_url: kind.url().to_owned(), nonce: nonce.clone(), reason };
        if !kind.is_of_pilots() {
            return Err(refuse(format!("a {} is made on the VM alone", kind.noun())));
        }
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

fn name_in(resource: &Resource) -> Result<Name, String> {
    let name = Name::decode(&resource.body).map_err(|error| format!("resource {:?}: {error}", resource.name))?;
    same_name(resource, name.host.as_str()).map(|()| name)
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
mod tests;
