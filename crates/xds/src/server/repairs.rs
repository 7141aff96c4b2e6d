//! Resources to be sent again, because a proxy does not have what it was sent.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ResourceType;

/// Names by type.
pub(super) type Names = Arc<Vec<(ResourceType, Arc<str>)>>;

/// Sends resources again on all open streams of a server, when the proxy is found to lack them. Clones share the
/// channel.
#[derive(Clone, Debug, Default)]
pub struct Repairs(watch::Sender<Names>);

impl Repairs {
    /// Sends existing resources again, whatever version the proxy is assumed to have, and withdraws those that do not
    /// exist.
    pub fn tell_again(&self, names: Vec<(ResourceType, Arc<str>)>) {
        self.0.send_replace(Arc::new(names));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Names> {
        self.0.subscribe()
    }
}
