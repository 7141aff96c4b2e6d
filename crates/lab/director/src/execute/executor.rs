//! What the running tasks share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::Mutex as AsyncMutex;

use crate::{Infrastructure, release::Renderer, server::Shared};

/// State shared by the tasks.
pub(in super::super) struct Executor {
    pub(super) shared: Arc<Shared>,
    pub(super) infrastructure: Arc<dyn Infrastructure>,
    pub(super) renderer: Renderer,
    pub(super) locks: Mutex<BTreeMap<String, Arc<AsyncMutex<()>>>>,
}
