//! Where the zone is read from, and the patience with which what is not known yet is waited for.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::Zone;

/// How long a question about what is not known yet waits for its answer. Who forwards it gives up after a time of its own and then
/// says that the name does not exist (bosh-dns: `recursor_timeout`, 2 s), which a program may keep; the rest of that time is for the way
/// there and back on a busy VM.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// The zone of a server, swapped whole by whoever learns of a new name table. Clones share it. Reading takes no lock.
#[derive(Clone, Debug)]
pub struct Zones(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: ArcSwap<Zone>,
    changes: watch::Sender<()>,
}

impl Zones {
    /// Beginning with this one.
    pub fn new(zone: Zone) -> Self {
        Self(Arc::new(Shared { current: ArcSwap::from_pointee(zone), changes: watch::Sender::new(()) }))
    }

    /// The zone now.
    pub fn load(&self) -> Guard<Arc<Zone>> {
        self.0.current.load()
    }

    /// Puts another in its place, and wakes who waits for it.
    pub fn store(&self, zone: Zone) {
        self.0.current.store(Arc::new(zone));
        self.0.changes.send_replace(());
    }

    /// Marks every store from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Asks the zone until it knows, or for [`PATIENCE`], and returns the last answer.
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
