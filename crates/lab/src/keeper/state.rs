//! What the parts of a keeper share.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{lab_director::LabDirector, machines::Machines};

/// State shared by all parts of the keeper.
pub(super) struct Keeper {
    pub(super) machines: Arc<Machines>,
    pub(super) director: LabDirector,
    pub(super) down: Notify,
}
