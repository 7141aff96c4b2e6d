//! Passes the served set on, with the endpoints that `records.json` of this VM knows better than the pilot has said.
//!
//! [`Follower`] decides. Without a change of the file since the pilot spoke, the set is passed on as it is.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use boshy_mesh::Moment;
use boshy_records::{EndpointChange, Follower, View};
use boshy_supervision::Heart;
use boshy_xds::{
    ResourceSet,
    agent::{EndpointEdit, ExchangeStatus, NewEndpoint, with_edited_endpoints},
};
use tokio::sync::watch;
use tracing::info;

use crate::{clock::Clock, records_source::RecordsSource};

/// Channels of the follower; they outlive the task.
#[derive(Clone)]
pub(crate) struct EndpointFollowerParts {
    /// The set that the relay serves.
    pub(crate) served: watch::Receiver<Arc<ResourceSet>>,
    /// Says whether a pilot is connected.
    pub(crate) exchange: watch::Receiver<ExchangeStatus>,
    /// The file.
    pub(crate) records: Arc<RecordsSource<View>>,
    /// The clock.
    pub(crate) clock: Clock,
    /// The set with followed endpoints. This task is the only writer.
    pub(crate) followed: watch::Sender<Arc<ResourceSet>>,
}

/// Passes sets on, forever.
pub(crate) async fn follow(mut parts: EndpointFollowerParts, heart: Heart) {
    let (mut follower, mut passed) = (Follower::default(), None);
    let mut looks = parts.records.looks();
    loop {
        heart.beat();
        let ended = tokio::select! {
            // A set waits for the first look at the file.
            biased;
            () = looks.next() => {
                parts.look(&mut follower).await;
                false
            }
            changed = parts.served.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
        parts.pass(&follower, &mut passed);
    }
}

/// What the last set was made of.
#[derive(PartialEq)]
struct Passed {
    of: Arc<ResourceSet>,
    state: (usize, bool),
    edits: usize,
}

impl EndpointFollowerParts {
    async fn look(&self, follower: &mut Follower) {
        let view = self.records.newer().await;
        let now = self.clock.look().moment;
        follower.hear(self.exchange.borrow().pilot.is_some(), now);
        if let Some(view) = view {
            follower.take(view, now);
        }
        follower.settle(now);
    }

    fn pass(&mut self, follower: &Follower, passed: &mut Option<Passed>) {
        let (served, now) = (Arc::clone(&self.served.borrow_and_update()), self.clock.look().moment);
        let state = (follower.edition(), follower.is_alone(now));
        if passed.as_ref().is_some_and(|last| Arc::ptr_eq(&last.of, &served) && last.state == state) {
            return;
        }
        let (next, edits) = edited(&served, follower, now);
        if edits != passed.as_ref().map_or(0, |last| last.edits) {
            info!(services = edits, "endpoints are taken from records.json, which is newer than the pilot's word");
        }
        *passed = Some(Passed { of: served, state, edits });
        self.followed.send_if_modified(|followed| {
            let changed = **followed != *next;
            *followed = next;
            changed
        });
    }
}

/// The set with followed endpoints, and the number of resources that are not as the pilot sent them.
fn edited(served: &Arc<ResourceSet>, follower: &Follower, now: Moment) -> (Arc<ResourceSet>, usize) {
    if follower.is_idle() {
        return (Arc::clone(served), 0);
    }
    let mut edits = 0;
    let may_change = |host: &str| group_of(host).is_some_and(|group| follower.may_change(group));
    let set = with_edited_endpoints(served, may_change, |host, endpoints| {
        let change = change(follower, host, endpoints, now)?;
        edits += 1;
        let with = change.with.into_iter().map(|place| NewEndpoint {
            ip: place.ip,
            instance: place.id.into(),
            zone: place.az.map(|az| az.to_string()),
        });
        Some(EndpointEdit { without: change.without, with: with.collect() })
    });
    (Arc::new(set), edits)
}

fn change(follower: &Follower, host: &str, endpoints: &BTreeSet<IpAddr>, now: Moment) -> Option<EndpointChange> {
    let (group, deployment) = group_of(host)?.split_once('.')?;
    follower.change((deployment, group), endpoints, now)
}

/// `GROUP.DEPLOYMENT`, of a service that is named `JOB.GROUP.DEPLOYMENT.ZONE`.
fn group_of(host: &str) -> Option<&str> {
    let (_, rest) = host.split_once('.')?;
    let (group, after) = rest.split_once('.')?;
    let deployment = after.split('.').next()?;
    Some(&rest[..group.len() + 1 + deployment.len()])
}

#[cfg(test)]
#[path = "endpoint_follower_tests.rs"]
mod tests;
