//! Counts refused tunnels and captured connections, remembers the latest kinds of them, and says which are worth a line in the log.
//!
//! A program that calls again and again would fill the log, and each of its connections is refused several times. So
//! refusals that are alike are logged when they begin, and then once a minute with their number.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tracing::warn;

use crate::{RefusalReason, RefusedTunnel, Side};

/// Pause between two lines about refusals that are alike.
const PAUSE: Duration = Duration::from_secs(60);
/// Kinds of refusals that are remembered. Beyond that, the one that was seen longest ago is forgotten.
const REMEMBERED: usize = 100;

/// Refused tunnels of a VM. Clones share all state.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<Tally>>);

/// Refusals that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenRefusal {
    /// What they have in common.
    #[serde(flatten)]
    pub tunnel: RefusedTunnel,
    /// How many there were, since they are remembered.
    pub count: u64,
    /// When the last one was reported, in seconds since the Unix epoch.
    pub last: u64,
}

#[derive(Debug, Default)]
struct Tally {
    counts: BTreeMap<(Side, RefusalReason), u64>,
    seen: BTreeMap<RefusedTunnel, Seen>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    /// Those of `count` that are in the log.
    logged: u64,
    logged_at: Instant,
    at: Instant,
    last: u64,
}

impl Refusals {
    /// Takes a report. `wall` is the time of day in seconds since the Unix epoch.
    pub(crate) fn take(&self, tunnel: RefusedTunnel, now: Instant, wall: u64) {
        let unlogged = self.tally().take(tunnel.clone(), now, wall);
        if let Some(count) = unlogged {
            let RefusedTunnel { side, reason, caller, target, details } = tunnel;
            let reason = reason.as_str();
            match side {
                Side::Captured => warn!(reason, caller, target, details, count, "connection refused"),
                Side::Caller | Side::Instance => {
                    let side = side.as_str();
                    warn!(side, reason, caller, target, details, count, "tunnel refused");
                }
            }
        }
    }

    /// Numbers of refusals since the process began, by side and reason.
    pub fn counts(&self) -> BTreeMap<(Side, RefusalReason), u64> {
        self.tally().counts.clone()
    }

    /// Kinds of refusals, the latest first.
    pub fn latest(&self) -> Vec<SeenRefusal> {
        let tally = self.tally();
        let mut seen: Vec<_> = tally.seen.iter().collect();
        seen.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.at));
        let shown = |(tunnel, seen): (&RefusedTunnel, &Seen)| SeenRefusal {
            tunnel: tunnel.clone(),
            count: seen.count,
            last: seen.last,
        };
        seen.into_iter().map(shown).collect()
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        // It is usable after a panic: every step leaves counters behind that are right, or too low by one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Counts a refusal. Returns how many of its kind the log has to tell of now.
    fn take(&mut self, tunnel: RefusedTunnel, now: Instant, wall: u64) -> Option<u64> {
        *self.counts.entry((tunnel.side, tunnel.reason)).or_default() += 1;
        let is_new = !self.seen.contains_key(&tunnel);
        if is_new && self.seen.len() >= REMEMBERED {
            self.forget_one();
        }
        let first = Seen { count: 0, logged: 0, logged_at: now, at: now, last: wall };
        let seen = self.seen.entry(tunnel).or_insert(first);
        (seen.count, seen.at, seen.last) = (seen.count + 1, now, wall);
        let is_time = is_new || now >= seen.logged_at + PAUSE;
        is_time.then(|| {
            seen.logged_at = now;
            seen.count - std::mem::replace(&mut seen.logged, seen.count)
        })
    }

    fn forget_one(&mut self) {
        let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.at).map(|(tunnel, _)| tunnel.clone());
        oldest.and_then(|tunnel| self.seen.remove(&tunnel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(target: &str) -> RefusedTunnel {
        RefusedTunnel {
            side: Side::Instance,
            reason: RefusalReason::Denied,
            caller: Some("spiffe://boshy/ns/shop/sa/web".into()),
            target: target.into(),
            details: "rbac_access_denied_matched_policy[none]".into(),
        }
    }

    #[test]
    fn refusals_that_are_alike_are_told_when_they_begin_and_then_once_a_minute_with_their_number() {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let mut at = |seconds: u64| tally.take(denied("a:1"), start + Duration::from_secs(seconds), seconds);
        assert_eq!((at(0), at(1), at(59)), (Some(1), None, None));
        assert_eq!((at(60), at(61)), (Some(3), None));
        assert_eq!(at(1000), Some(2));
    }

    #[test]
    fn each_kind_is_counted_and_the_latest_are_remembered() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        for number in 0..2 * REMEMBERED as u64 {
            refusals.take(denied(&format!("a:{number}")), start + Duration::from_secs(number), number);
        }
        refusals.take(denied("a:150"), start + Duration::from_secs(500), 500);
        assert_eq!(refusals.counts(), [((Side::Instance, RefusalReason::Denied), 201)].into());
        let latest = refusals.latest();
        assert_eq!(latest.len(), REMEMBERED);
        assert_eq!((latest[0].tunnel.target.as_str(), latest[0].count, latest[0].last), ("a:150", 2, 500));
        assert_eq!(latest[1].tunnel.target, "a:199");
        assert!(latest.iter().all(|seen| seen.tunnel.target != "a:99"));
    }
}
