//! One resource that the local Envoy has not accepted.

use std::{sync::Arc, time::Instant};

use crate::{AckState, Resource, ResourceType};

use super::{
    super::{LocalEnvoy, RelaySettings},
    Changes, Nack,
};

/// Status of a version that Envoy has not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Status {
    /// Sent to a proxy that has not answered yet.
    Pending,
    /// No proxy was connected to answer, or none answered in time. The version is presumed good until a proxy rejects
    /// it.
    Presumed,
    /// Rejected, with the proxy's error text.
    Nacked(Arc<str>),
}

impl Status {
    /// Whether the version cannot be relied on.
    pub(in super::super) fn is_unsettled(&self) -> bool {
        *self != Self::Presumed
    }
}

/// The last NACK of a version. It is kept during the next attempt.
#[derive(Clone, Debug)]
pub(super) struct LastNack {
    reason: Arc<str>,
    pub(super) attempts: u32,
    /// In status `Nacked`: when the next attempt starts. During an attempt: until when an answer is awaited.
    pub(super) due: Instant,
}

/// A resource that is not accepted in the version that was received.
#[derive(Clone, Debug)]
pub(super) struct UnackedResource {
    pub(super) version: Arc<str>,
    pub(super) status: Status,
    /// The resource in its last accepted version.
    pub(super) last_acked: Option<Arc<Resource>>,
    /// Whether an earlier stream accepted this version.
    pub(super) acked_before: bool,
    pub(super) nack: Option<LastNack>,
}

impl UnackedResource {
    /// A version that was just received.
    pub(super) fn pending(version: &Arc<str>, last_acked: Option<Arc<Resource>>) -> Self {
        Self { version: Arc::clone(version), status: Status::Pending, last_acked, acked_before: false, nack: None }
    }

    /// A version that is presumed good.
    pub(super) fn presumed(version: &Arc<str>, acked_before: bool) -> Self {
        Self { version: Arc::clone(version), status: Status::Presumed, last_acked: None, acked_before, nack: None }
    }

    pub(super) fn is_nacked(&self) -> bool {
        matches!(self.status, Status::Nacked(_))
    }

    /// Whether it is being tried again after a NACK.
    pub(super) fn is_retried(&self) -> bool {
        self.status == Status::Pending && self.nack.is_some()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.nack.as_ref().map(|nack| nack.due)
    }

    pub(super) fn nack_of(&self, kind: ResourceType, name: &Arc<str>) -> Option<Nack> {
        let LastNack { reason, attempts, .. } = self.nack.as_ref()?;
        let (name, version, reason) = (Arc::clone(name), Arc::clone(&self.version), Arc::clone(reason));
        Some(Nack { kind, name, version, reason, attempts: *attempts })
    }

    /// Starts another attempt, whose answer is awaited until `due`.
    pub(super) fn retry(&mut self, due: Instant) {
        self.status = Status::Pending;
        if let Some(nack) = &mut self.nack {
            nack.due = due;
        }
    }

    /// Applies Envoy's answer; `envoy` is `None` while there is none that answers. Returns whether the resource is
    /// still not accepted.
    pub(super) fn apply_answer(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        envoy: Option<&impl LocalEnvoy>,
        settings: &RelaySettings,
        now: Instant,
        changes: &mut Changes,
    ) -> bool {
        let Some(envoy) = envoy else {
            if self.status == Status::Pending {
                self.status = Status::Presumed;
            }
            return true;
        };
        if self.is_nacked() {
            changes.nacks.extend(self.nack_of_stand_in(kind, name, envoy));
            return true;
        }
        match envoy.ack_state(kind, name, &self.version) {
            AckState::Acked => false,
            AckState::Pending => true,
            AckState::Nacked(reason) => {
                // The rejected version may be the last accepted one itself, rejected by another proxy when the pilot
                // went back to it.
                self.last_acked.take_if(|acked| acked.version == self.version);
                self.nack(&reason, settings, now);
                changes.nacks.extend(self.nack_of(kind, name));
                true
            }
        }
    }

    /// The NACK of the last accepted version, which stands in for the rejected one. It is not served any more then.
    fn nack_of_stand_in(&mut self, kind: ResourceType, name: &Arc<str>, envoy: &impl LocalEnvoy) -> Option<Nack> {
        let AckState::Nacked(reason) = envoy.ack_state(kind, name, &self.last_acked.as_ref()?.version) else {
            return None;
        };
        let version = Arc::clone(&self.last_acked.take()?.version);
        Some(Nack { kind, name: Arc::clone(name), version, reason: reason.into(), attempts: 1 })
    }

    fn nack(&mut self, reason: &str, settings: &RelaySettings, now: Instant) {
        let attempts = self.nack.as_ref().map_or(0, |nack| nack.attempts) + 1;
        let reason: Arc<str> = reason.into();
        let due = now + settings.retry.pause(attempts, 0.0);
        self.nack = Some(LastNack { reason: Arc::clone(&reason), attempts, due });
        self.status = Status::Nacked(reason);
    }
}
