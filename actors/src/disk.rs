//! Work on a disk that may hang.
//!
//! A disk that hangs blocks the calling thread forever, and the kernel offers no way out. So the work runs on a thread
//! of its own, which the end of the process does not wait for, and the caller waits as long as it chooses. Work on one
//! path is sequential: a late write is finished before newer work begins, and a hanging disk blocks one thread for each
//! path.

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{Notify, oneshot};
use tracing::error;

/// Longer than a loaded disk takes to flush, and shorter than the bound after which an actor counts as stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Paths with work in progress.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Notifies threads and tasks that a path is free.
static FREE: (Condvar, Notify) = (Condvar::new(), Notify::const_new());

/// The exclusive right to work on a path.
struct Turn(PathBuf);

impl Turn {
    fn take_now(path: &Path) -> Option<Self> {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(path.to_owned()).then(|| Self(path.to_owned()))
    }

    async fn take(path: &Path) -> Self {
        loop {
            let free = FREE.1.notified();
            if let Some(turn) = Self::take_now(path) {
                return turn;
            }
            free.await;
        }
    }

    fn take_in_time(path: &Path, patience: Duration) -> Option<Self> {
        let under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut under_way, _) = FREE
            .0
            .wait_timeout_while(under_way, patience, |under_way| under_way.contains(path))
            .unwrap_or_else(PoisonError::into_inner);
        under_way.insert(path.to_owned()).then(|| Self(path.to_owned()))
    }

    /// Does the work and then passes the result to `tell`. A panic drops `tell`.
    fn spend<T>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        tell: impl FnOnce(T) + Send + 'static,
    ) -> io::Result<()> {
        let work = move || {
            let done = work();
            drop(self);
            tell(done);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "only it waits for a disk for ever; who asked is told of its panic as an error, and the log is when that comes late"
        )]
        thread::Builder::new().name("disk".to_owned()).spawn(work).map(drop)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(path = %self.0.display(), "the work on the disk panicked");
        }
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        FREE.0.notify_all();
        FREE.1.notify_waiters();
    }
}

/// Does the work on `path` once earlier work on it is finished, and waits for it. Dropping the future withdraws work
/// that has not begun; work that has begun continues.
///
/// # Errors
/// When the work panicked, or no thread could be started for it.
pub(crate) async fn work<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    outcome(Turn::take(path).await, work).await
}

/// Like [`work`]; `None` while earlier work on the path is in progress.
pub(crate) fn work_unless_busy<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<impl Future<Output = io::Result<T>>> {
    Some(outcome(Turn::take_now(path)?, work))
}

async fn outcome<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    // The caller may have stopped waiting.
    turn.spend(work, |done| drop(tell.send(done)))?;
    told.await.map_err(|_| panicked())
}

/// Does the work on `path`, and blocks the calling thread until it is done, for a limited time.
///
/// # Errors
/// `TimedOut` when it is not done in time and may still be done later, or when earlier work is not done in time: then
/// it never begins.
pub(crate) fn in_time<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let hung = || {
        let text = format!("the disk has not answered for {} s", patience.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let turn = Turn::take_in_time(path, patience).ok_or_else(hung)?;
    let (tell, told) = mpsc::channel();
    turn.spend(work, move |done| drop(tell.send(done)))?;
    told.recv_timeout(patience).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => hung(),
        mpsc::RecvTimeoutError::Disconnected => panicked(),
    })
}

fn panicked() -> io::Error {
    io::Error::other("the work on the disk panicked")
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_disk_that_hangs_is_an_error_after_a_deadline_and_nothing_newer_is_begun_before_it_answers() {
        let path = Path::new("/leases of a test");
        let (release, held) = mpsc::channel::<()>();
        let hung = in_time(path, SHORT, move || held.recv()).unwrap_err();
        assert_eq!(
            (hung.kind(), hung.to_string().as_str()),
            (io::ErrorKind::TimedOut, "the disk has not answered for 0 s")
        );
        let (newer, begun) = mpsc::channel();
        let second = newer.clone();
        assert_eq!(in_time(path, SHORT, move || second.send(2)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.try_recv().is_err(), "the newer work was begun");
        let elsewhere = Path::new("/inventory of a test");
        assert_eq!(in_time(elsewhere, PATIENCE, || 1).unwrap(), 1, "another path waits for nothing");
        drop(release);
        in_time(path, PATIENCE, move || newer.send(3)).unwrap().unwrap();
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
        assert_eq!(in_time(path, PATIENCE, fails).unwrap_err().to_string(), text);
        assert_eq!(work(path, fails).await.unwrap_err().to_string(), text);
        assert_eq!(work(path, || 1).await.unwrap(), 1);
    }
}
