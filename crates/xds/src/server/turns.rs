//! How many handshakes begin at once.
//!
//! A handshake has its turn, in the order of arrival. The handshakes of a crowd that all begin at once all end late, when
//! their clients have given up; one after the other, the first are served while the last still wait. What waits costs a
//! socket and no state of TLS.
//!
//! A turn ends after a moment, also when the handshake has not: a client that is slow, or means harm, keeps the next one
//! waiting no longer than that.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

/// Turns at once. It is enough to keep a processor busy while clients answer.
pub(super) const AT_ONCE: usize = 64;
/// How long a turn may last: many round trips within a data centre.
pub(super) const LENGTH: Duration = Duration::from_millis(100);

/// The turns of one server. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Begins the work when it is its turn, and does it to its end.
    pub(super) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await;
        let mut work = pin!(work);
        if let Ok(done) = timeout(LENGTH, &mut work).await {
            return done;
        }
        drop(turn);
        work.await
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Mutex,
    };

    use tokio::{
        task::{JoinSet, yield_now},
        time::{Instant, sleep},
    };

    use super::*;

    /// Runs works that were begun as far as they go without time.
    async fn settle() {
        for _ in 0..4 * AT_ONCE {
            yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_served_in_order_and_no_more_at_once_than_there_are_turns() {
        let (turns, begun) = (Turns::default(), Instant::now());
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut crowd = JoinSet::new();
        for number in 0..3 * AT_ONCE {
            let (turns, done) = (turns.clone(), Arc::clone(&done));
            crowd.spawn(async move {
                turns.run(async { sleep(LENGTH / 2).await }).await;
                done.lock().unwrap().push((number, begun.elapsed()));
            });
        }
        crowd.join_all().await;
        let expected = (0..3 * AT_ONCE).map(|number| (number, LENGTH / 2 * (1 + (number / AT_ONCE) as u32)));
        assert_eq!(*done.lock().unwrap(), expected.collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_ends_keeps_the_next_one_waiting_for_the_length_of_a_turn_and_who_is_cut_not_so_long() {
        let turns = Turns::default();
        let idle = || {
            let mut idle = JoinSet::new();
            for _ in 0..AT_ONCE {
                let turns = turns.clone();
                idle.spawn(async move { turns.run(pending::<()>()).await });
            }
            idle
        };
        let never_end = idle();
        settle().await;
        let begun = Instant::now();
        turns.run(ready(())).await;
        assert_eq!(begun.elapsed(), LENGTH);

        let mut are_cut = idle();
        settle().await;
        are_cut.shutdown().await;
        let begun = Instant::now();
        turns.run(ready(())).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(never_end.len(), AT_ONCE);
    }
}
