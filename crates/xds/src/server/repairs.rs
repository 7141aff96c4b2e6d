//! What a proxy is to be told again, because it has not what it was told.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ResourceType;

/// Names by type.
pub(super) type Names = Arc<Vec<(ResourceType, Arc<str>)>>;

/// Has all open streams of a server told again of resources, by whoever found that their proxy lacks them. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Repairs(watch::Sender<Names>);

impl Repairs {
    /// Has what exists sent again, in whatever version the proxy is thought to have it, and what does not exist withdrawn.
    pub fn tell_again(&self, names: Vec<(ResourceType, Arc<str>)>) {
        self.0.send_replace(Arc::new(names));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Names> {
        self.0.subscribe()
    }
}
