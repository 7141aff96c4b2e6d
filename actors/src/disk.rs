//! Work on a disk that may hang.
//!
//! A disk that hangs holds whoever asks it for ever, and nothing makes the kernel let go. So the work runs on a thread of its own, and who
//! asked waits for a limited time. Work on one path is done one after the other: what is written late is written before anything
//! newer is begun, and a disk that hangs holds one thread for each path.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// Beyond what a loaded disk takes to flush, and short of what makes an actor look stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Paths that are worked on.
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static FREE: Condvar = Condvar::new();

/// That a path is worked on.
struct Turn(PathBuf);

impl Turn {
    fn take(path: &Path, patience: Duration) -> Option<Self> {
        let under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut under_way, waited) = FREE
            .wait_timeout_while(under_way, patience, |under_way| under_way.contains(path))
            .unwrap_or_else(PoisonError::into_inner);
        (!waited.timed_out() || !under_way.contains(path)).then(|| {
            under_way.insert(path.to_owned());
            Self(path.to_owned())
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        FREE.notify_all();
    }
}

/// Does the work on `path`, and waits for it for a limited time.
///
/// # Errors
/// `TimedOut` when it is not done in time, and may be done yet, or when what was begun before it is not done: then it is never begun.
pub(crate) fn in_time<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let hung = || {
        let text = format!("the disk has not answered for {} s", patience.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    let turn = Turn::take(path, patience).ok_or_else(hung)?;
    let (answer, answered) = mpsc::channel();
    let work = move || {
        let done = work();
        drop(turn);
        // Who asked may have stopped waiting.
        let _ = answer.send(done);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "only it waits for a disk for ever; who asked is told of its panic as an error"
    )]
    thread::Builder::new().name("disk".to_owned()).spawn(work)?;
    answered.recv_timeout(patience).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => hung(),
        mpsc::RecvTimeoutError::Disconnected => io::Error::other("the work on the disk panicked"),
    })
}

#[cfg(test)]
mod tests {
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
}
