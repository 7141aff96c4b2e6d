//! Keeps on disk what the agent would need without a pilot.
//!
//! The file grows by what has changed (`boshy_state::Growing`), because all of it is megabytes in a large mesh. One
//! write is in progress at a time, always of the newest state: later changes are part of the next write. Names and
//! answers to the pilot wait for it (`boshy_xds::agent::Kept`), unless the disk refuses or takes too long. Then
//! nothing waits, the reason is reported, and the write is tried again.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use boshy_state::{Growing, StateFileError};
use boshy_supervision::Heart;
use boshy_xds::agent::{Kept, Outlets, relay::Stored};
use bytes::Bytes;
use err_report::Report;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

/// Longest time for which names and answers wait for the disk.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Configuration and channels of the keeper; they outlive the task.
#[derive(Clone)]
pub(crate) struct StateKeeperParts {
    /// Path of the file.
    pub(crate) file: PathBuf,
    /// The state to keep, and the state on disk. This task is the only writer of the latter.
    pub(crate) outlets: Outlets,
    /// Why the state cannot be written; `None` while it can. This task is the only writer.
    pub(crate) unkept: Arc<ArcSwap<Option<String>>>,
}

/// Writes the state whenever it differs from the one on disk.
pub(crate) async fn keep(parts: StateKeeperParts, heart: Heart) {
    let mut stored = parts.outlets.stored.subscribe();
    let mut file = Growing::default();
    // Of what an earlier process has appended, one of two files may be damaged.
    let mut has_changes = boshy_state::has_changes(&parts.file).await;
    loop {
        let state = Arc::clone(&stored.borrow_and_update());
        if !parts.is_kept(&state) || has_changes {
            parts.write(&mut file, state).await;
            has_changes = false;
        }
        let again = async { if parts.unkept.load().is_some() { sleep(AGAIN).await } else { pending().await } };
        let gone = heart.rest(async {
            tokio::select! {
                changed = stored.changed() => changed.is_err(),
                () = again => false,
            }
        });
        if gone.await {
            return;
        }
    }
}

impl StateKeeperParts {
    /// Writes one state, however long that takes, and reports the result, after [`PATIENCE`] at the latest.
    async fn write(&self, file: &mut Growing, state: Arc<Stored>) {
        let mut written = Box::pin(self.update(file, Arc::clone(&state)));
        let ended = match timeout(PATIENCE, &mut written).await {
            Ok(ended) => ended,
            Err(_) => {
                self.is_broken(format!("writing {} takes longer than {} s", self.file.display(), PATIENCE.as_secs()));
                // The next write would only wait for the same disk.
                written.await
            }
        };
        match ended {
            Ok(()) => {
                self.unkept.store(Arc::new(None));
                self.outlets.kept.send_replace(Kept::State(state));
            }
            Err(error) => self.is_broken(Report::new(&error).to_string()),
        }
    }

    async fn update(&self, file: &mut Growing, state: Arc<Stored>) -> Result<(), StateFileError> {
        let begun = Instant::now();
        let ended = match self.change(file, &state) {
            Some(change) if change.is_empty() => Ok(()),
            Some(change) => file.append(&self.file, change).await,
            None => file.replace(&self.file, move |edition| state.encode_edition(edition)).await,
        };
        debug!(took = ?begun.elapsed(), "wrote the state");
        ended
    }

    /// What has changed since the state on disk, if that is less than all of it.
    fn change(&self, file: &Growing, state: &Stored) -> Option<Vec<u8>> {
        let kept = self.outlets.kept.borrow().clone();
        let Kept::State(before) = kept else { return None };
        // The first write of a process is whole.
        let change = file.has_room(0).then(|| state.encode_change(&before))??;
        file.has_room(change.len()).then_some(change)
    }

    fn is_kept(&self, state: &Arc<Stored>) -> bool {
        matches!(&*self.outlets.kept.borrow(), Kept::State(kept) if Arc::ptr_eq(kept, state))
    }

    fn is_broken(&self, reason: String) {
        self.unkept.store(Arc::new(Some(reason)));
        self.outlets.kept.send_replace(Kept::Broken);
    }

    /// Writes the latest state at the end of the process, within [`PATIENCE`].
    pub(crate) async fn finish(&self) {
        let state = Arc::clone(&self.outlets.stored.borrow());
        if self.is_kept(&state) {
            return;
        }
        match timeout(PATIENCE, self.update(&mut Growing::default(), state)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = Report::new(&error).to_string(), "what changed last is not kept"),
            Err(_) => warn!(file = %self.file.display(), "the disk is too slow to keep what changed last"),
        }
    }
}

/// The state that an earlier process kept. A file that cannot be used counts as missing, because the pilot sends
/// everything again.
pub(crate) async fn restore(file: &Path) -> Option<Arc<Stored>> {
    boshy_state::sweep(file.parent().unwrap_or(file)).await;
    let decode = |content: &[u8], changes| Stored::decode_with(&Bytes::copy_from_slice(content), changes);
    match boshy_state::read_growing(file, decode).await {
        Ok(stored) => {
            let stored = stored?;
            info!(names = stored.answered().len(), "beginning with kept state");
            Some(Arc::new(stored))
        }
        Err(error) => {
            warn!(file = %file.display(), error = Report::new(&error).to_string(), "beginning without kept state");
            None
        }
    }
}
