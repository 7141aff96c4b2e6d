//! Resources that the local Envoy has not accepted, or not accepted yet.
//!
//! Only the exceptions from the received resources are kept, so in steady state there is nothing to keep and nothing to
//! search. When another stream opens, the resources that Envoy had accepted are judged again: it may be another Envoy,
//! or its port may be taken now.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{LocalEnvoy, RelaySettings};
use crate::{AckState, Resource, ResourceMap, ResourceType, session::client::DeltaClient};

/// A resource that Envoy rejected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Nack {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ResourceType,
    /// Name of the resource.
    pub name: Arc<str>,
    /// The rejected version.
    pub version: Arc<str>,
    /// Envoy's error text.
    pub reason: Arc<str>,
    /// How often the connected Envoy has rejected this version.
    pub attempts: u32,
}

/// State of a resource that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Sent to a proxy that has not answered yet.
    Open,
    /// No proxy was connected to judge it, or none answered in time. It is assumed to be good until a proxy rejects it.
    Passed,
    /// Rejected, with the proxy's error text.
    Refused(Arc<str>),
}

impl Standing {
    /// Whether it cannot be relied on.
    pub(super) fn is_unsettled(&self) -> bool {
        !matches!(self, Self::Passed)
    }
}

/// The rejection of a version. It is kept during the next attempt.
#[derive(Clone, Debug)]
struct Refused {
    reason: Arc<str>,
    attempts: u32,
    /// In state `Refused`: when the next attempt starts. During an attempt: until when an answer is awaited.
    due: Instant,
}

#[derive(Clone, Debug)]
struct Doubt {
    version: Arc<str>,
    standing: Standing,
    /// The last accepted version.
    good: Option<Arc<Resource>>,
    /// Whether an earlier stream accepted this version.
    proven: bool,
    refused: Option<Refused>,
}

impl Doubt {
    fn passed(resource: &Resource, proven: bool) -> Self {
        let version = Arc::clone(&resource.version);
        Self { version, standing: Standing::Passed, good: None, proven, refused: None }
    }

    fn is_tried_again(&self) -> bool {
        self.standing == Standing::Open && self.refused.is_some()
    }

    fn refuse(&mut self, reason: &str, settings: &RelaySettings, now: Instant) {
        let attempts = self.refused.as_ref().map_or(0, |refused| refused.attempts) + 1;
        let reason: Arc<str> = reason.into();
        self.refused =
            Some(Refused { reason: Arc::clone(&reason), attempts, due: now + settings.retry.pause(attempts, 0.0) });
        self.standing = Standing::Refused(reason);
    }
}

/// Changes that followed from Envoy's answers.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Resources that are newly rejected, or rejected again.
    pub(super) refusals: Vec<Nack>,
    /// Resources that were rejected and are accepted now.
    pub(super) mended: Vec<(ResourceType, Arc<str>)>,
}

/// By type and name. A resource without an entry was accepted in the version received.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubts([BTreeMap<Arc<str>, Doubt>; ResourceType::ALL.len()]);

impl Doubts {
    /// Adds resources that no proxy has judged.
    pub(super) fn pass_all<'a>(&mut self, kind: ResourceType, resources: impl Iterator<Item = &'a Arc<Resource>>) {
        let passed = |resource: &Arc<Resource>| (Arc::clone(&resource.name), Doubt::passed(resource, false));
        self.0[kind.index()].extend(resources.map(passed));
    }

    /// A proxy's stream opened or ended, so it is unknown what the proxy has that is there now. Rejected resources are
    /// tried again at once. Accepted ones are assumed to be good until they are rejected. Returns the types of which
    /// more is to be served.
    pub(super) fn begin_anew(&mut self, client: &DeltaClient, patience: Duration, now: Instant) -> Vec<ResourceType> {
        let mut changed = Vec::new();
        for kind in super::JUDGED {
            let doubts = &mut self.0[kind.index()];
            for resource in client.held(kind).values() {
                doubts.entry(Arc::clone(&resource.name)).or_insert_with(|| Doubt::passed(resource, true));
            }
            for doubt in doubts.values_mut().filter(|doubt| matches!(doubt.standing, Standing::Refused(_))) {
                doubt.standing = Standing::Open;
                if let Some(refused) = &mut doubt.refused {
                    (refused.attempts, refused.due) = (0, now + patience);
                }
                changed.push(kind);
            }
        }
        changed.dedup();
        changed
    }

    /// Tries rejected resources again whose time has come, one of each type at a time: when a proxy rejects many
    /// because of one, the others are accepted this way. Returns the types of which more is to be served.
    pub(super) fn try_again(&mut self, patience: Duration, now: Instant) -> Vec<ResourceType> {
        let mut changed = Vec::new();
        for kind in super::JUDGED {
            let doubts = &mut self.0[kind.index()];
            let unanswered = |doubt: &&mut Doubt| doubt.is_tried_again() && doubt.due().is_some_and(|due| due <= now);
            doubts.values_mut().filter(unanswered).for_each(|doubt| doubt.standing = Standing::Passed);
            if doubts.values().any(Doubt::is_tried_again) {
                continue;
            }
            let refused = doubts.values_mut().filter(|doubt| matches!(doubt.standing, Standing::Refused(_)));
            let next = refused.filter_map(|doubt| Some((doubt.due()?, doubt))).min_by_key(|(due, _)| *due);
            if let Some((_, doubt)) = next.filter(|(due, _)| *due <= now) {
                doubt.standing = Standing::Open;
                doubt.refused.as_mut().expect("what is due was refused").due = now + patience;
                changed.push(kind);
            }
        }
        changed
    }

    /// When [`Doubts::try_again`] has to be called next.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let of_type = |doubts: &BTreeMap<Arc<str>, Doubt>| {
            let tried = doubts.values().filter(|doubt| doubt.is_tried_again()).filter_map(Doubt::due).min();
            let refused = || doubts.values().filter(|doubt| matches!(doubt.standing, Standing::Refused(_)));
            tried.or_else(|| refused().filter_map(Doubt::due).min())
        };
        self.0.iter().filter_map(of_type).min()
    }

    /// A resource was received. Receiving the same version again changes nothing.
    pub(super) fn replaced(&mut self, kind: ResourceType, before: Option<&Arc<Resource>>, resource: &Resource) {
        let doubts = &mut self.0[kind.index()];
        if before.is_some_and(|before| before.version == resource.version) {
            return;
        }
        let good = match doubts.remove(&resource.name) {
            Some(doubt) if doubt.proven && !matches!(doubt.standing, Standing::Refused(_)) => before.cloned(),
            Some(doubt) => doubt.good,
            None => before.cloned(),
        };
        let doubt = Doubt {
            version: Arc::clone(&resource.version),
            standing: Standing::Open,
            good,
            proven: false,
            refused: None,
        };
        doubts.insert(Arc::clone(&resource.name), doubt);
    }

    /// A resource was removed.
    pub(super) fn forget(&mut self, kind: ResourceType, name: &str) {
        self.0[kind.index()].remove(name);
    }

    /// Assumes a resource to be good, because there is no answer.
    pub(super) fn pass(&mut self, kind: ResourceType, name: &str) {
        if let Some(doubt) = self.0[kind.index()].get_mut(name) {
            doubt.standing = Standing::Passed;
        }
    }

    /// State of a resource; `None` when it is accepted.
    pub(super) fn standing(&self, kind: ResourceType, name: &str) -> Option<&Standing> {
        self.0[kind.index()].get(name).map(|doubt| &doubt.standing)
    }

    /// State of one version of a resource; `None` also when another version has replaced it.
    pub(super) fn standing_of(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Standing> {
        self.0[kind.index()].get(name).filter(|doubt| *doubt.version == *version).map(|doubt| &doubt.standing)
    }

    /// Whether a resource was rejected and has not been accepted since.
    pub(super) fn was_refused(&self, kind: ResourceType, name: &str) -> bool {
        self.0[kind.index()].get(name).is_some_and(|doubt| doubt.refused.is_some())
    }

    /// Resources that were rejected and have not been accepted since, including those that are being tried again.
    pub(super) fn refusals(&self) -> impl Iterator<Item = Nack> {
        super::JUDGED.into_iter().flat_map(|kind| {
            self.0[kind.index()].iter().filter_map(move |(name, doubt)| {
                doubt.refused.as_ref().map(|refused| refused.told(kind, name, &doubt.version))
            })
        })
    }

    /// Resources that are in state `Refused` now.
    pub(super) fn refused(&self) -> impl Iterator<Item = (ResourceType, &Arc<str>)> {
        super::JUDGED.into_iter().flat_map(|kind| {
            let refused = |(_, doubt): &(&Arc<str>, &Doubt)| matches!(doubt.standing, Standing::Refused(_));
            self.0[kind.index()].iter().filter(refused).map(move |(name, _)| (kind, name))
        })
    }

    /// Asks Envoy about all resources that are not settled, and about the good versions that stand in for rejected
    /// ones. Resources that are not served, because their type is not known yet, are not judged.
    pub(super) fn judge(
        &mut self,
        client: &DeltaClient,
        envoy: &impl LocalEnvoy,
        settings: &RelaySettings,
        now: Instant,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        for kind in super::JUDGED {
            let judged = client.is_known(kind) && envoy.subscribes(kind);
            self.0[kind.index()].retain(|name, doubt| {
                let retained = doubt.judged(kind, name, judged.then_some(envoy), settings, now, &mut judgement);
                if !retained && doubt.refused.is_some() {
                    judgement.mended.push((kind, Arc::clone(name)));
                }
                retained
            });
        }
        judgement
    }

    /// The received resources, where those selected by `set_aside` are replaced by their last accepted version, or left
    /// out if there is none. Returns the same map when nothing changes.
    fn less(
        &self,
        kind: ResourceType,
        received: &Arc<ResourceMap>,
        set_aside: impl Fn(&Doubt) -> bool,
    ) -> Arc<ResourceMap> {
        let mut map = Arc::clone(received);
        for (name, doubt) in self.0[kind.index()].iter().filter(|(_, doubt)| set_aside(doubt)) {
            let map = Arc::make_mut(&mut map);
            match &doubt.good {
                Some(good) => map.insert(Arc::clone(name), Arc::clone(good)),
                None => map.remove(name),
            };
        }
        map
    }

    /// The received resources that are to be served.
    pub(super) fn less_refused(&self, kind: ResourceType, received: &Arc<ResourceMap>) -> Arc<ResourceMap> {
        self.less(kind, received, |doubt| matches!(doubt.standing, Standing::Refused(_)))
    }

    /// The received resources that are to be stored. A rejected resource without an accepted version is stored, too:
    /// the next Envoy may accept it, and the pilot may be away then.
    pub(super) fn less_unsettled(&self, kind: ResourceType, received: &Arc<ResourceMap>) -> Arc<ResourceMap> {
        self.less(kind, received, |doubt| {
            doubt.standing.is_unsettled() && (doubt.refused.is_none() || doubt.good.is_some())
        })
    }
}

impl Doubt {
    fn due(&self) -> Option<Instant> {
        self.refused.as_ref().map(|refused| refused.due)
    }

    /// Applies Envoy's answer; `envoy` is `None` while there is none that answers. Returns whether the doubt
    /// remains.
    fn judged(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        envoy: Option<&impl LocalEnvoy>,
        settings: &RelaySettings,
        now: Instant,
        judgement: &mut Judgement,
    ) -> bool {
        let Some(envoy) = envoy else {
            if self.standing == Standing::Open {
                self.standing = Standing::Passed;
            }
            return true;
        };
        if let Standing::Refused(_) = self.standing {
            let stand_in = self.good.as_ref().map(|good| envoy.ack_state(kind, name, &good.version));
            if let Some(AckState::Nacked(reason)) = stand_in
                && let Some(good) = self.good.take()
            {
                let (name, version) = (Arc::clone(name), Arc::clone(&good.version));
                judgement.refusals.push(Nack { kind, name, version, reason: reason.into(), attempts: 1 });
            }
            return true;
        }
        match envoy.ack_state(kind, name, &self.version) {
            AckState::Acked => false,
            AckState::Pending => true,
            AckState::Nacked(reason) => {
                // The rejected version may be the good one itself, rejected by another proxy when the pilot went back
                // to it.
                self.good.take_if(|good| good.version == self.version);
                self.refuse(&reason, settings, now);
                judgement.refusals.extend(self.refused.as_ref().map(|refused| refused.told(kind, name, &self.version)));
                true
            }
        }
    }
}

impl Refused {
    fn told(&self, kind: ResourceType, name: &Arc<str>, version: &Arc<str>) -> Nack {
        let (name, version, reason) = (Arc::clone(name), Arc::clone(version), Arc::clone(&self.reason));
        Nack { kind, name, version, reason, attempts: self.attempts }
    }
}
