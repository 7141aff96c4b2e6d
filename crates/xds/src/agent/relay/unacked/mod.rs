//! Resources that the local Envoy has not accepted, or not accepted yet.
//!
//! Only the exceptions from the wanted resources are kept, so in steady state there is nothing to keep and nothing to
//! search. When another stream opens, the resources that Envoy had accepted are asked about again: it may be another
//! Envoy, or its port may be taken now.

mod changes;
mod resource;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::changes::Nack;
use self::resource::UnackedResource;
pub(super) use self::{changes::Changes, resource::Status};
use super::{LocalEnvoy, RelaySettings};
use crate::{Resource, ResourceMap, ResourceType, order::JUDGED};

/// By type and name. A resource without an entry was accepted in the wanted version.
#[derive(Clone, Debug, Default)]
pub(super) struct Unacked([BTreeMap<Arc<str>, UnackedResource>; ResourceType::ALL.len()]);

impl Unacked {
    /// Resources that no proxy has answered for, and that are presumed good.
    pub(super) fn presuming<'a>(resources: impl Iterator<Item = (ResourceType, &'a Arc<Resource>)>) -> Self {
        let mut unacked = Self::default();
        for (kind, resource) in resources {
            let presumed = UnackedResource::presumed(&resource.version, false);
            unacked.0[kind.index()].insert(Arc::clone(&resource.name), presumed);
        }
        unacked
    }

    /// A proxy's stream opened or ended, so it is unknown what the proxy has that is there now. Rejected resources are
    /// tried again at once. The accepted ones among the `wanted` are presumed good until they are rejected. Returns the
    /// types of which more is to be served.
    pub(super) fn restart<'a>(
        &mut self,
        wanted: impl Iterator<Item = (ResourceType, &'a Arc<Resource>)>,
        patience: Duration,
        now: Instant,
    ) -> Vec<ResourceType> {
        for (kind, resource) in wanted {
            let presumed = || UnackedResource::presumed(&resource.version, true);
            self.0[kind.index()].entry(Arc::clone(&resource.name)).or_insert_with(presumed);
        }
        let mut changed = Vec::new();
        for kind in JUDGED {
            for unacked in self.0[kind.index()].values_mut().filter(|unacked| unacked.is_nacked()) {
                unacked.retry(now + patience);
                unacked.nack.as_mut().expect("what is rejected has a NACK").attempts = 0;
                changed.push(kind);
            }
        }
        changed.dedup();
        changed
    }

    /// Tries rejected resources again whose time has come, one of each type at a time: when a proxy rejects many
    /// because of one, the others are accepted this way. Returns the types of which more is to be served.
    pub(super) fn retry_due(&mut self, patience: Duration, now: Instant) -> Vec<ResourceType> {
        let mut changed = Vec::new();
        for kind in JUDGED {
            let resources = &mut self.0[kind.index()];
            let unanswered = |one: &&mut UnackedResource| one.is_retried() && one.due().is_some_and(|due| due <= now);
            resources.values_mut().filter(unanswered).for_each(|one| one.status = Status::Presumed);
            if resources.values().any(UnackedResource::is_retried) {
                continue;
            }
            let nacked = resources.values_mut().filter(|one| one.is_nacked());
            let next = nacked.filter_map(|one| Some((one.due()?, one))).min_by_key(|(due, _)| *due);
            if let Some((_, one)) = next.filter(|(due, _)| *due <= now) {
                one.retry(now + patience);
                changed.push(kind);
            }
        }
        changed
    }

    /// When [`Unacked::retry_due`] has to be called next.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let of_type = |resources: &BTreeMap<Arc<str>, UnackedResource>| {
            let retried = resources.values().filter(|one| one.is_retried()).filter_map(UnackedResource::due).min();
            let nacked = || resources.values().filter(|one| one.is_nacked());
            retried.or_else(|| nacked().filter_map(UnackedResource::due).min())
        };
        self.0.iter().filter_map(of_type).min()
    }

    /// A resource was received. Receiving the same version again changes nothing.
    pub(super) fn replaced(&mut self, kind: ResourceType, before: Option<&Arc<Resource>>, resource: &Resource) {
        if before.is_some_and(|before| before.version == resource.version) {
            return;
        }
        let resources = &mut self.0[kind.index()];
        let last_acked = match resources.remove(&resource.name) {
            Some(unacked) if unacked.acked_before && !unacked.is_nacked() => before.cloned(),
            Some(unacked) => unacked.last_acked,
            None => before.cloned(),
        };
        resources.insert(Arc::clone(&resource.name), UnackedResource::pending(&resource.version, last_acked));
    }

    /// A resource was removed.
    pub(super) fn removed(&mut self, kind: ResourceType, name: &str) {
        self.0[kind.index()].remove(name);
    }

    /// Presumes a resource good, because there is no answer.
    pub(super) fn presume(&mut self, kind: ResourceType, name: &str) {
        if let Some(unacked) = self.0[kind.index()].get_mut(name) {
            unacked.status = Status::Presumed;
        }
    }

    /// Status of a resource; `None` when it is accepted.
    pub(super) fn status(&self, kind: ResourceType, name: &str) -> Option<&Status> {
        self.0[kind.index()].get(name).map(|unacked| &unacked.status)
    }

    /// Status of one version of a resource; `None` also when another version has replaced it.
    pub(super) fn status_of(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Status> {
        self.0[kind.index()].get(name).filter(|unacked| *unacked.version == *version).map(|unacked| &unacked.status)
    }

    /// Whether a resource was rejected and has not been accepted since.
    pub(super) fn has_nack(&self, kind: ResourceType, name: &str) -> bool {
        self.0[kind.index()].get(name).is_some_and(|unacked| unacked.nack.is_some())
    }

    /// Whether [`Unacked::has_nack`] for any resource of the type.
    pub(super) fn has_nacks(&self, kind: ResourceType) -> bool {
        self.0[kind.index()].values().any(|unacked| unacked.nack.is_some())
    }

    /// Resources that were rejected and have not been accepted since, including those that are being tried again.
    pub(super) fn nacks(&self) -> impl Iterator<Item = Nack> {
        let of_type = |kind: ResourceType| self.0[kind.index()].iter().map(move |(name, one)| (kind, name, one));
        JUDGED.into_iter().flat_map(of_type).filter_map(|(kind, name, unacked)| unacked.nack_of(kind, name))
    }

    /// Resources whose status is `Nacked` now.
    pub(super) fn nacked(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>)> {
        let of_type = |kind: ResourceType| self.0[kind.index()].iter().map(move |(name, one)| (kind, name, one));
        JUDGED.into_iter().flat_map(of_type).filter(|(.., one)| one.is_nacked()).map(|(kind, name, _)| (kind, name))
    }

    /// Asks Envoy about all resources that are not settled, and about the last accepted versions that stand in for
    /// rejected ones. Resources of a type that is not `served`, because it is not known yet, are not asked about.
    pub(super) fn apply_answers(
        &mut self,
        served: impl Fn(ResourceType) -> bool,
        envoy: &impl LocalEnvoy,
        settings: &RelaySettings,
        now: Instant,
        changes: &mut Changes,
    ) {
        for kind in JUDGED {
            let envoy = Some(envoy).filter(|envoy| served(kind) && envoy.subscribes(kind));
            self.0[kind.index()].retain(|name, unacked| {
                let retained = unacked.apply_answer(kind, name, envoy, settings, now, changes);
                if !retained && unacked.nack.is_some() {
                    changes.recovered.push((kind, Arc::clone(name)));
                }
                retained
            });
        }
    }

    /// The resources that are to be served: rejected ones are replaced by their last accepted version, or left out.
    pub(super) fn without_nacked(&self, kind: ResourceType, wanted: &Arc<ResourceMap>) -> Arc<ResourceMap> {
        self.without(kind, wanted, UnackedResource::is_nacked)
    }

    /// The resources that are to be stored. A rejected resource without an accepted version is stored, too: the next
    /// Envoy may accept it, and the pilot may be away then.
    pub(super) fn without_unsettled(&self, kind: ResourceType, wanted: &Arc<ResourceMap>) -> Arc<ResourceMap> {
        self.without(kind, wanted, |unacked| {
            unacked.status.is_unsettled() && (unacked.nack.is_none() || unacked.last_acked.is_some())
        })
    }

    /// The wanted resources, where those selected by `set_aside` are replaced by their last accepted version, or left
    /// out if there is none. Returns the same map when nothing changes.
    fn without(
        &self,
        kind: ResourceType,
        wanted: &Arc<ResourceMap>,
        set_aside: impl Fn(&UnackedResource) -> bool,
    ) -> Arc<ResourceMap> {
        let mut map = Arc::clone(wanted);
        for (name, unacked) in self.0[kind.index()].iter().filter(|(_, unacked)| set_aside(unacked)) {
            let map = Arc::make_mut(&mut map);
            match &unacked.last_acked {
                Some(acked) => map.insert(Arc::clone(name), Arc::clone(acked)),
                None => map.remove(name),
            };
        }
        map
    }
}
