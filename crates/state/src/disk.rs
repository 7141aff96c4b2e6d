//! Work on a disk that may hang.
//!
//! A disk that hangs blocks the calling thread forever, and the kernel offers no way out. So the work runs on another
//! thread, which the end of the process does not wait for, and the caller waits as long as it chooses. Work on one path is
//! sequential: a late write is finished before newer work begins, and a hanging disk blocks one thread for each path.

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};
use tracing::error;

use crate::threads::Threads;

/// Longer than a loaded disk takes to flush, and shorter than the bound after which an actor counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Longer than the pauses between looks at a file.
const REST: Duration = Duration::from_secs(1);

/// Paths with work in progress.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Do the work.
static THREADS: Threads = Threads::resting_for(REST);
/// Notifies waiting tasks that a path is free.
static FREE: Notify = Notify::const_new();

/// The exclusive right to work on a path.
struct Turn(PathBuf);

impl Turn {
    fn take_now(path: &Path) -> Option<Self> {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(path.to_owned()).then(|| Self(path.to_owned()))
    }

    async fn take(path: &Path) -> Self {
        loop {
            let free = FREE.notified();
            if let Some(turn) = Self::take_now(path) {
                return turn;
            }
            free.await;
        }
    }

    /// Does the work on another thread, and waits for it. Dropping the future leaves the work to itself.
    async fn spend<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        self.spend_and_then(|| (work(), None), |()| ()).await
    }

    /// Like [`Self::spend`], with a rest of the work, if any is left, for which only newer work waits.
    async fn spend_and_then<T: Send + 'static, R>(
        self,
        work: impl FnOnce() -> (T, Option<R>) + Send + 'static,
        rest: impl FnOnce(R) + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            let (done, left) = work();
            let left = left.map(|left| (left, self));
            // The caller may have stopped waiting.
            drop(tell.send(done));
            if let Some((left, _turn)) = left {
                rest(left);
            }
        };
        THREADS.spend(work)?;
        told.await.map_err(|_| io::Error::other("the work on the disk panicked"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(path = %self.0.display(), "the work on the disk panicked");
        }
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        FREE.notify_waiters();
    }
}

/// Does the work on `path` once earlier work on it is finished, and waits for it. Dropping the future withdraws work
/// that has not begun; work that has begun continues.
///
/// # Errors
/// When the work panicked, or no thread could be made for it.
pub async fn work<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Turn::take(path).await.spend(work).await
}

/// Like [`work`], for a limited time.
///
/// # Errors
/// Like [`work`]; also `TimedOut` when the work is not done in time and may still be done later, or when earlier work
/// is not done in time: then it never begins.
pub async fn in_time<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    in_time_and_then(path, patience, || (work(), None), |()| ()).await
}

/// Like [`in_time`], with a rest of the work, if any is left, for which only newer work on the path waits.
///
/// # Errors
/// Like [`in_time`].
pub(crate) async fn in_time_and_then<T: Send + 'static, R>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> (T, Option<R>) + Send + 'static,
    rest: impl FnOnce(R) + Send + 'static,
) -> io::Result<T> {
    let spent = async { Turn::take(path).await.spend_and_then(work, rest).await };
    timeout(patience, spent).await.unwrap_or_else(|_| {
        let text = format!("the disk has not answered for {} s", patience.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Like [`work`]; `None` while earlier work on the path is in progress.
pub fn work_unless_busy<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<impl Future<Output = io::Result<T>>> {
    Some(Turn::take_now(path)?.spend(work))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_disk_that_hangs_is_an_error_after_a_deadline_and_nothing_newer_is_begun_before_it_answers() {
        let path = Path::new("/leases of a test");
        let (release, held) = mpsc::channel::<()>();
        let hung = in_time(path, SHORT, move || held.recv()).await.unwrap_err();
        assert_eq!(
            (hung.kind(), hung.to_string().as_str()),
            (io::ErrorKind::TimedOut, "the disk has not answered for 0 s")
        );
        let (newer, begun) = mpsc::channel();
        let second = newer.clone();
        assert_eq!(in_time(path, SHORT, move || second.send(2)).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.try_recv().is_err(), "the newer work was begun");
        let elsewhere = Path::new("/inventory of a test");
        assert_eq!(in_time(elsewhere, PATIENCE, || 1).await.unwrap(), 1, "another path waits for nothing");
        drop(release);
        in_time(path, PATIENCE, move || newer.send(3)).await.unwrap().unwrap();
        assert_eq!(begun.try_recv(), Ok(3));
    }

    #[tokio::test]
    async fn a_task_waits_as_long_as_it_likes_and_what_it_stops_waiting_for_is_not_begun() {
        let path = Path::new("/state of a test");
        let (release, held) = mpsc::channel::<()>();
        assert!(timeout(SHORT, work(path, move || held.recv())).await.is_err());
        let (newer, begun) = mpsc::channel();
        let second = newer.clone();
        assert!(timeout(SHORT, work(path, move || second.send(2))).await.is_err());
        assert!(work_unless_busy(path, || 1).is_none());
        let mut third = Box::pin(work(path, move || newer.send(3)));
        assert!(timeout(SHORT, &mut third).await.is_err(), "the disk hangs");
        drop(release);
        third.await.unwrap().unwrap();
        assert_eq!((begun.try_recv(), work_unless_busy(path, || 4).unwrap().await.unwrap()), (Ok(3), 4));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_to_who_asked_and_leaves_the_path_free() {
        let path = Path::new("/facts of a test");
        let text = "the work on the disk panicked";
        let fails = || assert!(path.is_relative(), "deliberate");
        assert_eq!(in_time(path, PATIENCE, fails).await.unwrap_err().to_string(), text);
        assert_eq!(work(path, fails).await.unwrap_err().to_string(), text);
        assert_eq!(work(path, || 1).await.unwrap(), 1);
    }
}
