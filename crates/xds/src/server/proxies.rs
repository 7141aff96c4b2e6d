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

/// Observers are notified only of what they wait for: an accepted generation, and a proxy that disconnected.
#[derive(Debug, Default)]
struct Register {
    next: u64,
    open: BTreeMap<u64, Line>,
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
        let newcomer = changes.borrow().next;
        let accepted = |register: &Register| register.open.range(..newcomer).all(|(_, line)| line.has(generation));
        changes.wait_for(accepted).await.map_or(0, |register| register.open.range(..newcomer).count())
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
    pub(super) fn sent(&self, kind: ResourceType, version: &str) {
        self.update(|proxy| proxy.types.entry(kind).or_default().sent = Some(version.to_owned()));
    }

    /// Records what the proxy reported. A rejection stays as long as a resource is withheld because of one.
    pub(super) fn reported(&self, kind: ResourceType, report: &ProxyReport, withheld: bool) {
        self.update(|proxy| {
            let status = proxy.types.entry(kind).or_default();
            match report {
                ProxyReport::Acked { version: Some(version), .. } => {
                    status.accepted = Some(version.to_string());
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
            let line = register.open.get_mut(&self.id);
            line.map(|line| (line.refusing, line.generation) = (refusing, generation)).is_some()
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
        self.proxies.register.send_if_modified(|register| register.open.remove(&self.id).is_some());
    }
}
