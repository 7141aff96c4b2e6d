//! Places, and the connections that hold them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
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
    /// How many of them each address has: with room, a newcomer costs the same beside ten connections and ten thousand.
    of_each: BTreeMap<IpAddr, usize>,
    gave_way: u64,
    refused: u64,
}

impl Open {
    /// What a newcomer from this address costs.
    fn choose(&self, address: IpAddr, limits: Limits) -> Choice {
        let own = self.of_each.get(&address).copied().unwrap_or_default();
        if limits.leave_room(own, self.places.len()) {
            return Choice::Room;
        }
        let see = |(id, (address, usage)): (&u64, &(IpAddr, Arc<Use>))| Seen {
            id: *id,
            address: *address,
            last: usage.last.load(Ordering::Relaxed),
            busy: usage.is_busy(),
        };
        choose(&self.places.iter().map(see).collect::<Vec<_>>(), address, limits)
    }

    fn add(&mut self, address: IpAddr, usage: Arc<Use>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.places.insert(id, (address, usage));
        *self.of_each.entry(address).or_default() += 1;
        id
    }

    /// Takes a connection out, which may have given way before.
    fn remove(&mut self, id: u64) -> Option<Arc<Use>> {
        let (address, usage) = self.places.remove(&id)?;
        if let Entry::Occupied(mut count) = self.of_each.entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(usage)
    }
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
        match open.choose(address, self.0.limits) {
            Choice::Room => {}
            Choice::GivesWay(id) => {
                if let Some(usage) = open.remove(id) {
                    usage.cut.cancel();
                }
                open.gave_way += 1;
            }
            Choice::Full => {
                open.refused += 1;
                return Err(Full);
            }
        }
        let usage = Use { last: AtomicU64::new(now()), busy: AtomicUsize::new(0), cut: parent.child_token() };
        let usage = Arc::new(usage);
        let id = open.add(address, Arc::clone(&usage));
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
        self.admission.0.open.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_gave_way_is_counted_out_once() {
        let admission = Admission::new(Limits { of_one_address: 2, in_all: 3 });
        let parent = CancellationToken::new();
        let admit = || admission.admit(Some(Ipv4Addr::LOCALHOST.into()), &parent).unwrap();
        let [first, second, third] = [(); 3].map(|()| admit());
        assert!(first.cut().is_cancelled());
        drop(first);
        assert_eq!((admission.count(), admission.turned_away()), (2, (1, 0)));
        let fourth = admit();
        assert_eq!((admission.count(), admission.turned_away()), (2, (2, 0)));
        drop((second, third, fourth));
        let _two = [(); 2].map(|()| admit());
        assert_eq!((admission.count(), admission.turned_away()), (2, (2, 0)));
    }
}
