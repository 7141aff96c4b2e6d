//! Caches rendered responses, each together with the snapshot it was rendered from.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_web::web::Bytes;
use boshy_mesh::MeshSnapshot;
use hashlink::LruCache;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tokio::sync::watch;

use super::documents::Document;

/// Octets of all bodies and URLs of one generation: about twenty sidecars' listeners in a mesh of five thousand
/// services.
const MAX_BYTES: usize = 64 << 20;
/// Number of URLs with statistics.
const MAX_URLS: usize = 4096;
/// Length in octets of the longest URL that is cached.
const MAX_URL: usize = 2048;

/// Responses by URL.
pub(super) struct ResponseCache {
    snapshots: watch::Receiver<Arc<MeshSnapshot>>,
    current: Mutex<Arc<Generation>>,
    statistics: Mutex<LruCache<String, Counts>>,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
}

/// A snapshot and the responses rendered from it.
pub(super) struct Generation {
    pub(super) snapshot: Arc<MeshSnapshot>,
    responses: Mutex<Responses>,
}

struct Responses {
    by_url: LruCache<String, Bytes>,
    bytes: usize,
}

/// Cache misses and hits of one URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) hit: u64,
    pub(super) miss: u64,
}

impl ResponseCache {
    pub(super) fn new(snapshots: watch::Receiver<Arc<MeshSnapshot>>) -> Self {
        let current = Mutex::new(Arc::new(Generation::new(snapshots.borrow().clone())));
        Self {
            snapshots,
            current,
            statistics: Mutex::new(LruCache::new(MAX_URLS)),
            hits: Counter::default(),
            misses: Counter::default(),
        }
    }

    /// The generation of the newest snapshot.
    pub(super) fn current(&self) -> Arc<Generation> {
        let mut current = locked(&self.current);
        let newest = self.snapshots.borrow();
        if !Arc::ptr_eq(&current.snapshot, &newest) {
            *current = Arc::new(Generation::new(newest.clone()));
        }
        current.clone()
    }

    /// The body for a URL: the one stored in this generation, else a new one. Only a body with at least one resource is
    /// stored.
    pub(super) fn respond(
        &self,
        generation: &Generation,
        url: String,
        render: impl FnOnce(&MeshSnapshot) -> Document,
    ) -> Bytes {
        if let Some(body) = locked(&generation.responses).get(&url) {
            self.hits.inc();
            self.count(url, |counts| counts.hit += 1);
            return body;
        }
        let document = render(&generation.snapshot);
        if document.resources > 0 && locked(&generation.responses).store(&url, &document.body) {
            self.misses.inc();
            self.count(url, |counts| counts.miss += 1);
        }
        document.body
    }

    /// Counts by URL.
    pub(super) fn statistics(&self) -> BTreeMap<String, Counts> {
        locked(&self.statistics).iter().map(|(url, counts)| (url.clone(), *counts)).collect()
    }

    /// Sets all counts to zero; URLs and responses stay.
    pub(super) fn reset_statistics(&self) {
        locked(&self.statistics).iter_mut().for_each(|(_, counts)| *counts = Counts::default());
    }

    /// Octets that the current generation holds.
    pub(super) fn bytes(&self) -> usize {
        locked(&self.current().responses).bytes
    }

    fn count(&self, url: String, change: impl FnOnce(&mut Counts)) {
        change(locked(&self.statistics).entry(url).or_insert_with(Counts::default));
    }
}

impl Generation {
    fn new(snapshot: Arc<MeshSnapshot>) -> Self {
        Self { snapshot, responses: Mutex::new(Responses { by_url: LruCache::new_unbounded(), bytes: 0 }) }
    }
}

impl Responses {
    fn get(&mut self, url: &str) -> Option<Bytes> {
        self.by_url.get(url).cloned()
    }

    /// Stores a body. Returns whether it was stored.
    fn store(&mut self, url: &str, body: &Bytes) -> bool {
        let weight = url.len() + body.len();
        if url.len() > MAX_URL || weight > MAX_BYTES {
            return false;
        }
        if let Some(old) = self.by_url.insert(url.to_owned(), body.clone()) {
            self.bytes -= url.len() + old.len();
        }
        self.bytes += weight;
        while self.bytes > MAX_BYTES {
            let Some((url, body)) = self.by_url.remove_lru() else { break };
            self.bytes -= url.len() + body.len();
        }
        true
    }
}

/// The value is consistent after a panic: every change under these locks is a single insertion or a counter.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
