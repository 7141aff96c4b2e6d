//! Resources that the local Envoy has not accepted, or not yet.
//!
//! Kept as the exceptions from what was received, so that in steady state there is nothing to keep and nothing to look
//! through. A version that was accepted once is not judged again: nothing better is known than what worked.

use std::{collections::BTreeMap, sync::Arc};

use super::{Judge, Refusal};
use crate::{Resource, ResourceMap, ResourceType, Verdict, client::DeltaClient};

/// How a resource that is not accepted stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Sent to a proxy that has not answered.
    Open,
    /// Nobody was there to judge it, or nobody did in time: taken as good until somebody says otherwise.
    Passed,
    /// Refused, with the proxy's words.
    Refused(String),
}

impl Standing {
    /// Whether it may not be relied on.
    pub(super) fn is_unsettled(&self) -> bool {
        !matches!(self, Self::Passed)
    }
}

#[derive(Clone, Debug)]
struct Doubt {
    version: Arc<str>,
    standing: Standing,
    /// The last version that was accepted.
    good: Option<Arc<Resource>>,
}

/// By type and name. A resource that is not in here was accepted in the version received.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts([BTreeMap<Arc<str>, Doubt>; ResourceType::ALL.len()]);

impl Doubts {
    /// Resources that nobody has judged.
    pub(super) fn pass_all<'a>(&mut self, kind: ResourceType, resources: impl Iterator<Item = &'a Arc<Resource>>) {
        self.0[kind.index()].extend(resources.map(|resource| {
            let doubt = Doubt { version: Arc::clone(&resource.version), standing: Standing::Passed, good: None };
            (Arc::clone(&resource.name), doubt)
        }));
    }

    /// A resource was received. The same version again changes nothing.
    pub(super) fn replaced(&mut self, kind: ResourceType, before: Option<&Arc<Resource>>, resource: &Resource) {
        let doubts = &mut self.0[kind.index()];
        if before.is_some_and(|before| before.version == resource.version) {
            return;
        }
        let good = match doubts.remove(&resource.name) {
            Some(doubt) => doubt.good,
            None => before.cloned(),
        };
        let doubt = Doubt { version: Arc::clone(&resource.version), standing: Standing::Open, good };
        doubts.insert(Arc::clone(&resource.name), doubt);
    }

    /// A resource was removed.
    pub(super) fn forget(&mut self, kind: ResourceType, name: &str) {
        self.0[kind.index()].remove(name);
    }

    /// Takes a resource as good for lack of an answer.
    pub(super) fn pass(&mut self, kind: ResourceType, name: &str) {
        if let Some(doubt) = self.0[kind.index()].get_mut(name) {
            doubt.standing = Standing::Passed;
        }
    }

    /// How a resource stands; `None` when it is accepted.
    pub(super) fn standing(&self, kind: ResourceType, name: &str) -> Option<&Standing> {
        self.0[kind.index()].get(name).map(|doubt| &doubt.standing)
    }

    /// How one version of it stands; `None` also when another one has taken its place.
    pub(super) fn standing_of(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Standing> {
        self.0[kind.index()].get(name).filter(|doubt| *doubt.version == *version).map(|doubt| &doubt.standing)
    }

    /// Asks the judge about everything that is not settled. Answers what is refused now and was not before.
    /// What is not served, because its type is not known yet, is judged by nobody.
    pub(super) fn judge(&mut self, client: &DeltaClient, judge: &impl Judge) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for kind in super::JUDGED {
            let judged = client.is_known(kind) && judge.judges(kind);
            self.0[kind.index()].retain(|name, doubt| match &doubt.standing {
                Standing::Refused(_) => true,
                Standing::Open | Standing::Passed if !judged => {
                    doubt.standing = Standing::Passed;
                    true
                }
                Standing::Open | Standing::Passed => match judge.verdict(kind, name, &doubt.version) {
                    Verdict::Accepted => false,
                    Verdict::Pending => true,
                    Verdict::Rejected(reason) => {
                        refusals.push(Refusal {
                            kind,
                            name: Arc::clone(name),
                            version: Arc::clone(&doubt.version),
                            reason: reason.clone(),
                        });
                        // It may be the one accepted before, refused by another proxy when the pilot went back to it.
                        doubt.good.take_if(|good| good.version == doubt.version);
                        doubt.standing = Standing::Refused(reason);
                        true
                    }
                },
            });
        }
        refusals
    }

    /// What was received, with those of the standings given replaced by what was accepted before, if anything was. Shared
    /// where that changes nothing.
    pub(super) fn less(
        &self,
        kind: ResourceType,
        received: &Arc<ResourceMap>,
        set_aside: impl Fn(&Standing) -> bool,
    ) -> Arc<ResourceMap> {
        let mut map = Arc::clone(received);
        for (name, doubt) in self.0[kind.index()].iter().filter(|(_, doubt)| set_aside(&doubt.standing)) {
            let map = Arc::make_mut(&mut map);
            match &doubt.good {
                Some(good) => map.insert(Arc::clone(name), Arc::clone(good)),
                None => map.remove(name),
            };
        }
        map
    }
}
