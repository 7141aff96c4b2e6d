//! The way from one layer to another: what a proxy that has the one is sent until it has the other.
//!
//! ```text
//!   layer of generation 41 ── step ── step ── step │ step ──> layer of generation 42
//!     (or nothing)            new and changed,     │ names that
//!                             by name              │ are gone
//! ```
//!
//! A way belongs to no stream. It is found once for all streams that begin and end at the same layers, and each of its
//! steps is a response's content, which is encoded once. A stream only remembers how many steps it was sent.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::{
    Digest, Flavour, Resource, ResourceMap, ResourceType,
    content::{Content, weight},
    order::Row,
};

/// Maximum size in octets of a response that one stream is sent; a single larger resource is sent alone.
pub(crate) const MAX_MESSAGE: usize = 32 << 10;

/// The same for a response that many streams are sent. Its octets exist once, so only their number counts: a response
/// costs each stream its frames, an answer, and a place in the queue of its connection.
pub(crate) const SHARED_MESSAGE: usize = 128 << 10;

/// Octets that the name of a resource takes at most, near enough: it is a host name with little around it.
const LONGEST_NAME: usize = 512;

/// Ways to one layer that are kept. Most streams begin at nothing or at the generation before.
const KEPT: usize = 4;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Way {
    steps: Vec<Step>,
    additions: usize,
    /// Both steps of a way that has one of each kind, in one response, where they fit.
    both: Option<Step>,
}

/// One response on a way.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What it says, ordered by name: either resources or removed names.
    pub(crate) content: Arc<Content>,
    /// Those of its resources that the beginning of the way has in another version.
    pub(crate) replacing: Vec<Arc<Resource>>,
}

impl Way {
    /// The way from one state of a type to another, in steps of this many octets at most.
    pub(crate) fn between(kind: ResourceType, largest: usize, from: &ResourceMap, to: &ResourceMap) -> Self {
        let mut making =
            Making { kind, largest, steps: Vec::new(), resources: Vec::new(), replacing: Vec::new(), octets: 0 };
        let mut gone = Vec::new();
        compare(from, to, |old, new| match new {
            Some(new) => making.add(new, old.is_some()),
            None => gone.extend(old.map(|old| Arc::clone(&old.name))),
        });
        making.end();
        let additions = making.steps.len();
        let per_step = if Row::of(kind).alone { 1 } else { largest.div_ceil(LONGEST_NAME) };
        making.steps.extend(gone.chunks(per_step).map(|names| Step::new(kind, Vec::new(), names.to_vec(), Vec::new())));
        let both = Step::both(&making.steps, additions, largest);
        Self { steps: making.steps, additions, both }
    }

    /// The whole way in one response, for a proxy that may be sent what is new and what is gone at the same time.
    pub(crate) fn both(&self) -> Option<&Step> {
        self.both.as_ref()
    }

    /// The steps, those with new and changed resources first.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Number of steps with new and changed resources.
    pub(crate) fn additions(&self) -> usize {
        self.additions
    }

    /// Number of the step that is about a name.
    pub(crate) fn step_of(&self, name: &str) -> Option<usize> {
        let (additions, withdrawals) = self.steps.split_at(self.additions);
        let find = |steps: &[Step]| {
            let place = steps.partition_point(|step| step.last() < name);
            steps.get(place).is_some_and(|step| step.is_about(name)).then_some(place)
        };
        find(additions).or_else(|| find(withdrawals).map(|place| self.additions + place))
    }

    /// All names that it is about.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.steps.iter().flat_map(Step::names)
    }
}

impl Step {
    fn new(
        kind: ResourceType,
        resources: Vec<Arc<Resource>>,
        removed: Vec<Arc<str>>,
        replacing: Vec<Arc<Resource>>,
    ) -> Self {
        Self { content: Arc::new(Content::new(Flavour::Delta, kind, resources, removed).shared()), replacing }
    }

    fn both(steps: &[Self], additions: usize, largest: usize) -> Option<Self> {
        let ([new, gone], 1) = (steps, additions) else { return None };
        let Content { kind, resources, .. } = &*new.content;
        let octets = resources.iter().map(|resource| weight(resource)).sum::<usize>()
            + gone.content.removed.len() * LONGEST_NAME;
        let is_alone = Row::of(*kind).alone || octets > largest;
        (!is_alone).then(|| Self::new(*kind, resources.clone(), gone.content.removed.clone(), new.replacing.clone()))
    }

    /// Its names in order.
    pub(crate) fn names(&self) -> impl DoubleEndedIterator<Item = &Arc<str>> {
        self.content.resources.iter().map(|resource| &resource.name).chain(&self.content.removed)
    }

    /// The first of its names.
    pub(crate) fn first(&self) -> &str {
        self.names().next().map_or("", |name| name)
    }

    /// The last of its names.
    pub(crate) fn last(&self) -> &str {
        self.names().next_back().map_or("", |name| name)
    }

    /// Whether a name is among its names.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        let Content { resources, removed, .. } = &*self.content;
        resources.binary_search_by(|resource| (*resource.name).cmp(name)).is_ok()
            || removed.binary_search_by(|removed| (**removed).cmp(name)).is_ok()
    }

    /// The step without some names.
    pub(crate) fn without(&self, is_left_out: impl Fn(&str) -> bool) -> Self {
        let stays = |resource: &&Arc<Resource>| !is_left_out(&resource.name);
        let Content { flavour, kind, resources, removed, .. } = &*self.content;
        let resources = resources.iter().filter(stays).cloned().collect();
        let removed = removed.iter().filter(|name| !is_left_out(name)).cloned().collect();
        let replacing = self.replacing.iter().filter(stays).cloned().collect();
        Self { content: Arc::new(Content::new(*flavour, *kind, resources, removed)), replacing }
    }
}

/// Steps in the making.
struct Making {
    kind: ResourceType,
    largest: usize,
    steps: Vec<Step>,
    resources: Vec<Arc<Resource>>,
    replacing: Vec<Arc<Resource>>,
    octets: usize,
}

impl Making {
    fn add(&mut self, resource: &Arc<Resource>, replaces: bool) {
        let octets = weight(resource);
        if Row::of(self.kind).alone || self.octets + octets > self.largest {
            self.end();
        }
        self.octets += octets;
        self.resources.push(Arc::clone(resource));
        if replaces {
            self.replacing.push(Arc::clone(resource));
        }
    }

    fn end(&mut self) {
        if !self.resources.is_empty() {
            let (resources, replacing) = (std::mem::take(&mut self.resources), std::mem::take(&mut self.replacing));
            self.steps.push(Step::new(self.kind, resources, Vec::new(), replacing));
        }
        self.octets = 0;
    }
}

/// The ways to one layer that streams share.
#[derive(Debug)]
pub(crate) struct Ways {
    kind: ResourceType,
    largest: usize,
    /// The digest of the layer, once it was needed.
    pub(crate) digest: OnceLock<Digest>,
    /// By the version of the layer at which they begin, the latest last.
    kept: Mutex<VecDeque<(Arc<str>, Arc<Way>)>>,
}

impl Ways {
    /// Ways in steps of this many octets at most.
    pub(crate) fn new(kind: ResourceType, largest: usize) -> Self {
        Self { kind, largest, digest: OnceLock::new(), kept: Mutex::default() }
    }

    /// The way from resources of a version to these.
    pub(crate) fn from(&self, version: &Arc<str>, from: &ResourceMap, to: &ResourceMap) -> Arc<Way> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, way)) = kept.iter().find(|(begins, _)| begins == version) {
            return Arc::clone(way);
        }
        let way = Arc::new(Way::between(self.kind, self.largest, from, to));
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((Arc::clone(version), Arc::clone(&way)));
        way
    }
}

/// Reports each name in which two states differ, with its old and its new resource, in the order of names.
pub(crate) fn compare<'r>(
    old: &'r ResourceMap,
    new: &'r ResourceMap,
    mut differ: impl FnMut(Option<&'r Arc<Resource>>, Option<&'r Arc<Resource>>),
) {
    let (mut new, mut old) = (new.values().peekable(), old.values().peekable());
    loop {
        let order = match (new.peek(), old.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(new), Some(old)) if Arc::ptr_eq(new, old) => Ordering::Equal,
            (Some(new), Some(old)) => new.name.cmp(&old.name),
        };
        let (ours, theirs) =
            (if order.is_le() { new.next() } else { None }, if order.is_ge() { old.next() } else { None });
        if ours.map(|ours| &ours.version) != theirs.map(|theirs| &theirs.version) {
            differ(theirs, ours);
        }
    }
}
