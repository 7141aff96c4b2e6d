//! Datagrams that wait for the zone to be known.
//!
//! They are few and small, or are answered at once: the room is bounded, whoever asks.

use std::{collections::VecDeque, future::pending, net::SocketAddr};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{respond::Datagram, zones::PATIENCE};

/// Questions that wait at a time, for each socket.
pub(crate) const ROOM: usize = 1024;
/// Octets of one; a question with a name of any length and EDNS has fewer.
const LARGEST: usize = 512;

/// One of them.
pub(crate) struct Question {
    pub(crate) from: SocketAddr,
    pub(crate) octets: Box<[u8]>,
    deadline: Instant,
}

impl Question {
    /// Whether it is to be answered with whatever there is.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

/// All of them, in the order in which they came and so in that of their deadlines.
#[derive(Default)]
pub(crate) struct Waiting(VecDeque<Question>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a question for later; false when there is no room.
    pub(crate) fn keep(&mut self, from: SocketAddr, datagram: Datagram<'_>) -> bool {
        let fits = self.0.len() < ROOM && datagram.octets.len() <= LARGEST && !datagram.cut_short;
        if fits {
            let deadline = Instant::now() + PATIENCE;
            self.0.push_back(Question { from, octets: datagram.octets.into(), deadline });
        }
        fits
    }

    /// Returns when the zone has changed or the first question is due; never, while there is none.
    pub(crate) async fn woken(&self, changes: &mut watch::Receiver<()>) {
        let Some(first) = self.0.front() else { return pending().await };
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep_until(first.deadline) => {}
        }
    }

    /// Lets those go that `answered` takes.
    pub(crate) fn settle(&mut self, mut answered: impl FnMut(&Question) -> bool) {
        self.0.retain(|question| !answered(question));
    }
}
