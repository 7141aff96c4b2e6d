//! What the relay wants done.

use std::sync::Arc;

use super::{Nack, NameChange};
use crate::{
    ResourceType,
    session::client::{Malformed, RequestToPilot},
};

/// Actions, to be carried out in the order of the fields: names are removed before their listeners.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Names that are answered from now on, or no longer.
    pub names: Vec<NameChange>,
    /// Whether the served set has changed.
    pub served: bool,
    /// Messages for the pilot.
    pub upstream: Vec<RequestToPilot>,
    /// Events to be logged.
    pub events: Vec<RelayEvent>,
}

/// An unusual event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEvent {
    /// A response was rejected before it reached Envoy.
    Malformed(Malformed),
    /// Envoy rejected a resource. Reported at the first attempt.
    Nacked(Nack),
    /// Envoy accepted a resource that it had rejected.
    Recovered {
        /// Type of the resource.
        kind: ResourceType,
        /// Name of the resource.
        name: Arc<str>,
    },
    /// Envoy did not answer in time; the response was acknowledged.
    Unanswered {
        /// Type of the response.
        kind: ResourceType,
        /// Resources without an answer.
        resources: usize,
    },
}

impl Step {
    /// The answer to a response that never reached the relay, because it is malformed.
    pub fn refusing(malformed: Malformed) -> Self {
        Self {
            upstream: vec![malformed.clone().into()],
            events: vec![RelayEvent::Malformed(malformed)],
            ..Self::default()
        }
    }
}
