//! Keeps on disk what the agent would need without a pilot.
//!
//! One write at a time, always of the newest state: what changes meanwhile goes with the next one. Names and answers to the pilot wait for
//! it (`boshy_xds::client::Kept`), unless the disk refuses or takes too long. Then nothing waits, the reason is told, and it is tried
//! again.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use boshy_supervision::Heart;
use boshy_xds::{
    client::{Kept, Outlets},
    relay::Stored,
};
use bytes::Bytes;
use err_report::Report;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::state_file;

/// What waits for the disk waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a disk that refused is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// What the keeper is made of; it outlives the task.
#[derive(Clone)]
pub(crate) struct Keeping {
    /// Where.
    pub(crate) file: PathBuf,
    /// What is to be kept, and what is. This task is the only one that tells the latter.
    pub(crate) outlets: Outlets,
    /// Why nothing can be kept; `None` while it can. This task is the only writer.
    pub(crate) unkept: Arc<ArcSwap<Option<String>>>,
}

/// Writes what is to be kept whenever it is not what is kept.
pub(crate) async fn keep(keeping: Keeping, heart: Heart) {
    let mut stored = keeping.outlets.stored.subscribe();
    loop {
        let state = Arc::clone(&stored.borrow_and_update());
        if !keeping.is_kept(&state) {
            keeping.write(state).await;
        }
        let again = async { if keeping.unkept.load().is_some() { sleep(AGAIN).await } else { pending().await } };
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

impl Keeping {
    /// Writes one state, however long that takes, and tells how it went, after [`PATIENCE`] at the latest.
    async fn write(&self, state: Arc<Stored>) {
        let mut written = begin(self.file.clone(), Arc::clone(&state));
        let ended = match timeout(PATIENCE, &mut written).await {
            Ok(ended) => ended,
            Err(_) => {
                self.is_broken(format!("writing {} takes longer than {} s", self.file.display(), PATIENCE.as_secs()));
                // The next write would only wait for the same disk.
                written.await
            }
        };
        match ended {
            Ok(Ok(())) => {
                self.unkept.store(Arc::new(None));
                self.outlets.kept.send_replace(Kept::State(state));
            }
            Ok(Err(reason)) => self.is_broken(reason),
            Err(_) => self.is_broken(format!("the write of {} ended without a word", self.file.display())),
        }
    }

    fn is_kept(&self, state: &Arc<Stored>) -> bool {
        matches!(&*self.outlets.kept.borrow(), Kept::State(kept) if Arc::ptr_eq(kept, state))
    }

    fn is_broken(&self, reason: String) {
        self.unkept.store(Arc::new(Some(reason)));
        self.outlets.kept.send_replace(Kept::Broken);
    }

    /// Writes at the end of the process what is not kept yet, within [`PATIENCE`].
    pub(crate) async fn finish(&self) {
        let state = Arc::clone(&self.outlets.stored.borrow());
        if self.is_kept(&state) {
            return;
        }
        match timeout(PATIENCE, begin(self.file.clone(), state)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => warn!(file = %self.file.display(), "the write of what changed last ended without a word"),
            Err(_) => warn!(file = %self.file.display(), "the disk is too slow to keep what changed last"),
        }
    }
}

/// Writes on a thread of its own, which a disk that hangs keeps, and nobody waits for.
fn begin(file: PathBuf, state: Arc<Stored>) -> oneshot::Receiver<Result<(), String>> {
    let (tell, told) = oneshot::channel();
    let write = move || {
        let begun = Instant::now();
        let content = state.encode();
        let ended = state_file::replace(&file, &content).map_err(|error| Report::new(&error).to_string());
        tracing::debug!(octets = content.len(), took = ?begun.elapsed(), "wrote the state");
        // Nobody listens when the life that began it is over.
        let _ = tell.send(ended);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "only it waits for a disk for ever; its panic drops `tell`, and whoever waits tells that"
    )]
    let begun = thread::Builder::new().name("state_keeper".to_owned()).spawn(write);
    if let Err(error) = begun {
        warn!(%error, "begin a thread that writes the state");
    }
    told
}

/// What an earlier process kept. A file that cannot be used is as good as none: the pilot tells everything again.
pub(crate) fn restore(file: &Path) -> Option<Arc<Stored>> {
    let content = match state_file::read(file) {
        Ok(content) => Bytes::from(content?),
        Err(error) => {
            warn!(error = Report::new(&error).to_string(), "beginning without kept state");
            return None;
        }
    };
    match Stored::decode(&content) {
        Ok(stored) => {
            info!(names = stored.answered().len(), "beginning with kept state");
            Some(Arc::new(stored))
        }
        Err(error) => {
            warn!(file = %file.display(), error = Report::new(&error).to_string(), "beginning without kept state");
            None
        }
    }
}
