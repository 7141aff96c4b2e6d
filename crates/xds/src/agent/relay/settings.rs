//! What an operator chooses.

use std::time::Duration;

use boshy_backoff::Backoff;

use crate::Capture;

/// Settings chosen by an operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelaySettings {
    /// How long the pilot waits for an answer while Envoy gives none.
    pub patience: Duration,
    /// Whether a name waits for Envoy. `false` on a VM without one.
    pub require_proxy: bool,
    /// Settings of the capture listener that this VM makes for itself. `None` to serve the pilot's.
    pub capture: Option<Capture>,
    /// Pauses before a rejected version of a resource is tried again.
    pub retry: Backoff,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            require_proxy: true,
            capture: None,
            retry: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), jitter: 0.0 },
        }
    }
}
