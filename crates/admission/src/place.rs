//! Places, and who has them.

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

/// The connections of one server. Clones are one.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    /// Locked once for each connection that comes or goes.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    places: BTreeMap<u64, (IpAddr, Arc<Use>)>,
    gave_way: u64,
    refused: u64,
}

/// How one connection is used.
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

/// Milliseconds since the first look, by the monotonic clock.
fn now() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGINNING.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Admission {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, open: Mutex::default() }))
    }

    /// A place for a connection from this address; `None` for one that has none, such as a Unix socket's. Another may be cut for it.
    /// The connection is also cut with `parent`.
    ///
    /// # Errors
    /// When nobody can give way.
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

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).places.len()
    }

    /// How many connections gave way to others, and how many were refused, so far.
    #[must_use]
    pub fn turned_away(&self) -> (u64, u64) {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        (open.gave_way, open.refused)
    }
}

/// The place of one connection. Clones are one; it is free again when the last is dropped.
#[derive(Clone, Debug)]
pub struct Place(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    id: u64,
    admission: Admission,
    usage: Arc<Use>,
}

impl Place {
    /// Cuts the connection when it is cancelled, and is cancelled when the connection has to give way.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.0.usage.cut
    }

    /// The connection is in use, whatever goes over it, until this is dropped.
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

/// That a connection is in use.
#[derive(Debug)]
pub struct Busy(Arc<Use>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}
