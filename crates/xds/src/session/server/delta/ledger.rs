//! What a proxy was sent of one type, and what is still to be sent.
//!
//! A ledger says: the proxy is on the way from `base` to `target`, so many steps far, with these exceptions.
//!
//! | a proxy that | begins at | with exceptions for |
//! |---|---|---|
//! | is new | nothing | names that it asks for one by one |
//! | has everything of the target | the target | nothing |
//! | comes back with a list of what it has | the target | the names in which its list differs |
//! | has a generation when the next one comes | its generation | nothing |
//!
//! The way is the lowest layer's ([`crate::way`]), and is shared with all streams that begin and end at the same one. An
//! exception is a name about which something else is known than the way says: a layer of the node's own has it, it was
//! rejected, the proxy has another version, or it is to be sent again. Such a name is sent by itself, after the way's
//! new and changed resources, and left out of the way's steps. Once everything is sent, the target becomes the base, and
//! nothing is left of the way and the exceptions. So an idle stream costs the same however many resources there are.
//!
//! Where layers are not shared, or the proxy does not subscribe to all names, there is no way, and each name that
//! differs is an exception.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    Flavour, Resource, ResourceType, TypedResources,
    content::{Content, weight},
    order::{Row, Turn},
    way::{MAX_MESSAGE, Step, Way},
};

/// What the proxy was last sent about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing since it subscribed.
    Nothing,
    /// The proxy may or may not have it: it rejected the resource together with others, or dropped one of its two
    /// subscriptions to it.
    Unsure,
    /// That the resource does not exist. This also holds for names that a wildcard subscriber was never sent.
    Absent,
    /// This version of the resource.
    Version(Arc<str>),
}

/// What a proxy is told by this version of a resource, or by the answer that there is none.
impl From<Option<Arc<str>>> for Told {
    fn from(version: Option<Arc<str>>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}

impl Told {
    fn of(resource: Option<&Arc<Resource>>) -> Self {
        resource.map(|resource| Arc::clone(&resource.version)).into()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Ledger {
    kind: ResourceType,
    target: TypedResources,
    base: TypedResources,
    /// From the lowest layer of `base` to that of `target`.
    way: Option<Arc<Way>>,
    /// How many steps of it were sent.
    sent: usize,
    /// The exceptions.
    since: BTreeMap<Arc<str>, Told>,
    /// Exceptions to send: existing resources, and the answer that a requested one does not exist.
    additions: BTreeSet<Arc<str>>,
    /// Exceptions to send as removed.
    withdrawals: BTreeSet<Arc<str>>,
}

impl Ledger {
    /// A proxy that should have `target` and has nothing.
    pub(super) fn new(kind: ResourceType, target: TypedResources) -> Self {
        Self {
            kind,
            target,
            base: TypedResources::default(),
            way: None,
            sent: 0,
            since: BTreeMap::new(),
            additions: BTreeSet::new(),
            withdrawals: BTreeSet::new(),
        }
    }

    /// What the proxy should have.
    pub(super) fn target(&self) -> &TypedResources {
        &self.target
    }

    /// What is still to be sent.
    pub(super) fn pending(&self) -> Turn {
        let (additions, all) = self.way.as_ref().map_or((0, 0), |way| (way.additions(), way.steps().len()));
        Turn {
            additions: !self.additions.is_empty() || self.sent < additions,
            withdrawals: !self.withdrawals.is_empty() || self.sent.max(additions) < all,
        }
    }

    /// What the proxy was last sent about a name.
    pub(super) fn told(&self, name: &str) -> Told {
        if let Some(told) = self.since.get(name) {
            return told.clone();
        }
        let step = self.way.as_ref().filter(|_| self.sent > 0).and_then(|way| way.step_of(name));
        match step {
            Some(step) if step < self.sent => Told::of(self.target.lowest(name)),
            _ => Told::of(self.base.get(name)),
        }
    }

    /// Whether something else is known about a name than the way says.
    pub(super) fn is_exception(&self, name: &str) -> bool {
        self.since.contains_key(name)
    }

    /// Records what the proxy was last sent about a name, or has.
    pub(super) fn note(&mut self, name: Arc<str>, told: Told) {
        self.since.insert(name, told);
    }

    /// Forgets everything about a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.additions.remove(name);
        self.withdrawals.remove(name);
        self.since.remove(name);
    }

    /// Forgets everything but these names.
    pub(super) fn forget_all_but<'n>(&mut self, names: impl Iterator<Item = &'n Arc<str>>) {
        self.since = names.map(|name| (name.clone(), self.told(name))).collect();
        self.leave_way();
        self.base = TypedResources::default();
    }

    /// Sets what the proxy should have. [`Ledger::replan`] follows.
    ///
    /// A proxy that was sent a part of the way's new and changed resources keeps its place on the way to the new target,
    /// and what has changed behind it becomes an exception.
    pub(super) fn retarget(&mut self, target: TypedResources) {
        let Some(way) = self.way.clone().filter(|_| self.sent > 0) else {
            self.leave_way();
            self.target = target;
            return;
        };
        if self.sent >= way.additions() {
            let rest = way.steps()[self.sent..].iter().flat_map(Step::names);
            rest.for_each(|name| self.except(name));
            self.base = self.base.on_lowest_of(&self.target);
            self.leave_way();
            self.target = target;
            return;
        }
        let place: Arc<str> = way.steps()[self.sent - 1].last().into();
        match (target.way_from(&self.target), target.way_from(&self.base)) {
            (Some(changes), Some(on)) => {
                let behind = changes.names().filter(|name| **name <= place);
                behind.for_each(|name| self.except(name));
                self.target = target;
                self.go_on(on, &place);
            }
            _ => {
                let behind = way.steps()[..self.sent].iter().flat_map(Step::names);
                behind.for_each(|name| self.except(name));
                self.leave_way();
                self.target = target;
            }
        }
    }

    /// Goes on with another way, after this name. The rest of a step that the name divides becomes exceptions.
    fn go_on(&mut self, way: Arc<Way>, place: &str) {
        let additions = &way.steps()[..way.additions()];
        let mut sent = additions.partition_point(|step| step.last() <= place);
        if let Some(divided) = additions.get(sent).filter(|step| step.first() <= place) {
            for name in divided.names().filter(|name| ***name > *place) {
                self.since.entry(Arc::clone(name)).or_insert_with(|| Told::of(self.base.get(name)));
            }
            sent += 1;
        }
        self.sent = sent;
        self.way = Some(way);
    }

    fn leave_way(&mut self) {
        self.way = None;
        self.sent = 0;
    }

    /// Makes a name an exception, as it is.
    fn except(&mut self, name: &Arc<str>) {
        if !self.since.contains_key(name) {
            let told = self.told(name);
            self.note(Arc::clone(name), told);
        }
    }

    /// Plans to send the way, for a subscriber of `all` names, and nothing else. Returns the names that are to be
    /// considered by themselves. Those that go `apart` are among them if the way is about them.
    pub(super) fn replan(&mut self, all: bool, apart: impl Iterator<Item = Arc<str>>) -> Vec<Arc<str>> {
        self.additions.clear();
        self.withdrawals.clear();
        if !self.target.is_known() {
            return Vec::new();
        }
        if self.way.is_none() && all {
            if !self.base.is_known() && self.since.len() > self.target.len_with_hidden() / 2 {
                self.describe_by_target();
            }
            self.way = self.target.way_from(&self.base);
        }
        let Self { target, base, .. } = &*self;
        let (changed, apart): (Vec<_>, Vec<_>) = match &self.way {
            Some(way) => {
                let hidden = target.names_above().cloned();
                let apart = hidden.chain(apart).filter(|name| way.step_of(name).is_some());
                (target.changed_above(base).into_iter().cloned().collect(), apart.collect())
            }
            None => (self.changed_names(), Vec::new()),
        };
        apart.iter().for_each(|name| self.except(name));
        changed.into_iter().chain(self.since.keys().cloned()).collect()
    }

    fn changed_names(&self) -> Vec<Arc<str>> {
        let Self { target, base, .. } = self;
        match target.way_from(base) {
            Some(way) => way.names().chain(target.changed_above(base)).cloned().collect(),
            None => target.changed_since(base).into_iter().cloned().collect(),
        }
    }

    /// The proxy has the target, but for the exceptions.
    pub(super) fn begin_at_target(&mut self) {
        self.base = self.target.clone();
        self.leave_way();
    }

    /// Describes the same proxy by what it lacks of the target, because it said that it has much.
    fn describe_by_target(&mut self) {
        for resource in self.target.iter() {
            self.since.entry(Arc::clone(&resource.name)).or_insert(Told::Absent);
        }
        let target = &self.target;
        self.since.retain(|name, told| *told != Told::of(target.get(name)));
        self.base = target.clone();
    }

    /// Plans what to send about one name, by itself.
    pub(super) fn consider(&mut self, name: Arc<str>) {
        self.additions.remove(&name);
        self.withdrawals.remove(&name);
        if self.way.is_some() {
            self.except(&name);
        }
        match (self.told(&name), self.target.get(&name)) {
            (Told::Version(told), Some(resource)) if told == resource.version => {}
            (Told::Absent, None) => {}
            (Told::Unsure | Told::Version(_), None) => {
                self.withdrawals.insert(name);
            }
            _ => {
                self.additions.insert(name);
            }
        }
        self.pass_exceptions();
    }

    /// Passes steps of which nothing is left to send.
    fn pass_exceptions(&mut self) {
        while let Some(step) = self.way.as_ref().and_then(|way| way.steps().get(self.sent))
            && step.content.len() <= self.since.len()
            && step.names().all(|name| self.since.contains_key(name))
        {
            self.sent += 1;
        }
    }

    /// Takes the next response from the plan: a step of the way; or by themselves, one name that is to be sent `alone`,
    /// or as many others as fit. What it says counts as sent.
    pub(super) fn take(&mut self, may: Turn, alone: impl Fn(&Arc<str>) -> bool) -> Option<Step> {
        if may.additions
            && may.withdrawals
            && self.sent == 0
            && let Some(both) = self.way.as_ref().and_then(|way| way.both()).cloned()
        {
            return Some(self.go(both, 2));
        }
        if may.additions
            && let Some(step) = self.next_step(|number, additions| number < additions)
        {
            return Some(step);
        }
        let names = self.take_names(may, alone);
        if !names.is_empty() {
            return Some(self.by_themselves(names));
        }
        if may.withdrawals { self.next_step(|number, additions| number >= additions) } else { None }
    }

    fn next_step(&mut self, is_due: impl Fn(usize, usize) -> bool) -> Option<Step> {
        let way = self.way.as_ref()?;
        let step = way.steps().get(self.sent).filter(|_| is_due(self.sent, way.additions()))?.clone();
        Some(self.go(step, 1))
    }

    /// Goes so many steps, which are this one, and leaves the exceptions out.
    fn go(&mut self, step: Step, steps: usize) -> Step {
        let is_whole = !self.since.keys().any(|name| step.is_about(name));
        let step = if is_whole { step } else { step.without(|name| self.since.contains_key(name)) };
        self.sent += steps;
        self.pass_exceptions();
        step
    }

    fn take_names(&mut self, may: Turn, alone: impl Fn(&Arc<str>) -> bool) -> Vec<Arc<str>> {
        let mut taken = Vec::new();
        let mut octets = 0;
        for (allowed, names) in [(may.additions, &mut self.additions), (may.withdrawals, &mut self.withdrawals)] {
            while allowed && let Some(name) = names.first() {
                let size = self.target.get(name).map_or(name.len(), |resource| weight(resource));
                let alone = alone(name);
                if !taken.is_empty() && (alone || octets + size > MAX_MESSAGE) {
                    return taken;
                }
                octets += size;
                taken.extend(names.pop_first());
                if alone {
                    return taken;
                }
            }
        }
        taken
    }

    fn by_themselves(&mut self, names: Vec<Arc<str>>) -> Step {
        let (mut resources, mut removed, mut replacing) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let resource = self.target.get(&name).cloned();
            let told = Told::of(resource.as_ref());
            match resource {
                Some(resource) => {
                    if Row::of(self.kind).is_followed() && self.told(&name) != Told::Absent {
                        replacing.push(Arc::clone(&resource));
                    }
                    resources.push(resource);
                }
                None => removed.push(Arc::clone(&name)),
            }
            self.note(name, told);
        }
        Step { content: Arc::new(Content::new(Flavour::Delta, self.kind, resources, removed)), replacing }
    }

    /// Once everything is sent, the target becomes the base.
    pub(super) fn settle(&mut self) {
        self.pass_exceptions();
        if self.target.is_known() && self.pending() == Turn::default() {
            self.base = self.target.clone();
            self.since.clear();
            self.leave_way();
        }
    }
}
