//! The connected proxies, for operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use crate::{Flavour, Peer, ProxyStatus, Rejection, ResourceType, clock, session::server::ProxyReport};

/// All proxies on open streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    register: Arc<watch::Sender<Register>>,
    refused: Arc<AtomicU64>,
    /// The latest version of the shared table of leases that a proxy knew, and when one said so first.
    table: Arc<Mutex<Option<(u64, u64)>>>,
}

/// Observers are notified of the proxies that they wait for, one at a time: each wait costs as much as all proxies, and
/// the observer's thread must be woken.
#[derive(Debug, Default)]
struct Register {
    next: u64,
    open: BTreeMap<u64, Line>,
    /// A proxy of each wait that has kept it waiting.
    awaited: BTreeSet<u64>,
}

impl Register {
    /// How many of the proxies that came before `newcomer` have all accepted a generation; `None` while one has not,
    /// which is awaited then.
    fn accepted(&mut self, newcomer: u64, generation: u64) -> Option<usize> {
        // Streams learn of a generation about in the order in which they came, so the last one says most.
        match self.open.range(..newcomer).rev().find(|(_, line)| !line.has(generation)) {
            Some((behind, _)) => {
                self.awaited.insert(*behind);
                None
            }
            None => Some(self.open.range(..newcomer).count()),
        }
    }
}

#[derive(Debug)]
struct Line {
    status: ProxyStatus,
    generation: u64,
    /// Whether it rejects a part of its resources.
    refusing: bool,
}

impl Line {
    fn has(&self, generation: u64) -> bool {
        self.generation >= generation && !self.refusing
    }
}

impl Proxies {
    /// Status of each proxy, in order of arrival.
    pub fn list(&self) -> Vec<ProxyStatus> {
        self.register.borrow().open.values().map(|line| line.status.clone()).collect()
    }

    /// Number of streams that were refused because a node id contradicts the certificate.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The latest version of the table of leases that pilots share, by what proxies said, and when one said so first, in
    /// seconds since the Unix epoch. `None` when none said any.
    pub fn latest_table(&self) -> Option<(u64, u64)> {
        *self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn knows(&self, table: u64) {
        let mut latest = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_none_or(|(latest, _)| latest < table) {
            *latest = Some((table, clock::now().0));
        }
    }

    /// Number of connected proxies.
    pub fn count(&self) -> usize {
        self.register.borrow().open.len()
    }

    /// Number of proxies that have not accepted a generation of the mesh completely, or have rejected a part of it
    /// since.
    pub fn behind(&self, generation: u64) -> usize {
        self.register.borrow().open.values().filter(|line| !line.has(generation)).count()
    }

    /// The oldest generation of the mesh that a connected proxy has accepted completely, 0 for one that has accepted
    /// none. `None` when no proxy is connected.
    pub fn oldest(&self) -> Option<u64> {
        self.register.borrow().open.values().map(|line| line.generation).min()
    }

    /// Waits until every proxy that is connected now has accepted a generation of the mesh completely or has
    /// disconnected. Returns how many have accepted it. A proxy for which nothing changed has accepted once that is
    /// known. A proxy that rejects a part has not accepted.
    pub async fn accepted(&self, generation: u64) -> usize {
        let mut changes = self.register.subscribe();
        let newcomer = changes.borrow_and_update().next;
        loop {
            let mut accepted = None;
            self.register.send_if_modified(|register| {
                accepted = register.accepted(newcomer, generation);
                false
            });
            if let Some(accepted) = accepted {
                return accepted;
            }
            if changes.changed().await.is_err() {
                return 0;
            }
        }
    }

    /// Ids of the instances whose certificates the connected proxies have shown.
    pub fn instances(&self) -> BTreeSet<String> {
        let register = self.register.borrow();
        let identities = register.open.values().filter_map(|line| line.status.tls.as_ref());
        identities.filter_map(|identity| Some(identity.workload.as_ref()?.instance().to_owned())).collect()
    }

    /// Registers a proxy until the entry is dropped.
    pub(super) fn enter(&self, peer: &Peer, flavour: Flavour) -> Entry {
        let status = ProxyStatus::new(peer, flavour, clock::now().0);
        let mut id = 0;
        self.register.send_if_modified(|register| {
            id = register.next;
            register.next += 1;
            register.open.insert(id, Line { status, generation: 0, refusing: false });
            false
        });
        Entry { proxies: self.clone(), id, generation: 0, refusing: false }
    }
}

/// The entry of one proxy.
#[derive(Debug)]
pub(super) struct Entry {
    proxies: Proxies,
    id: u64,
    generation: u64,
    refusing: bool,
}

impl Entry {
    /// Records a response that is sent.
    pub(super) fn sent(&self, kind: ResourceType, version: &Arc<str>) {
        self.update(|proxy| proxy.types.entry(kind).or_default().sent = Some(Arc::clone(version)));
    }

    /// Records what the proxy reported. A rejection stays as long as a resource is withheld because of one.
    pub(super) fn reported(&self, kind: ResourceType, report: &ProxyReport, withheld: bool) {
        self.update(|proxy| {
            let status = proxy.types.entry(kind).or_default();
            match report {
                ProxyReport::Acked { version: Some(version), .. } => {
                    status.accepted = Some(Arc::clone(version));
                    if !withheld {
                        status.rejected = None;
                    }
                }
                ProxyReport::Nacked { version, reason, .. } => {
                    status.rejected = Some(Rejection {
                        version: version.to_string(),
                        reason: reason.to_string(),
                        at: clock::now().0,
                    });
                }
                ProxyReport::Subscribed | ProxyReport::Acked { version: None, .. } => {}
            }
        });
    }

    /// Records whether the proxy rejects a part of its resources, and the generation that it has accepted otherwise, if
    /// known.
    pub(super) fn stands(&mut self, refusing: bool, accepted: Option<u64>) {
        let generation = accepted.unwrap_or(self.generation);
        if (refusing, generation) == (self.refusing, self.generation) {
            return;
        }
        (self.refusing, self.generation) = (refusing, generation);
        self.proxies.register.send_if_modified(|register| {
            if let Some(line) = register.open.get_mut(&self.id) {
                (line.refusing, line.generation) = (refusing, generation);
            }
            register.awaited.remove(&self.id)
        });
    }

    fn update(&self, change: impl FnOnce(&mut ProxyStatus)) {
        self.proxies.register.send_if_modified(|register| {
            if let Some(line) = register.open.get_mut(&self.id) {
                change(&mut line.status);
            }
            false
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.proxies.register.send_if_modified(|register| {
            register.open.remove(&self.id);
            register.awaited.remove(&self.id)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        net::{IpAddr, Ipv4Addr},
        pin::pin,
        sync::atomic::AtomicUsize,
        task::{Context, Poll, Wake, Waker},
    };

    use boshy_mesh::NodeId;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wait_is_woken_only_by_the_proxy_that_keeps_it_waiting() {
        let proxies = Proxies::default();
        let peer = |number| Peer {
            node: NodeId::sidecar(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)), "vm", "tests"),
            identity: None,
        };
        let mut entries: Vec<Entry> = (1..=5).map(|number| proxies.enter(&peer(number), Flavour::Delta)).collect();
        let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let wakers = woken.clone().map(Waker::from);
        let count = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        let mut both = [pin!(proxies.accepted(1)), pin!(proxies.accepted(1))];
        let mut poll = |number: usize| both[number].as_mut().poll(&mut Context::from_waker(&wakers[number]));
        assert_eq!([poll(0), poll(1)], [Poll::Pending; 2]);
        let late = proxies.enter(&peer(6), Flavour::Delta);
        for number in [0, 1, 2] {
            entries[number].stands(false, Some(1));
        }
        assert_eq!(count(), [0, 0], "both wait for the last one");
        entries[4].stands(false, Some(1));
        assert_eq!(count(), [1, 1]);
        assert_eq!([poll(0), poll(1)], [Poll::Pending; 2]);
        // One that has accepted refuses a part, and the one that is awaited leaves.
        entries[0].stands(true, None);
        drop(entries.remove(3));
        assert_eq!(count(), [2, 2]);
        assert_eq!([poll(0), poll(1)], [Poll::Pending; 2]);
        entries[0].stands(false, None);
        assert_eq!([poll(0), poll(1)], [Poll::Ready(4); 2], "newcomers are not waited for");
        drop(late);
    }
}
