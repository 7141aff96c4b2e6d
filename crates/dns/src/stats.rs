//! Counters of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Rcode;

/// Counters of one server, for its whole life. They only increase. A reader may see them at slightly different moments.
#[derive(Debug, Default)]
pub struct Stats {
    queries: AtomicU64,
    answers: [AtomicU64; Rcode::ALL.len()],
    fallback: AtomicU64,
    dropped: AtomicU64,
    cut_short: AtomicU64,
    unsent: AtomicU64,
    tcp_connections: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Messages received, over UDP and TCP.
    pub queries: u64,
    /// Answers made, by response code in the order of [`Rcode::ALL`].
    pub answers: [u64; Rcode::ALL.len()],
    /// Answers that the fallback made.
    pub fallback: u64,
    /// Messages without an answer: responses, and messages shorter than a header.
    pub dropped: u64,
    /// Datagrams larger than the buffer, answered FORMERR.
    pub cut_short: u64,
    /// Answers that the kernel refused to send, for example because a filter forbids it.
    pub unsent: u64,
    /// TCP connections accepted.
    pub tcp_connections: u64,
}

impl StatsSnapshot {
    /// Number of answers with a response code.
    pub fn answered(&self, rcode: Rcode) -> u64 {
        self.answers[rcode.index()]
    }

    pub(crate) fn count_answer(&mut self, rcode: Rcode, plain: bool) {
        self.answers[rcode.index()] += 1;
        self.fallback += u64::from(!plain);
    }
}

impl Stats {
    /// Reads all counters.
    pub fn snapshot(&self) -> StatsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StatsSnapshot {
            queries: read(&self.queries),
            answers: std::array::from_fn(|index| read(&self.answers[index])),
            fallback: read(&self.fallback),
            dropped: read(&self.dropped),
            cut_short: read(&self.cut_short),
            unsent: read(&self.unsent),
            tcp_connections: read(&self.tcp_connections),
        }
    }

    /// Adds what was counted since the last call. A batch is counted separately and added once, so that threads rarely
    /// contend here.
    pub(crate) fn add(&self, more: &StatsSnapshot) {
        let add = |counter: &AtomicU64, more: u64| {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        };
        add(&self.queries, more.queries);
        for (counter, more) in self.answers.iter().zip(more.answers) {
            add(counter, more);
        }
        add(&self.fallback, more.fallback);
        add(&self.dropped, more.dropped);
        add(&self.cut_short, more.cut_short);
        add(&self.unsent, more.unsent);
        add(&self.tcp_connections, more.tcp_connections);
    }
}
