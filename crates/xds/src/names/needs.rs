//! What a name needs.

use std::sync::Arc;

/// The resources that carry connections to a name, by name. The name is answered once Envoy has accepted them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Listeners, one for each port.
    pub listeners: Vec<Arc<str>>,
    /// Clusters to which these listeners lead. Each says itself where its endpoints are.
    pub clusters: Vec<Arc<str>>,
}
