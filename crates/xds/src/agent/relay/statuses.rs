//! Status of the received resources, as the pilot is told of it.
//!
//! A resource that a local one hides has the status of that one. So the pilot knows when Envoy rejects the capture
//! listener, although Envoy never got the pilot's.

use std::sync::Arc;

use super::{
    local::Local,
    unacked::{Status, Unacked},
};
use crate::{ResourceType, session::client::DeltaClient};

/// See the module's documentation.
pub(super) struct Statuses<'r> {
    pub(super) received: &'r DeltaClient,
    pub(super) unacked: &'r mut Unacked,
    pub(super) local: &'r mut Local,
}

impl Statuses<'_> {
    /// Status of a resource; `None` when it is accepted.
    pub(super) fn status(&self, kind: ResourceType, name: &str) -> Option<&Status> {
        self.of(kind, name).status(kind, name)
    }

    /// Status of one version of a resource; `None` also when another version has replaced it. All versions of a hidden
    /// resource have the same status.
    pub(super) fn status_of(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Status> {
        let hidden = self.local.hides(kind, name);
        if hidden { self.status(kind, name) } else { self.unacked.status_of(kind, name, version) }
    }

    /// Resources whose status is `Nacked`.
    pub(super) fn nacked(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>)> {
        let local = self.local.unacked.nacked();
        self.unacked.nacked().chain(local.filter(|(kind, name)| self.received.held(*kind).contains_key(*name)))
    }

    /// Presumes a resource good, because there is no answer.
    pub(super) fn presume(&mut self, kind: ResourceType, name: &str) {
        let hidden = self.local.hides(kind, name);
        let unacked = if hidden { &mut self.local.unacked } else { &mut *self.unacked };
        unacked.presume(kind, name);
    }

    /// What Envoy has not accepted, of the layer that has the resource.
    fn of(&self, kind: ResourceType, name: &str) -> &Unacked {
        if self.local.hides(kind, name) { &self.local.unacked } else { self.unacked }
    }
}
