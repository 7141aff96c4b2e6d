//! Waits until the kernel tells of a change in a folder (`inotify`).

use std::{io, path::Path};

use futures::{FutureExt, StreamExt};
use inotify::{EventStream, Inotify, WatchMask, Watches};
use tracing::warn;

/// A file that was replaced by rename, and one that was written in place and closed.
const CHANGES: WatchMask = WatchMask::MOVED_TO.union(WatchMask::CLOSE_WRITE);
/// Room for some events at a time. That there are some is all that counts.
const EVENTS: usize = 4096;

/// A watch of a folder. It tells nothing where the kernel has no more watches for this user, nor of changes that another
/// machine makes in a shared folder.
#[derive(Clone)]
pub(crate) struct FolderWatch(Watches);

/// The changes of a watched folder.
pub(crate) struct FolderChanges(Option<EventStream<[u8; EVENTS]>>);

impl FolderWatch {
    /// Only within a runtime of tokio.
    pub(crate) fn start() -> (Option<Self>, FolderChanges) {
        let made = Inotify::init().and_then(|inotify| {
            let watches = inotify.watches();
            Ok((Self(watches), inotify.into_event_stream([0; EVENTS])?))
        });
        match made {
            Ok((watch, changes)) => (Some(watch), FolderChanges(Some(changes))),
            Err(error) => {
                warn!(%error, "the kernel does not tell of changes of files, which are seen at the next look");
                (None, FolderChanges(None))
            }
        }
    }

    /// Watches the folder that has this path now. Repeated calls follow a path whose folder is made or replaced later,
    /// and cost a system call each. This may block as long as the folder's disk does.
    ///
    /// # Errors
    /// When the folder is missing, or may not be read.
    pub(crate) fn follow(&self, folder: &Path) -> io::Result<()> {
        self.0.clone().add(folder, CHANGES).map(drop)
    }
}

impl FolderChanges {
    /// Waits for changes that nobody has waited for yet, perhaps forever.
    pub(crate) async fn next(&mut self) {
        let Some(events) = &mut self.0 else { return std::future::pending().await };
        let mut event = events.next().await;
        while let Some(Ok(_)) = event {
            match events.next().now_or_never() {
                Some(next) => event = next,
                None => return,
            }
        }
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::Future, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn in_time(change: impl Future<Output = ()>) {
        timeout(Duration::from_secs(60), change).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_or_written_in_place_is_told_also_when_the_folder_came_later_or_is_another() {
        let place = tempfile::tempdir().unwrap();
        let (folder, next) = (place.path().join("dns"), place.path().join("next"));
        let (watch, mut changes) = started();
        watch.follow(&folder).unwrap_err();
        for _ in 0..2 {
            fs::create_dir(&folder).unwrap();
            watch.follow(&folder).unwrap();
            fs::write(&next, "").unwrap();
            fs::rename(&next, folder.join("file")).unwrap();
            in_time(changes.next()).await;
            watch.follow(&folder).unwrap();
            fs::write(folder.join("file"), "text").unwrap();
            in_time(changes.next()).await;
            fs::rename(&folder, place.path().join("old")).unwrap();
            fs::remove_dir_all(place.path().join("old")).unwrap();
        }
    }

    #[tokio::test]
    async fn changes_that_nobody_waited_for_are_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (watch, mut changes) = started();
        watch.follow(folder.path()).unwrap();
        for name in ["one", "two"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        in_time(changes.next()).await;
        assert!(changes.next().now_or_never().is_none());
    }

    fn started() -> (FolderWatch, FolderChanges) {
        let (watch, changes) = FolderWatch::start();
        (watch.unwrap(), changes)
    }
}
