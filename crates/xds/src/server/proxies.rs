//! The connected proxies, for operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::{Flavour, Peer, ProxyStatus, Rejection, ResourceType, session::server::ProxyReport};

/// All proxies on open streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    register: Arc<watch::Sender<Register>>,
    /// Counts the changes of what [`Proxies::able`] returns.
    able: Arc<watch::Sender<u64>>,
    refused: Arc<AtomicU64>,
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
    /// The instance that its certificate names.
    instance: Option<Arc<str>>,
    /// Whether it accepts tunnels to that instance.
    able: bool,
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

    /// Ids of the instances whose proxies are connected and accept tunnels.
    pub fn able(&self) -> BTreeSet<String> {
        let register = self.register.borrow();
        let able = register.open.values().filter(|line| line.able).filter_map(|line| line.instance.as_deref());
        able.map(str::to_owned).collect()
    }

    /// Changes whenever [`able`](Self::able) may return something else. It is computed for who asks, because a
    /// whole fleet may connect within a moment.
    pub fn able_changes(&self) -> watch::Receiver<u64> {
        self.able.subscribe()
    }

    /// Registers a proxy until the entry is dropped.
    pub(super) fn enter(&self, peer: &Peer, flavour: Flavour) -> Entry {
        let status = ProxyStatus::new(peer, flavour, now());
        let instance = peer.workload().map(|workload| Arc::from(workload.instance()));
        let mut id = 0;
        self.register.send_if_modified(|register| {
            id = register.next;
            register.next += 1;
            register.open.insert(id, Line { status, generation: 0, refusing: false, instance, able: false });
            false
        });
        Entry { proxies: self.clone(), id, generation: 0, refusing: false, able: false }
    }
}

/// The entry of one proxy.
#[derive(Debug)]
pub(super) struct Entry {
    proxies: Proxies,
    id: u64,
    generation: u64,
    refusing: bool,
    able: bool,
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
                    status.rejected =
                        Some(Rejection { version: version.to_string(), reason: reason.to_string(), at: now() });
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

    /// Records whether the proxy accepts tunnels to its instance.
    pub(super) fn accepts_tunnels(&mut self, able: bool) {
        if std::mem::replace(&mut self.able, able) == able {
            return;
        }
        self.proxies.register.send_if_modified(|register| {
            register.open.get_mut(&self.id).into_iter().for_each(|line| line.able = able);
            false
        });
        self.proxies.able.send_modify(|changes| *changes += 1);
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
        self.accepts_tunnels(false);
        self.proxies.register.send_if_modified(|register| register.open.remove(&self.id).is_some());
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of day, which operators are shown")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{SpiffeId, TrustDomain};

    use super::*;
    use crate::{Identity, WorkloadIdentity};

    fn peer(instance: &str) -> Peer {
        let domain = TrustDomain::default();
        let dns_name = domain.instance_name(instance).unwrap().into();
        let workload = WorkloadIdentity { spiffe_id: SpiffeId::new(&domain, "d", "g").unwrap(), dns_name };
        let identity = Identity { subject: "".into(), workload: Some(workload) };
        Peer { node: "sidecar~10.0.0.2~x~x".parse().unwrap(), identity: Some(identity) }
    }

    fn able(proxies: &Proxies) -> Vec<String> {
        proxies.able().into_iter().collect()
    }

    #[test]
    fn an_instance_is_able_while_a_proxy_of_it_accepts_tunnels() {
        let proxies = Proxies::default();
        let mut changes = proxies.able_changes();
        let mut old = proxies.enter(&peer("a"), Flavour::Delta);
        let mut other = proxies.enter(&peer("b"), Flavour::Delta);
        assert!(able(&proxies).is_empty() && !changes.has_changed().unwrap());
        old.accepts_tunnels(true);
        other.accepts_tunnels(true);
        assert_eq!(able(&proxies), ["a", "b"]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        other.accepts_tunnels(true);
        assert!(!changes.has_changed().unwrap(), "nothing has changed");

        let mut new = proxies.enter(&peer("a"), Flavour::Delta);
        new.accepts_tunnels(true);
        drop(old);
        assert_eq!(able(&proxies), ["a", "b"], "its agent has connected again");
        drop((new, other));
        assert!(able(&proxies).is_empty() && changes.has_changed().unwrap());
    }
}
