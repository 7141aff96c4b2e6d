//! The current zone, and the time for which a question waits until its answer is known.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::Zone;

/// How long a question waits for an answer that is not known yet. A forwarder gives up after its own timeout and then
/// reports that the name does not exist, which a program may cache (bosh-dns: `recursor_timeout`, 2 s). The rest of
/// that time is for the way there and back on a busy VM.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// The zone of a server, replaced as a whole when a new name table arrives. Clones share it. Reading takes no lock.
#[derive(Clone, Debug)]
pub struct CurrentZone(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Zone>,
    changes: watch::Sender<()>,
}

impl CurrentZone {
    /// Starts with this zone.
    pub fn new(zone: Zone) -> Self {
        Self(Arc::new(Shared { current: ArcSwap::from_pointee(zone), changes: watch::Sender::new(()) }))
    }

    /// The current zone.
    pub fn load(&self) -> Guard<Arc<Zone>> {
        self.0.current.load()
    }

    /// Replaces the zone and wakes the tasks that wait for a change.
    pub fn store(&self, zone: Zone) {
        self.0.current.store(Arc::new(zone));
        self.0.changes.send_replace(());
    }

    /// Reports every store from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Asks the zone until `knows` accepts its answer, or for [`PATIENCE`], and returns the last answer.
    pub async fn patiently<T>(&self, mut ask: impl FnMut(&Zone) -> T, knows: impl Fn(&T) -> bool) -> T {
        let mut changes = self.changes();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask(&self.load());
            if knows(&answer) {
                return answer;
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return answer;
            }
        }
    }
}
