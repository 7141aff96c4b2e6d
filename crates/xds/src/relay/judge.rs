//! What the local Envoy says, as the relay asks for it.

use std::{net::Ipv4Addr, ops::Bound, sync::Arc};

use boshy_mesh::Hostname;

use crate::{Resource, ResourceType, Verdict, Verdicts, client::DeltaClient};

/// Whoever judges resources.
pub trait Judge {
    /// Whether anybody judges resources of the type: a proxy is there and has asked for them.
    fn judges(&self, kind: ResourceType) -> bool;

    /// What is said of one version.
    fn verdict(&self, kind: ResourceType, name: &str, version: &str) -> Verdict;
}

impl Judge for Verdicts {
    fn judges(&self, kind: ResourceType) -> bool {
        self.subscribed(kind)
    }

    fn verdict(&self, kind: ResourceType, name: &str, version: &str) -> Verdict {
        self.of(kind, name, version)
    }
}

/// Whether there are a listener and a cluster for a name at all.
pub(super) fn is_backed(client: &DeltaClient, host: &Hostname, vip: Ipv4Addr) -> bool {
    listeners(client, vip).next().is_some() && clusters(client, host).next().is_some()
}

/// Whether there are some and the judge has accepted all of them, in the version received last. Listeners are asked for
/// first, because they come last.
pub(super) fn is_accepted(client: &DeltaClient, judge: &impl Judge, host: &Hostname, vip: Ipv4Addr) -> bool {
    let accepted =
        |resource: &Arc<Resource>, kind| judge.verdict(kind, &resource.name, &resource.version) == Verdict::Accepted;
    some_and_all(listeners(client, vip), |listener| accepted(listener, ResourceType::Listener))
        && some_and_all(clusters(client, host), |cluster| accepted(cluster, ResourceType::Cluster))
}

fn some_and_all<T>(mut items: impl Iterator<Item = T>, test: impl Fn(T) -> bool) -> bool {
    items.next().is_some_and(&test) && items.all(test)
}

fn listeners(client: &DeltaClient, vip: Ipv4Addr) -> impl Iterator<Item = &Arc<Resource>> {
    with_prefix(client, ResourceType::Listener, format!("tcp_{vip}_"))
}

fn clusters<'a>(client: &'a DeltaClient, host: &Hostname) -> impl Iterator<Item = &'a Arc<Resource>> {
    with_prefix(client, ResourceType::Cluster, format!("out.{host}|"))
}

fn with_prefix(client: &DeltaClient, kind: ResourceType, prefix: String) -> impl Iterator<Item = &Arc<Resource>> {
    client
        .held(kind)
        .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .map(|(_, resource)| resource)
        .take_while(move |resource| resource.name.starts_with(&prefix))
}
