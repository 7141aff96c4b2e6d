//! Which version of each resource the connected proxies have acknowledged (ACK) or rejected (NACK).
//!
//! The agent answers a name only once the local Envoy can carry its traffic, which it learns here. An answer lasts as
//! long as the stream on which it arrived: without a proxy every resource is pending, and the reader decides what to do
//! then. Recording takes memory for every resource of every stream, so the pilot, which does not need it, does not
//! record.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{ResourceType, resource::is_edition_of};

/// State of one version of one resource, in the words of Envoy's client status (CSDS, `ClientResourceStatus`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AckState {
    /// Not sent, not answered, not subscribed to, or replaced by another version.
    Pending,
    /// Every open stream that subscribes to the type has acknowledged this version.
    Acked,
    /// A proxy rejected this version, with this error text.
    Nacked(String),
}

/// The answers of all open streams. Clones share them.
#[derive(Clone, Debug)]
pub struct AckStates(Arc<Shared>);

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
    acked: Option<Arc<str>>,
    nacked: Option<(Arc<str>, Arc<str>)>,
}

impl Default for AckStates {
    fn default() -> Self {
        Self(Arc::new(Shared { streams: Mutex::default(), changes: watch::Sender::new(0) }))
    }
}

impl AckStates {
    /// Proxies on open streams.
    pub fn connected(&self) -> usize {
        self.streams().open.len()
    }

    /// Number of streams that have opened.
    pub fn opened(&self) -> u64 {
        self.streams().next
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

    /// State of one version, or of what this VM has made of it. With several proxies, one NACK suffices for [`AckState::Nacked`], and [`AckState::Acked`]
    /// requires the ACK of all that subscribe to the type.
    pub fn of(&self, kind: ResourceType, name: &str, version: &str) -> AckState {
        let streams = self.streams();
        let mut state = AckState::Pending;
        for (index, answers) in streams.of(kind).enumerate() {
            match answers.get(name) {
                Some(Answer { nacked: Some((nacked, reason)), .. }) if is_edition_of(nacked, version) => {
                    return AckState::Nacked(reason.to_string());
                }
                Some(Answer { acked: Some(acked), .. }) if is_edition_of(acked, version) => {
                    if index == 0 {
                        state = AckState::Acked;
                    }
                }
                _ => state = AckState::Pending,
            }
        }
        state
    }

    /// The version in use: the one that all streams subscribed to the type acknowledged last. The rejection of a newer
    /// version does not change it.
    pub fn acked_version(&self, kind: ResourceType, name: &str) -> Option<Arc<str>> {
        let streams = self.streams();
        let mut versions = streams.of(kind).map(|answers| answers.get(name)?.acked.clone());
        let first = versions.next()??;
        versions.all(|version| version.as_deref() == Some(&first)).then_some(first)
    }

    /// A counter that increases with every change: when a stream opens, closes or subscribes, and with every answer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// For tests of readers: a proxy has acknowledged these resources. Its answers last as long as the second value.
    pub fn with_acked(resources: &[(ResourceType, &crate::Resource)]) -> (Self, impl Send + use<>) {
        let ack_states = Self::default();
        let stream = ack_states.open();
        for (kind, resource) in resources {
            stream.acked(*kind, [(Arc::clone(&resource.name), Some(Arc::clone(&resource.version)))]);
        }
        (ack_states, stream)
    }

    /// Registers a stream. Its answers are removed when the value is dropped.
    pub(crate) fn open(&self) -> StreamAckStates {
        let mut streams = self.streams();
        let id = streams.next;
        streams.next += 1;
        streams.open.insert(id, Answers::new());
        drop(streams);
        self.changed();
        StreamAckStates { ack_states: self.clone(), id }
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
pub(crate) struct StreamAckStates {
    ack_states: AckStates,
    id: u64,
}

impl StreamAckStates {
    /// The proxy asked for the type.
    pub(crate) fn subscribed(&self, kind: ResourceType) {
        self.record(|answers| {
            answers.entry(kind).or_default();
        });
    }

    /// The proxy acknowledged these versions, or, where there is none, the removal of the resource.
    pub(crate) fn acked(&self, kind: ResourceType, items: impl IntoIterator<Item = (Arc<str>, Option<Arc<str>>)>) {
        self.record(|answers| {
            let answers = answers.entry(kind).or_default();
            for (name, version) in items {
                match version {
                    Some(version) => {
                        answers.insert(name, Answer { acked: Some(version), nacked: None });
                    }
                    None => {
                        answers.remove(&name);
                    }
                }
            }
        });
    }

    /// The proxy rejected these versions and keeps those it had.
    pub(crate) fn nacked(
        &self,
        kind: ResourceType,
        items: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
        reason: &str,
    ) {
        let reason: Arc<str> = reason.into();
        self.record(|answers| {
            let answers = answers.entry(kind).or_default();
            for (name, version) in items {
                answers.entry(name).or_default().nacked = Some((version, reason.clone()));
            }
        });
    }

    fn record(&self, change: impl FnOnce(&mut Answers)) {
        if let Some(answers) = self.ack_states.streams().open.get_mut(&self.id) {
            change(answers);
        }
        self.ack_states.changed();
    }
}

impl Drop for StreamAckStates {
    fn drop(&mut self) {
        let mut streams = self.ack_states.streams();
        streams.open.remove(&self.id);
        streams.ended += 1;
        drop(streams);
        self.ack_states.changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: ResourceType = ResourceType::Listener;

    fn ack(stream: &StreamAckStates, version: &str) {
        stream.acked(KIND, [("l".into(), Some(version.into()))]);
    }

    #[test]
    fn without_a_proxy_every_version_is_pending() {
        let ack_states = AckStates::default();
        let stream = ack_states.open();
        ack(&stream, "1");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Acked);
        drop(stream);
        assert_eq!((ack_states.connected(), ack_states.subscribed(KIND)), (0, false));
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Pending);
    }

    #[test]
    fn a_refused_version_leaves_the_accepted_one_in_use() {
        let ack_states = AckStates::default();
        let stream = ack_states.open();
        ack(&stream, "1");
        stream.nacked(KIND, [("l".into(), "2".into())], "no");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Acked);
        assert_eq!(ack_states.of(KIND, "l", "2"), AckState::Nacked("no".into()));
        assert_eq!(ack_states.acked_version(KIND, "l").as_deref(), Some("1"));
        ack(&stream, "3");
        assert_eq!(ack_states.of(KIND, "l", "2"), AckState::Pending);
    }

    #[test]
    fn acceptance_takes_every_proxy_that_subscribes_in_whatever_order() {
        let ack_states = AckStates::default();
        let (first, second, other) = (ack_states.open(), ack_states.open(), ack_states.open());
        other.subscribed(ResourceType::Names);
        first.subscribed(KIND);
        ack(&second, "1");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Pending);
        assert_eq!(ack_states.acked_version(KIND, "l"), None);
        ack(&first, "1");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Acked);
        ack(&second, "2");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Pending);
        second.nacked(KIND, [("l".into(), "1".into())], "no");
        assert_eq!(ack_states.of(KIND, "l", "1"), AckState::Nacked("no".into()));
    }

    #[test]
    fn every_change_is_counted() {
        let ack_states = AckStates::default();
        let mut changes = ack_states.changes();
        changes.mark_unchanged();
        let stream = ack_states.open();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        ack(&stream, "1");
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        drop(stream);
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_resource_that_is_gone_is_forgotten() {
        let ack_states = AckStates::default();
        let stream = ack_states.open();
        ack(&stream, "1");
        stream.acked(KIND, [("l".into(), None)]);
        assert_eq!(ack_states.acked_version(KIND, "l"), None);
        assert!(ack_states.subscribed(KIND));
    }
}
