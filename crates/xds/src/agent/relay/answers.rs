//! Answers to the pilot: a response is answered once Envoy has answered for all of its resources, or takes too long.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{RelayEvent, Step, statuses::Statuses, unacked::Status};
use crate::{
    ResourceType,
    session::client::{RequestToPilot, Update},
};

/// A type and the name of a resource.
type Key = (ResourceType, Arc<str>);

/// The pilot's responses on the current stream that are not answered, and what the pilot was told.
#[derive(Debug, Default)]
pub(super) struct Answers {
    awaiting: Vec<Awaiting>,
    /// Rejections that the pilot was told of.
    told: BTreeSet<Key>,
    /// Resources that the pilot was asked to send again.
    asked: BTreeSet<Key>,
}

/// A response whose answer depends on Envoy.
#[derive(Debug)]
struct Awaiting {
    kind: ResourceType,
    nonce: String,
    /// Names and versions.
    resources: Vec<(Arc<str>, Arc<str>)>,
    deadline: Instant,
}

impl Answers {
    /// Number of responses that are not answered.
    pub(super) fn awaiting(&self) -> usize {
        self.awaiting.len()
    }

    /// When [`Answers::answer`] has to be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.awaiting.iter().map(|awaiting| awaiting.deadline).min()
    }

    /// A response arrived.
    pub(super) fn received(&mut self, update: &Update, deadline: Instant) {
        for name in update.removed.iter().chain(update.resources.iter().map(|resource| &resource.name)) {
            let key = (update.kind, Arc::clone(name));
            self.told.remove(&key);
            self.asked.remove(&key);
        }
        self.awaiting.push(Awaiting {
            kind: update.kind,
            nonce: update.nonce.clone(),
            resources: update.resources.iter().map(|r| (Arc::clone(&r.name), Arc::clone(&r.version))).collect(),
            deadline,
        });
    }

    /// Answers what can be answered now.
    pub(super) fn answer(&mut self, statuses: &mut Statuses<'_>, now: Instant, step: &mut Step) {
        let Self { awaiting, told, .. } = self;
        awaiting.retain(|awaiting| {
            let overdue = now >= awaiting.deadline;
            let Some(request) = awaiting.answer(statuses, overdue, &mut step.events) else { return true };
            // A resource that was rejected together with others is sent again alone.
            if let (RequestToPilot::Nack { .. }, [(name, _)]) = (&request, &awaiting.resources[..]) {
                told.insert((awaiting.kind, Arc::clone(name)));
            }
            step.upstream.push(request);
            false
        });
    }

    /// Requests resources again that were acknowledged before they were rejected, or rejected before they were
    /// accepted, so that the pilot gets the right answer.
    pub(super) fn correct(&mut self, statuses: &Statuses<'_>) -> impl Iterator<Item = RequestToPilot> + use<> {
        let nacked = statuses.nacked().map(|(kind, name)| (kind, Arc::clone(name)));
        let wrong = nacked.filter(|key| !self.told.contains(key));
        let recovered = self.told.iter().filter(|(kind, name)| statuses.status(*kind, name).is_none()).cloned();
        let ask: Vec<_> =
            wrong.chain(recovered).filter(|key| !self.asked.contains(key) && !self.is_awaiting(key)).collect();
        self.asked.extend(ask.iter().cloned());
        let mut again: BTreeMap<ResourceType, Vec<Arc<str>>> = BTreeMap::new();
        for (kind, name) in ask {
            again.entry(kind).or_default().push(name);
        }
        again.into_iter().map(|(kind, names)| RequestToPilot::Resend { kind, names })
    }

    /// Whether the answer to a response with this resource is still to come.
    fn is_awaiting(&self, (kind, name): &Key) -> bool {
        let mut of_type = self.awaiting.iter().filter(|awaiting| awaiting.kind == *kind);
        of_type.any(|awaiting| awaiting.resources.iter().any(|(one, _)| one == name))
    }

    /// Whether a response should have been answered by now.
    #[cfg(test)]
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.awaiting.iter().any(|awaiting| awaiting.deadline <= now)
    }
}

impl Awaiting {
    /// The answer to the pilot, once there is one.
    fn answer(
        &self,
        statuses: &mut Statuses<'_>,
        overdue: bool,
        events: &mut Vec<RelayEvent>,
    ) -> Option<RequestToPilot> {
        let (type_url, nonce) = (self.kind.url().to_owned(), self.nonce.clone());
        let mut pending = Vec::new();
        for (name, version) in &self.resources {
            match statuses.status_of(self.kind, name, version) {
                Some(Status::Nacked(reason)) => {
                    return Some(RequestToPilot::Nack { type_url, nonce, reason: format!("{name}: {reason}") });
                }
                Some(Status::Pending) => pending.push(name),
                Some(Status::Presumed) | None => {}
            }
        }
        if !pending.is_empty() {
            if !overdue {
                return None;
            }
            events.push(RelayEvent::Unanswered { kind: self.kind, resources: pending.len() });
            for name in pending {
                statuses.presume(self.kind, name);
            }
        }
        Some(RequestToPilot::Ack { type_url, nonce })
    }
}
