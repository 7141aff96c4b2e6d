//! Datagrams that wait for the zone to be known.
//!
//! Their number and size are bounded; a datagram that exceeds the bounds is answered at once. So no client can exhaust
//! memory.

use std::{collections::VecDeque, future::pending, net::SocketAddr};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{current_zone::PATIENCE, respond::Datagram};

/// Maximum number of waiting questions for each socket.
pub(crate) const ROOM: usize = 1024;
/// Maximum size of a waiting question in octets. A question with a name of any length and EDNS is smaller.
const LARGEST: usize = 512;

/// A waiting question.
pub(crate) struct WaitingQuery {
    pub(crate) from: SocketAddr,
    pub(crate) octets: Box<[u8]>,
    deadline: Instant,
}

impl WaitingQuery {
    /// Whether its time is up, so that it is answered with what is known.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

/// All waiting questions, in order of arrival, which is also the order of their deadlines.
#[derive(Default)]
pub(crate) struct Waiting(VecDeque<WaitingQuery>);

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a question for later. Returns false when it does not fit.
    pub(crate) fn keep(&mut self, from: SocketAddr, datagram: Datagram<'_>) -> bool {
        let fits = self.0.len() < ROOM && datagram.octets.len() <= LARGEST && !datagram.cut_short;
        if fits {
            let deadline = Instant::now() + PATIENCE;
            self.0.push_back(WaitingQuery { from, octets: datagram.octets.into(), deadline });
        }
        fits
    }

    /// Returns when the zone has changed or the first question is due. Never returns while no question waits.
    pub(crate) async fn woken(&self, changes: &mut watch::Receiver<()>) {
        let Some(first) = self.0.front() else { return pending().await };
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep_until(first.deadline) => {}
        }
    }

    /// Removes the questions for which `answered` returns true.
    pub(crate) fn settle(&mut self, mut answered: impl FnMut(&WaitingQuery) -> bool) {
        self.0.retain(|question| !answered(question));
    }
}
