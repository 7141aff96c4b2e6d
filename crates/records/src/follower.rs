//! Which endpoints of a service an agent uses, by the pilot's word and the `records.json` of its own VM. Pure.
//!
//! The pilot's word counts, and what the file has changed since it was given. While a pilot is connected, a change of
//! the file is [`GRACE`] younger than the pilot's word at most, because the pilot has such a file as well. So the state
//! of the file from which changes count, the base, follows after that time. While no pilot is connected, it stays.
//!
//! | | with a pilot | without one |
//! |---|---|---|
//! | an address that has become another group's | is not used | is not used |
//! | an instance that has moved, is gone or is new | the pilot says so | it is followed |
//!
//! An address has become another group's when it is in the file now, and was the group's in any state since the base: a
//! service may be younger than that.
//!
//! Before a pilot has spoken in this process, its word is one that an earlier process has kept, and the file may have
//! changed since. Then no address is used that is another group's, and a service of which the file lists no endpoint has
//! those that it lists for the group. The last address of a service stays, unless it is another's.
//!
//! A service is recognized by its name, which consists of those of job, group and deployment as the file has them.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use boshy_mesh::Moment;

use crate::{GRACE, Place, View};

/// States of the file between the base and now. With more, the oldest of them are forgotten.
const MAX_LATER: usize = 32;
/// How long no pilot is connected before an agent follows the file: an agent that changes to another pilot need not.
pub const ALONE: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Follower {
    /// At first the first state of the file.
    base: Option<Arc<View>>,
    now: Option<Arc<View>>,
    /// Later states than the base.
    later: VecDeque<Later>,
    pilot: Pilot,
    /// Whether the pilot's word is younger than the base.
    has_spoken: bool,
    /// Increases whenever base or file change.
    edition: usize,
}

/// A state of the file.
#[derive(Debug)]
struct Later {
    /// When it was seen.
    at: Moment,
    view: Arc<View>,
    /// Groups that are not as in the state before, as `GROUP.DEPLOYMENT`.
    changed: HashSet<Box<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pilot {
    #[default]
    Unknown,
    Since(Moment),
    AwaySince(Moment),
}

/// What becomes of the endpoints of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointChange {
    /// Endpoints that are not used.
    pub without: BTreeSet<IpAddr>,
    /// Endpoints beside those that the pilot named.
    pub with: Vec<Place>,
}

/// Whose an address is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Ours,
    Others,
    Unlisted,
}

impl Follower {
    /// The file has this content. Without a pilot, a version that is not greater is ignored: it is old. With one, it
    /// is where later changes begin: a restored director counts from an older version.
    pub fn take(&mut self, view: View, at: Moment) {
        let before = self.now.clone();
        let is_newer = before.as_ref().is_none_or(|before| view.version > before.version);
        let view = Arc::new(match before {
            Some(before) => view.after(&before),
            None => view,
        });
        self.edition += 1;
        match (is_newer, self.pilot) {
            (true, _) => {
                match &self.base {
                    Some(base) => {
                        let last = self.later.back().map_or(base, |last| &last.view);
                        let changed = view.groups_changed_since(last);
                        self.later.push_back(Later { at, view: Arc::clone(&view), changed });
                        self.forget_the_oldest();
                    }
                    None => self.base = Some(Arc::clone(&view)),
                }
                self.now = Some(view);
            }
            (false, Pilot::Since(_)) => {
                self.later.clear();
                (self.base, self.now) = (Some(Arc::clone(&view)), Some(view));
            }
            (false, _) => {}
        }
    }

    fn forget_the_oldest(&mut self) {
        while self.later.len() > MAX_LATER {
            let forgotten = self.later.pop_front();
            if let (Some(Later { changed, .. }), Some(next)) = (forgotten, self.later.front_mut()) {
                next.changed.extend(changed);
            }
        }
    }

    /// Whether a pilot is connected.
    pub fn hear(&mut self, connected: bool, at: Moment) {
        self.has_spoken |= matches!(self.pilot, Pilot::Since(_)) && !connected;
        self.pilot = match (self.pilot, connected) {
            (Pilot::Since(since), true) => Pilot::Since(since),
            (Pilot::AwaySince(since), false) => Pilot::AwaySince(since),
            (_, true) => Pilot::Since(at),
            (_, false) => Pilot::AwaySince(at),
        };
    }

    /// Time passes.
    pub fn settle(&mut self, now: Moment) {
        let Pilot::Since(since) = self.pilot else { return };
        if now.since(since) < GRACE {
            return;
        }
        self.edition += usize::from(!self.has_spoken);
        self.has_spoken = true;
        while self.later.front().is_some_and(|later| now.since(later.at) >= GRACE) {
            self.base = self.later.pop_front().map(|later| later.view);
            self.edition += 1;
        }
    }

    /// Changes whenever endpoints may have changed, as does [`Self::is_alone`].
    pub fn edition(&self) -> usize {
        self.edition
    }

    /// Whether every endpoint is as the pilot says.
    pub fn is_idle(&self) -> bool {
        match (&self.base, &self.now) {
            (Some(base), Some(now)) => self.has_spoken && Arc::ptr_eq(base, now),
            _ => true,
        }
    }

    /// Whether the file is followed, beside the check of addresses.
    pub fn is_alone(&self, now: Moment) -> bool {
        matches!(self.pilot, Pilot::AwaySince(since) if now.since(since) >= ALONE)
    }

    /// All states of the file that the pilot's word may be as old as.
    fn states(&self) -> impl Iterator<Item = &View> {
        self.base.iter().chain(self.later.iter().map(|later| &later.view)).map(|view| &**view)
    }

    /// Whether anything may become of the endpoints of a group's service, whatever they are; the group is given as
    /// `GROUP.DEPLOYMENT`. It costs little, unlike the reading of endpoints.
    pub fn may_change(&self, group: &str) -> bool {
        !self.is_idle() && (!self.has_spoken || self.later.iter().any(|later| later.changed.contains(group)))
    }

    /// What becomes of the endpoints of a group's service; `None` when they stay as they are.
    pub fn change(
        &self,
        (deployment, group): (&str, &str),
        endpoints: &BTreeSet<IpAddr>,
        at: Moment,
    ) -> Option<EndpointChange> {
        let (now, base) = (self.now.as_deref()?, self.base.as_deref()?);
        if self.is_idle() {
            return None;
        }
        let (was, are) = (base.of_group(deployment, group), now.of_group(deployment, group));
        let ever: Vec<&Place> = self.states().flat_map(|state| state.of_group(deployment, group)).collect();
        let was_ours = |ip: &IpAddr| ever.iter().any(|place| place.ip == *ip);
        let owner = |ip: &IpAddr| owner(now, &ever, (deployment, group), *ip);
        let is_others = |ip: &&IpAddr| owner(ip) == Owner::Others && (was_ours(ip) || !self.has_spoken);
        let mut change = EndpointChange::default();
        change.without.extend(endpoints.iter().filter(is_others));
        if self.is_alone(at) {
            let is_gone = |ip: &&IpAddr| owner(ip) == Owner::Unlisted && was_ours(ip);
            let gone: BTreeSet<IpAddr> = endpoints.iter().filter(is_gone).copied().collect();
            let is_unlisted = |places: &[Place]| !places.iter().any(|place| endpoints.contains(&place.ip));
            change.with = if !self.has_spoken && is_unlisted(was) && is_unlisted(are) {
                of_one_network(are)
            } else {
                joined(was, are, endpoints)
            };
            if !change.with.is_empty() || endpoints.len() > change.without.len() + gone.len() {
                change.without.extend(gone);
            }
        }
        (change != EndpointChange::default()).then_some(change)
    }
}

/// Whose an address is now. An instance that was there and has another group now was renamed.
fn owner(now: &View, ever: &[&Place], (deployment, group): (&str, &str), ip: IpAddr) -> Owner {
    let mut owners = now.at(ip).peekable();
    if owners.peek().is_none() {
        return Owner::Unlisted;
    }
    let is_ours = |place: &Place| {
        (&*place.deployment, &*place.group) == (deployment, group)
            || ever.iter().any(|was| was.ip == ip && was.id == place.id)
    };
    if owners.any(is_ours) { Owner::Ours } else { Owner::Others }
}

/// Places that the group did not have before, in the networks of its endpoints.
fn joined(was: &[Place], are: &[Place], endpoints: &BTreeSet<IpAddr>) -> Vec<Place> {
    let networks: BTreeSet<&str> =
        was.iter().filter(|place| endpoints.contains(&place.ip)).map(|place| &*place.network).collect();
    let is_new = |place: &&Place| {
        networks.contains(&*place.network)
            && !endpoints.contains(&place.ip)
            && !was.iter().any(|known| known.ip == place.ip)
    };
    are.iter().filter(is_new).cloned().collect()
}

/// All places, unless an instance has several and nobody says which is used.
fn of_one_network(are: &[Place]) -> Vec<Place> {
    let is_one = are.windows(2).all(|two| two[0].network == two[1].network);
    if is_one { are.to_vec() } else { Vec::new() }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
