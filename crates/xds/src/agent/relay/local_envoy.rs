//! What the local Envoy has acknowledged, as the relay asks for it.

use crate::{AckState, AckStates, ResourceType};

/// Answers of the local Envoy to what it was sent.
pub trait LocalEnvoy {
    /// Whether it answers for the type: it is connected and has asked for such resources.
    fn subscribes(&self, kind: ResourceType) -> bool;

    /// Changes whenever a stream of it opens or ends, because another Envoy may answer from then on.
    fn streams(&self) -> u64;

    /// State of one version.
    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState;
}

impl LocalEnvoy for AckStates {
    fn subscribes(&self, kind: ResourceType) -> bool {
        self.subscribed(kind)
    }

    fn streams(&self) -> u64 {
        self.opened_and_ended()
    }

    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState {
        self.of(kind, name, version)
    }
}
