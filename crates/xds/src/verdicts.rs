//! The verdicts of the connected proxies on each resource.
//!
//! The agent answers a name only once the local Envoy can carry its traffic, which it learns here. A verdict lasts as
//! long as the stream on which it arrived: without a proxy there are no verdicts, and the reader decides what to do
//! then. Recording takes memory for every resource of every stream, so the pilot, which does not need it, does not
//! record.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::ResourceType;

/// Verdict on one version of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not sent, not answered, not subscribed to, or replaced by another version.
    Pending,
    /// Every open stream that subscribes to the type has acknowledged this version.
    Accepted,
    /// A proxy rejected this version, with this error text.
    Rejected(String),
}

/// Verdicts of all open streams. Clones share them.
#[derive(Clone, Debug)]
pub struct Verdicts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    streams: Mutex<Streams>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    ended: u64,
    open: BTreeMap<u64, Answers>,
}

/// One stream's answers by subscribed type.
type Answers = BTreeMap<ResourceType, HashMap<Arc<str>, Answer>>;

#[derive(Debug, Default)]
struct Answer {
    accepted: Option<Arc<str>>,
    rejected: Option<(Arc<str>, Arc<str>)>,
}

impl Default for Verdicts {
    fn default() -> Self {
        Self(Arc::new(Shared { streams: Mutex::default(), changes: watch::Sender::new(0) }))
    }
}

impl Verdicts {
    /// Proxies on open streams.
    pub fn connected(&self) -> usize {
        self.streams().open.len()
    }

    /// Number of streams that have opened, plus the number that have ended.
    pub fn opened_and_ended(&self) -> u64 {
        let streams = self.streams();
        streams.next + streams.ended
    }

    /// Whether any open stream has asked for the type.
    pub fn subscribed(&self, kind: ResourceType) -> bool {
        self.streams().open.values().any(|answers| answers.contains_key(&kind))
    }

    /// The verdict on one version. With several proxies, one rejection suffices to reject, and acceptance requires all
    /// that subscribe to the type.
    pub fn of(&self, kind: ResourceType, name: &str, version: &str) -> Verdict {
        let streams = self.streams();
        let mut verdict = Verdict::Pending;
        for (index, answers) in streams.of(kind).enumerate() {
            match answers.get(name) {
                Some(Answer { rejected: Some((refused, reason)), .. }) if **refused == *version => {
                    return Verdict::Rejected(reason.to_string());
                }
                Some(Answer { accepted: Some(accepted), .. }) if **accepted == *version => {
                    if index == 0 {
                        verdict = Verdict::Accepted;
                    }
                }
                _ => verdict = Verdict::Pending,
            }
        }
        verdict
    }

    /// The version in use: the one that all streams subscribed to the type acknowledged last. The rejection of a newer
    /// version does not change it.
    pub fn accepted_version(&self, kind: ResourceType, name: &str) -> Option<Arc<str>> {
        let streams = self.streams();
        let mut versions = streams.of(kind).map(|answers| answers.get(name)?.accepted.clone());
        let first = versions.next()??;
        versions.all(|version| version.as_deref() == Some(&first)).then_some(first)
    }

    /// A counter that increases with every change: when a stream opens, closes or subscribes, and with every answer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// For tests of readers: verdicts of a proxy that has accepted one resource. They last as long as the second value.
    pub fn saying_accepted(kind: ResourceType, resource: &crate::Resource) -> (Self, impl Send + use<>) {
        let verdicts = Self::default();
        let stream = verdicts.open();
        stream.accepted(kind, [(Arc::clone(&resource.name), Some(Arc::clone(&resource.version)))]);
        (verdicts, stream)
    }

    /// Registers a stream. Its answers are removed when the value is dropped.
    pub(crate) fn open(&self) -> StreamVerdicts {
        let mut streams = self.streams();
        let id = streams.next;
        streams.next += 1;
        streams.open.insert(id, Answers::new());
        drop(streams);
        self.changed();
        StreamVerdicts { verdicts: self.clone(), id }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }
}

impl Streams {
    fn of(&self, kind: ResourceType) -> impl Iterator<Item = &HashMap<Arc<str>, Answer>> {
        self.open.values().filter_map(move |answers| answers.get(&kind))
    }
}

/// Records the answers of one stream.
#[derive(Debug)]
pub(crate) struct StreamVerdicts {
    verdicts: Verdicts,
    id: u64,
}

impl StreamVerdicts {
    /// The proxy asked for the type.
    pub(crate) fn subscribed(&self, kind: ResourceType) {
        self.record(|answers| {
            answers.entry(kind).or_default();
        });
    }

    /// The proxy acknowledged these versions, or, where there is none, the removal of the resource.
    pub(crate) fn accepted(&self, kind: ResourceType, items: impl IntoIterator<Item = (Arc<str>, Option<Arc<str>>)>) {
        self.record(|answers| {
            let answers = answers.entry(kind).or_default();
            for (name, version) in items {
                match version {
                    Some(version) => {
                        answers.insert(name, Answer { accepted: Some(version), rejected: None });
                    }
                    None => {
                        answers.remove(&name);
                    }
                }
            }
        });
    }

    /// The proxy rejected these versions and keeps those it had.
    pub(crate) fn rejected(
        &self,
        kind: ResourceType,
        items: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        reason: &str,
    ) {
        let reason: Arc<str> = reason.into();
        self.record(|answers| {
            let answers = answers.entry(kind).or_default();
            for (name, version) in items {
                answers.entry(name).or_default().rejected = Some((version, reason.clone()));
            }
        });
    }

    fn record(&self, change: impl FnOnce(&mut Answers)) {
        if let Some(answers) = self.verdicts.streams().open.get_mut(&self.id) {
            change(answers);
        }
        self.verdicts.changed();
    }
}

impl Drop for StreamVerdicts {
    fn drop(&mut self) {
        let mut streams = self.verdicts.streams();
        streams.open.remove(&self.id);
        streams.ended += 1;
        drop(streams);
        self.verdicts.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ResourceType = ResourceType::Listener;

    fn accept(stream: &StreamVerdicts, version: &str) {
        stream.accepted(KIND, [("l".into(), Some(version.into()))]);
    }

    #[test]
    fn without_a_proxy_there_is_no_verdict() {
        let verdicts = Verdicts::default();
        let stream = verdicts.open();
        accept(&stream, "1");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Accepted);
        drop(stream);
        assert_eq!((verdicts.connected(), verdicts.subscribed(KIND)), (0, false));
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Pending);
    }

    #[test]
    fn a_refused_version_leaves_the_accepted_one_in_use() {
        let verdicts = Verdicts::default();
        let stream = verdicts.open();
        accept(&stream, "1");
        stream.rejected(KIND, [("l".into(), "2".into())], "no");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Accepted);
        assert_eq!(verdicts.of(KIND, "l", "2"), Verdict::Rejected("no".into()));
        assert_eq!(verdicts.accepted_version(KIND, "l").as_deref(), Some("1"));
        accept(&stream, "3");
        assert_eq!(verdicts.of(KIND, "l", "2"), Verdict::Pending);
    }

    #[test]
    fn acceptance_takes_every_proxy_that_subscribes_in_whatever_order() {
        let verdicts = Verdicts::default();
        let (first, second, other) = (verdicts.open(), verdicts.open(), verdicts.open());
        other.subscribed(ResourceType::Names);
        first.subscribed(KIND);
        accept(&second, "1");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Pending);
        assert_eq!(verdicts.accepted_version(KIND, "l"), None);
        accept(&first, "1");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Accepted);
        accept(&second, "2");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Pending);
        second.rejected(KIND, [("l".into(), "1".into())], "no");
        assert_eq!(verdicts.of(KIND, "l", "1"), Verdict::Rejected("no".into()));
    }

    #[test]
    fn every_change_is_counted() {
        let verdicts = Verdicts::default();
        let mut changes = verdicts.changes();
        changes.mark_unchanged();
        let stream = verdicts.open();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        accept(&stream, "1");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        drop(stream);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_resource_that_is_gone_is_forgotten() {
        let verdicts = Verdicts::default();
        let stream = verdicts.open();
        accept(&stream, "1");
        stream.accepted(KIND, [("l".into(), None)]);
        assert_eq!(verdicts.accepted_version(KIND, "l"), None);
        assert!(verdicts.subscribed(KIND));
    }
}
