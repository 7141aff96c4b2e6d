//! Threads for work that may never end.
//!
//! No work waits for other work: where no thread rests, another one is made. The end of the process waits for none of
//! them. A thread whose work is done rests for a while and takes the next work. Making a thread costs more than a look
//! at a file, and such looks come several times a second.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

type Work = Box<dyn FnOnce() + Send>;

/// Some threads.
pub(crate) struct Threads {
    /// How long one rests before it ends.
    rest: Duration,
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    thread: ThreadId,
    wake: Sender<Work>,
}

impl Threads {
    /// None yet. Each will rest for this time before it ends.
    pub(crate) const fn resting_for(rest: Duration) -> Self {
        Self { rest, resting: Mutex::new(Vec::new()) }
    }

    /// Does the work on another thread. A panic ends the work and nothing else.
    ///
    /// # Errors
    /// When no thread rests and none can be made.
    pub(crate) fn spend(&'static self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let work: Work = Box::new(work);
        // The last one to rest, so that those that are not needed any more end.
        let resting = self.resting().pop();
        match resting {
            Some(Resting { wake, .. }) => wake.send(work).map_err(|_| io::Error::other("a resting thread has ended")),
            None => self.start(work),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it waits for work that may hang, and outlives the panics of its work"
    )]
    fn start(&'static self, work: Work) -> io::Result<()> {
        let live = move || {
            let mut next = Some(work);
            while let Some(work) = next {
                // Who waits for the work learns of a panic by what the work drops.
                let _ = catch_unwind(AssertUnwindSafe(work));
                next = self.rest();
            }
        };
        thread::Builder::new().name("disk".to_owned()).spawn(live).map(drop)
    }

    /// Waits for the next work. `None` when there was none in time.
    fn rest(&self) -> Option<Work> {
        let (wake, woken) = channel();
        let thread = thread::current().id();
        self.resting().push(Resting { thread, wake });
        woken.recv_timeout(self.rest).ok().or_else(|| self.leave(thread, &woken))
    }

    /// Ends the rest of a thread, unless work for it is on the way.
    fn leave(&self, thread: ThreadId, woken: &Receiver<Work>) -> Option<Work> {
        let rested = self.resting().extract_if(.., |other| other.thread == thread).count() > 0;
        if rested { None } else { woken.recv().ok() }
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Resting>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        collections::HashSet,
        sync::{Arc, Barrier, mpsc::RecvTimeoutError},
        time::Instant,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    thread_local! {
        /// Dropped with its thread.
        static ALIVE: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
    }

    fn threads(rest: Duration) -> &'static Threads {
        Box::leak(Box::new(Threads::resting_for(rest)))
    }

    #[test]
    fn no_work_waits_for_other_work_and_threads_work_again_also_after_a_panic() {
        let threads = threads(DEADLINE);
        let (tell, told) = channel();
        // Nobody goes on before all have begun.
        let barrier = Arc::new(Barrier::new(8));
        for _ in 0..8 {
            let (tell, barrier) = (tell.clone(), Arc::clone(&barrier));
            let work = move || {
                barrier.wait();
                tell.send(thread::current().id()).unwrap();
                panic!("deliberate");
            };
            threads.spend(work).unwrap();
        }
        let first: HashSet<ThreadId> = told.iter().take(8).collect();
        assert_eq!(first.len(), 8);
        let begun = Instant::now();
        while threads.resting().len() < 8 {
            assert!(begun.elapsed() < DEADLINE, "a thread that has worked does not rest");
            thread::yield_now();
        }
        threads.spend(move || tell.send(thread::current().id()).unwrap()).unwrap();
        assert!(first.contains(&told.recv().unwrap()), "another thread was made although some rest");
    }

    #[test]
    fn a_thread_without_work_ends_and_there_is_another_one_for_later_work() {
        let threads = threads(Duration::from_millis(1));
        for _ in 0..2 {
            let (alive, ended) = channel();
            threads.spend(move || ALIVE.set(Some(alive))).unwrap();
            assert_eq!(ended.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
        }
    }
}
