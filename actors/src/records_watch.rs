//! Tells of changes of `records.json`, as soon as the BOSH agent has replaced the file.

use std::{collections::BTreeSet, sync::Arc};

use boshy_supervision::Heart;

use crate::records_file::RecordsFile;

/// The file, and who is told; they outlive the task.
#[derive(Clone)]
pub(crate) struct RecordsWatchParts {
    /// The file.
    pub(crate) file: Arc<RecordsFile>,
    /// Takes the deployments, by canonical names, about which the file says something else.
    pub(crate) tell: Arc<dyn Fn(BTreeSet<String>) + Send + Sync>,
}

/// Looks at the file whenever it may have changed, forever.
pub(crate) async fn watch(parts: RecordsWatchParts, heart: Heart) {
    let mut looks = parts.file.looks();
    loop {
        looks.next().await;
        heart.beat();
        let changed = parts.file.changes().await;
        if !changed.is_empty() {
            (parts.tell)(changed);
        }
    }
}
