//! Who is connected, for operators.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use boshy_mesh::NodeId;

use crate::{Flavour, ProxyStatus, Rejection, ResourceType, session::News};

/// All proxies on open streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Mutex<Register>>);

#[derive(Debug, Default)]
struct Register {
    next: u64,
    open: BTreeMap<u64, ProxyStatus>,
}

impl Proxies {
    /// What is known of each, in the order of arrival.
    pub fn list(&self) -> Vec<ProxyStatus> {
        self.register().open.values().cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.register().open.len()
    }

    /// Enters a proxy until the entry is dropped.
    pub(super) fn enter(&self, node: &NodeId, flavour: Flavour) -> Entry {
        let mut register = self.register();
        let id = register.next;
        register.next += 1;
        let node = node.as_str().to_owned();
        register.open.insert(id, ProxyStatus { node, flavour, connected_since: now(), types: BTreeMap::new() });
        drop(register);
        Entry { proxies: self.clone(), id }
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One proxy's line.
#[derive(Debug)]
pub(super) struct Entry {
    proxies: Proxies,
    id: u64,
}

impl Entry {
    /// A response goes out.
    pub(super) fn sent(&self, kind: ResourceType, version: &str) {
        self.update(|proxy| proxy.types.entry(kind).or_default().sent = Some(version.to_owned()));
    }

    /// The proxy made something known. A refusal stays while anything is withheld because of one.
    pub(super) fn noted(&self, kind: ResourceType, news: &News, withheld: bool) {
        self.update(|proxy| {
            let status = proxy.types.entry(kind).or_default();
            match news {
                News::Accepted { version: Some(version), .. } => {
                    status.accepted = Some(version.to_string());
                    if !withheld {
                        status.rejected = None;
                    }
                }
                News::Refused { version, reason, .. } => {
                    status.rejected =
                        Some(Rejection { version: version.to_string(), reason: reason.to_string(), at: now() });
                }
                News::Subscribed | News::Accepted { version: None, .. } => {}
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut ProxyStatus)) {
        if let Some(proxy) = self.proxies.register().open.get_mut(&self.id) {
            change(proxy);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.proxies.register().open.remove(&self.id);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
