//! Places, and the connections that hold them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use crate::{
    Limits,
    choice::{Choice, Seen, choose},
};

/// All places are taken by connections that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The connections of one server. Clones share the same state.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    /// Locked once when a connection opens and once when it closes.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    places: BTreeMap<u64, (IpAddr, Arc<Use>)>,
    gave_way: u64,
    refused: u64,
}

/// Use of one connection.
#[derive(Debug)]
pub(crate) struct Use {
    last: AtomicU64,
    busy: AtomicUsize,
    cut: CancellationToken,
}

impl Use {
    pub(crate) fn touch(&self) {
        self.last.store(now(), Ordering::Relaxed);
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }
}

/// Milliseconds since the first call, by the monotonic clock.
fn now() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGINNING.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Admission {
    /// An admission without connections.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, open: Mutex::default() }))
    }

    /// Gives a place to a connection from this address; `None` for a connection without an address, such as a Unix
    /// socket's. Another connection may be cut for it. Cancelling `parent` also cuts the connection.
    ///
    /// # Errors
    /// When all connections that could be closed are busy.
    pub fn admit(&self, address: Option<IpAddr>, parent: &CancellationToken) -> Result<Place, Full> {
        let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.to_canonical());
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let see = |(id, (address, usage)): (&u64, &(IpAddr, Arc<Use>))| Seen {
            id: *id,
            address: *address,
            last: usage.last.load(Ordering::Relaxed),
            busy: usage.is_busy(),
        };
        let seen: Vec<Seen> = open.places.iter().map(see).collect();
        match choose(&seen, address, self.0.limits) {
            Choice::Room => {}
            Choice::GivesWay(id) => {
                if let Some((_, usage)) = open.places.remove(&id) {
                    usage.cut.cancel();
                }
                open.gave_way += 1;
            }
            Choice::Full => {
                open.refused += 1;
                return Err(Full);
            }
        }
        let id = open.next;
        open.next += 1;
        let usage = Use { last: AtomicU64::new(now()), busy: AtomicUsize::new(0), cut: parent.child_token() };
        let usage = Arc::new(usage);
        open.places.insert(id, (address, Arc::clone(&usage)));
        Ok(Place(Arc::new(Taken { id, admission: self.clone(), usage })))
    }

    /// Number of open connections.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).places.len()
    }

    /// Number of connections closed for newcomers, and number of newcomers refused, so far.
    #[must_use]
    pub fn turned_away(&self) -> (u64, u64) {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.gave_way, open.refused)
    }
}

/// The place of one connection. Clones share it; it is released when the last is dropped.
#[derive(Clone, Debug)]
pub struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    id: u64,
    admission: Admission,
    usage: Arc<Use>,
}

impl Place {
    /// Cancelling this token cuts the connection. It is also cancelled when the connection is closed for a newcomer.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.0.usage.cut
    }

    /// Marks the connection as busy, regardless of traffic, until the returned value is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.0.usage.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.0.usage))
    }

    pub(crate) fn usage(&self) -> &Use {
        &self.0.usage
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.admission.0.open.lock().unwrap_or_else(PoisonError::into_inner).places.remove(&self.id);
    }
}

/// Marks a connection as busy while it lives.
#[derive(Debug)]
pub struct Busy(Arc<Use>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}
