//! What the local Envoy has acknowledged, as the relay asks for it.

use std::{net::Ipv4Addr, ops::Bound, sync::Arc};

use boshy_mesh::Hostname;

use crate::{AckState, AckStates, Resource, ResourceType, envoy::CAPTURE, session::client::DeltaClient};

/// Answers of the local Envoy to what it was sent.
pub trait LocalEnvoy {
    /// Whether it answers for the type: it is connected and has asked for such resources.
    fn subscribes(&self, kind: ResourceType) -> bool;

    /// Changes whenever a stream of it opens or ends, because another Envoy may answer from then on.
    fn streams(&self) -> u64;

    /// State of one version.
    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState;
}

impl LocalEnvoy for AckStates {
    fn subscribes(&self, kind: ResourceType) -> bool {
        self.subscribed(kind)
    }

    fn streams(&self) -> u64 {
        self.opened_and_ended()
    }

    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState {
        self.of(kind, name, version)
    }
}

/// Whether `offered` has a listener and a cluster for a name, and nothing on the way to it that was received is left
/// out: the capture listener, and the endpoints of the clusters.
pub(super) fn is_backed(offered: &DeltaClient, received: &DeltaClient, host: &Hostname, vip: Ipv4Addr) -> bool {
    let left_out = |kind, name: &str| received.held(kind).contains_key(name) && !offered.held(kind).contains_key(name);
    let led_to = |cluster: &Arc<Resource>| !left_out(ResourceType::Endpoints, endpoints(cluster));
    !left_out(ResourceType::Listener, CAPTURE)
        && listeners(offered, vip).next().is_some()
        && clusters(offered, host).any(led_to)
}

/// Whether there are listeners and clusters for a name, and Envoy has accepted all of them in the versions of
/// `client`. Listeners are checked first, because they are sent last. The capture listener is on the way to every name.
pub(super) fn is_accepted(client: &DeltaClient, envoy: &impl LocalEnvoy, host: &Hostname, vip: Ipv4Addr) -> bool {
    let accepted =
        |resource: &Arc<Resource>, kind| envoy.ack_state(kind, &resource.name, &resource.version) == AckState::Acked;
    some_and_all(listeners(client, vip), |listener| accepted(listener, ResourceType::Listener))
        && some_and_all(clusters(client, host), |cluster| accepted(cluster, ResourceType::Cluster))
        && client.held(ResourceType::Listener).get(CAPTURE).is_none_or(|it| accepted(it, ResourceType::Listener))
}

/// Whether the endpoints of any of its clusters are `refused`, or are being tried again after a rejection.
pub(super) fn has_refused_endpoints(client: &DeltaClient, host: &Hostname, refused: impl Fn(&str) -> bool) -> bool {
    clusters(client, host).any(|cluster| refused(endpoints(cluster)))
}

/// Name of the endpoints of an outbound cluster.
fn endpoints(cluster: &Resource) -> &str {
    cluster.name.strip_prefix("out.").unwrap_or(&cluster.name)
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
