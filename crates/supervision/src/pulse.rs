//! Signs of life of one life: when it was last polled, and when each of its loops last went round.
//!
//! The life writes them at moments that are rare compared with its work. Any thread can read them, without a lock that
//! the writer would need.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Time since the first call, in milliseconds of a monotonic clock.
fn now() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGINNING.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A moment that one writer moves to the present.
#[derive(Debug)]
struct Moment(AtomicU64);

impl Moment {
    fn present() -> Self {
        Self(AtomicU64::new(now()))
    }

    fn touch(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        Duration::from_millis(now().saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

/// Signs of life of one life.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// How long it may show no sign of life.
    bound: Duration,
    /// When it was last polled, or else when it was ordered.
    polled: Moment,
    /// Whether it is being polled. If that lasts, this life is the one that blocks its thread.
    polling: AtomicBool,
    /// Rarely changed: at a birth, and when a loop begins.
    loops: Mutex<Vec<Arc<Beats>>>,
}

#[derive(Debug)]
struct Beats {
    what: String,
    last: Moment,
    /// The loop waits for news, however long that takes. Polls alone then count as a sign of life.
    resting: AtomicBool,
    bound: Duration,
}

/// Why a life counts as silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// It is not polled: it blocks its thread itself, or another life does.
    Thread {
        /// Whether it is this life that blocks the thread.
        itself: bool,
        /// Duration of the silence.
        since: Duration,
    },
    /// Its thread runs, but the loop does not.
    Loop {
        /// Which of its loops.
        what: String,
        /// Duration of the silence.
        since: Duration,
    },
}

impl Pulse {
    pub(crate) fn new(bound: Duration) -> Arc<Self> {
        let (polled, polling) = (Moment::present(), AtomicBool::new(false));
        Arc::new(Self { bound, polled, polling, loops: Mutex::default() })
    }

    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Runs one poll of the life.
    pub(crate) fn around<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.polled.touch();
        self.polling.store(true, Ordering::Relaxed);
        let done = poll();
        self.polling.store(false, Ordering::Relaxed);
        done
    }

    /// Whether it is in a poll that has lasted for at least half of its bound. It is then the one that holds up the
    /// others on the thread, which were polled a little earlier and so appear silent a little longer.
    pub(crate) fn holds_its_thread(&self) -> Option<Silence> {
        let since = self.polled.age();
        (self.polling.load(Ordering::Relaxed) && since > self.bound / 2)
            .then_some(Silence::Thread { itself: true, since })
    }

    /// A heart for a loop of this life, with the life's bound unless another is given.
    pub(crate) fn heart(&self, what: &str, bound: Option<Duration>) -> Heart {
        let bound = bound.unwrap_or(self.bound);
        let beats = Beats { what: what.to_owned(), last: Moment::present(), resting: AtomicBool::new(false), bound };
        let beats = Arc::new(beats);
        self.loops.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&beats));
        Heart(beats)
    }

    /// The silence of this life, if it is silent.
    pub(crate) fn silence(&self) -> Option<Silence> {
        let since = self.polled.age();
        let itself = self.polling.load(Ordering::Relaxed);
        if since > self.bound {
            return Some(Silence::Thread { itself, since });
        }
        // A loop cannot go round while the thread is blocked, and a blocked thread is reported in time by the check
        // above.
        if itself || since > self.bound / 4 {
            return None;
        }
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        // A loop without a remaining heart has ended.
        loops.retain(|beats| Arc::strong_count(beats) > 1);
        let silent =
            loops.iter().find(|beats| !beats.resting.load(Ordering::Relaxed) && beats.last.age() > beats.bound);
        silent.map(|beats| Silence::Loop { what: beats.what.clone(), since: beats.last.age() })
    }
}

/// A handle with which a loop shows that it goes round. A loop that neither beats nor rests for longer than its bound
/// is stuck: its child is then restarted.
///
/// A beat reads the clock. Once per round is enough; do not use it on a path that runs thousands of times a second.
#[derive(Clone, Debug)]
pub struct Heart(Arc<Beats>);

impl Heart {
    /// A heart that is not watched, for a loop that runs without a tree, such as in a test.
    #[must_use]
    pub fn unwatched() -> Self {
        Pulse::new(Duration::MAX).heart("unwatched", None)
    }

    /// Records that the loop goes round.
    pub fn beat(&self) {
        self.0.last.touch();
    }

    /// Waits for news that may take long to arrive. In the meantime, the loop counts as alive as long as its thread
    /// runs. Use it only for events from outside. Await work that has to end without it, so that a hang is noticed.
    pub async fn rest<T>(&self, news: impl Future<Output = T>) -> T {
        struct Waking<'h>(&'h Beats);
        impl Drop for Waking<'_> {
            fn drop(&mut self) {
                self.0.last.touch();
                self.0.resting.store(false, Ordering::Relaxed);
            }
        }
        let _waking = Waking(&self.0);
        self.0.resting.store(true, Ordering::Relaxed);
        news.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(20);

    fn wait_for(condition: impl Fn() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_life_that_is_not_polled_is_silent_and_the_one_that_is_in_its_poll_is_the_cause() {
        let (pulse, neighbour) = (Pulse::new(BOUND), Pulse::new(BOUND));
        assert_eq!(pulse.silence(), None);
        pulse.around(|| {
            wait_for(|| matches!(pulse.silence(), Some(Silence::Thread { itself: true, .. })));
            wait_for(|| matches!(neighbour.silence(), Some(Silence::Thread { itself: false, .. })));
        });
        pulse.around(|| ());
        assert_eq!(pulse.silence(), None);
    }

    #[test]
    fn a_loop_that_does_not_go_round_is_silent_while_its_thread_goes_on_unless_it_rests_or_has_ended() {
        let pulse = Pulse::new(BOUND);
        let heart = pulse.heart("rounds", None);
        let silent = || {
            pulse.around(|| ());
            matches!(pulse.silence(), Some(Silence::Loop { what, .. }) if what == "rounds")
        };
        wait_for(silent);
        heart.beat();
        assert!(!silent());
        wait_for(silent);
        let mut resting = Box::pin(heart.rest(std::future::pending::<()>()));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(resting.as_mut().poll(&mut task).is_pending());
        assert!(!silent());
        drop(resting);
        assert!(!silent(), "waking is a sign of life");
        wait_for(silent);
        drop(heart);
        assert!(!silent());
    }
}
