//! Whether the resources that a name needs are served to Envoy, and accepted by it.

use std::{borrow::Cow, ops::Bound, sync::Arc};

use boshy_mesh::Hostname;

use super::{LocalEnvoy, gate::Target, local::Local, unacked::Unacked};
use crate::{
    AckState, Resource, ResourceSet, ResourceType,
    envoy::{CAPTURE, endpoints_of},
    names::Needs,
    session::client::DeltaClient,
};

/// The resources on the way of a connection: those that were received or that this VM makes, and those that are served
/// to Envoy. A rejected one is served in its last accepted version, or not at all.
#[derive(Clone, Copy)]
pub(super) struct Path<'r> {
    received: &'r DeltaClient,
    unacked: &'r Unacked,
    local: &'r Local,
    served: &'r ResourceSet,
    /// Whether Envoy has rejected any endpoints. Otherwise no cluster has to be read for the name of its own.
    has_nacked_endpoints: bool,
}

impl<'r> Path<'r> {
    pub(super) fn new(
        received: &'r DeltaClient,
        unacked: &'r Unacked,
        local: &'r Local,
        served: &'r ResourceSet,
    ) -> Self {
        let has_nacked_endpoints = unacked.has_nacks(ResourceType::Endpoints);
        Self { received, unacked, local, served, has_nacked_endpoints }
    }

    /// Whether a listener and a cluster are served for a name, and nothing on the way to it is left out: the capture
    /// listener, and the endpoints of the cluster.
    pub(super) fn is_backed(self, host: &Hostname, target: &Target) -> bool {
        self.backs(&needs_of(self.received, host, target))
    }

    fn backs(self, needs: &Needs) -> bool {
        let served = |kind, name: &str| self.served(kind, name).is_some();
        let left_out = |kind, name: &str| self.wanted(kind, name).is_some() && !served(kind, name);
        let leads_on = |name: &Arc<str>| {
            let cluster = self.served(ResourceType::Cluster, name);
            cluster.is_some_and(|cluster| {
                let endpoints = self.endpoints_to_check(cluster);
                endpoints.is_none_or(|endpoints| !left_out(ResourceType::Endpoints, &endpoints))
            })
        };
        !left_out(ResourceType::Listener, CAPTURE)
            && needs.listeners.iter().any(|name| served(ResourceType::Listener, name))
            && needs.clusters.iter().any(leads_on)
    }

    /// Whether a name may be answered: it is backed, Envoy has accepted all that it needs, and has not rejected any of
    /// its endpoints. A name that was answered `before` may be answered by what stands in for rejected resources.
    pub(super) fn is_ready(self, host: &Hostname, target: &Target, before: bool, envoy: &impl LocalEnvoy) -> bool {
        let needs = needs_of(self.received, host, target);
        let acked =
            |kind, resource: &Resource| envoy.ack_state(kind, &resource.name, &resource.version) == AckState::Acked;
        let wanted = |kind, name: &str| self.wanted(kind, name).is_some_and(|one| acked(kind, one));
        let served = |kind, name: &str| self.served(kind, name).is_none_or(|one| acked(kind, one));
        let captures = |get: Option<&Arc<Resource>>| get.is_none_or(|one| acked(ResourceType::Listener, one));
        let as_wanted = || of_needs(&needs, wanted) && captures(self.wanted(ResourceType::Listener, CAPTURE));
        let as_served = || of_needs(&needs, served) && captures(self.served(ResourceType::Listener, CAPTURE));
        self.backs(&needs)
            && (as_wanted() || (before && as_served()))
            && !needs.clusters.iter().any(|name| self.has_nacked_endpoints(name))
    }

    fn has_nacked_endpoints(self, cluster: &str) -> bool {
        let endpoints = self.wanted(ResourceType::Cluster, cluster).and_then(|it| self.endpoints_to_check(it));
        endpoints.is_some_and(|endpoints| self.unacked.has_nack(ResourceType::Endpoints, &endpoints))
    }

    /// Name of a cluster's endpoints, if it can matter.
    fn endpoints_to_check(self, cluster: &Resource) -> Option<String> {
        self.has_nacked_endpoints.then(|| endpoints_of(cluster))?
    }

    fn wanted(self, kind: ResourceType, name: &str) -> Option<&'r Arc<Resource>> {
        self.local.get(kind, name).or_else(|| self.received.held(kind).get(name))
    }

    fn served(self, kind: ResourceType, name: &str) -> Option<&'r Arc<Resource>> {
        self.served.of(kind).get(name)
    }
}

/// Whether all listeners and clusters of the needs pass a test. Listeners are tested first, because they are sent last.
fn of_needs(needs: &Needs, test: impl Fn(ResourceType, &str) -> bool) -> bool {
    needs.listeners.iter().all(|name| test(ResourceType::Listener, name))
        && needs.clusters.iter().all(|name| test(ResourceType::Cluster, name))
}

/// What a name needs: what its resource says, or what [`needs_by_name`] finds.
fn needs_of<'t>(received: &DeltaClient, host: &Hostname, target: &'t Target) -> Cow<'t, Needs> {
    target.needs.as_deref().map_or_else(|| Cow::Owned(needs_by_name(received, host, target)), Cow::Borrowed)
}

/// The rule for a name whose pilot does not say what it needs (an older pilot, or a state file from an older agent):
/// every received listener of its address and every received cluster of its host. They are found by the names that
/// every such pilot gives them: `tcp_VIP_PORT` and `out.HOST|PORT`. Nothing else concludes anything from the name of a
/// resource.
fn needs_by_name(received: &DeltaClient, host: &Hostname, target: &Target) -> Needs {
    let listeners = with_prefix(received, ResourceType::Listener, format!("tcp_{}_", target.vip)).collect();
    let clusters = with_prefix(received, ResourceType::Cluster, format!("out.{host}|")).collect();
    Needs { listeners, clusters }
}

fn with_prefix(client: &DeltaClient, kind: ResourceType, prefix: String) -> impl Iterator<Item = Arc<str>> {
    client
        .held(kind)
        .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .map(|(name, _)| Arc::clone(name))
        .take_while(move |name| name.starts_with(&prefix))
}
