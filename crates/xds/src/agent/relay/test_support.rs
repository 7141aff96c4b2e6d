//! A relay with its environment, controlled by a test.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster::EdsClusterConfig};

use super::*;
pub(crate) use crate::session::client::samples::{listener as resource, name, name_needing, vip};
use crate::{AckState, session::client::samples::response};

pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A proxy whose answers the test decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    pub(crate) asks: BTreeSet<ResourceType>,
    pub(crate) accepted: HashMap<(ResourceType, Arc<str>), Arc<str>>,
    pub(crate) rejected: HashMap<(ResourceType, Arc<str>), Arc<str>>,
    /// Differs for each proxy that connects; 0 while none is connected.
    pub(crate) stream: u64,
}

impl LocalEnvoy for Proxy {
    fn subscribes(&self, kind: ResourceType) -> bool {
        self.asks.contains(&kind)
    }

    fn streams(&self) -> u64 {
        self.stream
    }

    fn ack_state(&self, kind: ResourceType, name: &str, version: &str) -> AckState {
        let key = (kind, Arc::from(name));
        if self.rejected.get(&key).is_some_and(|rejected| **rejected == *version) {
            AckState::Nacked("no such filter".to_owned())
        } else if self.accepted.get(&key).is_some_and(|accepted| **accepted == *version) {
            AckState::Acked
        } else {
            AckState::Pending
        }
    }
}

impl Proxy {
    pub(crate) fn connected() -> Self {
        let asks = [ResourceType::Cluster, ResourceType::Endpoints, ResourceType::Listener].into();
        static STREAMS: AtomicU64 = AtomicU64::new(1);
        Self { asks, stream: STREAMS.fetch_add(1, Ordering::Relaxed), ..Self::default() }
    }

    pub(crate) fn accept(&mut self, kind: ResourceType, served: &ResourceSet) {
        self.accepted.retain(|(of, name), _| *of != kind || served.of(kind).get(name).is_some());
        for resource in served.of(kind).iter() {
            self.accepted.insert((kind, Arc::clone(&resource.name)), Arc::clone(&resource.version));
            self.rejected.remove(&(kind, Arc::clone(&resource.name)));
        }
    }

    pub(crate) fn reject(&mut self, kind: ResourceType, resource: &Resource) {
        self.rejected.insert((kind, Arc::clone(&resource.name)), Arc::clone(&resource.version));
    }
}

/// A relay with its environment: one pilot, one proxy, a clock, and a record of the messages.
pub(crate) struct Vm {
    pub(crate) relay: Relay,
    pub(crate) proxy: Proxy,
    pub(crate) now: Instant,
    pub(crate) nonce: usize,
    pub(crate) upstream: Vec<RequestToPilot>,
    pub(crate) changes: Vec<NameChange>,
    pub(crate) events: Vec<RelayEvent>,
}

impl Vm {
    pub(crate) fn new(proxy: Proxy) -> Self {
        Self::with(RelaySettings::default(), proxy, Stored::default())
    }

    pub(crate) fn with(settings: RelaySettings, proxy: Proxy, stored: Stored) -> Self {
        let relay = Relay::new(settings, stored);
        let (upstream, changes, events) = Default::default();
        Self { relay, proxy, now: Instant::now(), nonce: 0, upstream, changes, events }
    }

    pub(crate) fn receive(&mut self, kind: ResourceType, resources: &[Resource], removed: &[&str]) {
        self.receive_part(kind, resources, removed, true);
    }

    pub(crate) fn receive_part(
        &mut self,
        kind: ResourceType,
        resources: &[Resource],
        removed: &[&str],
        complete: bool,
    ) {
        self.nonce += 1;
        let response = ResponseFromPilot { complete, ..response(kind, &self.nonce.to_string(), resources, removed) };
        let step = self.relay.receive(response, self.now, &self.proxy);
        self.note(step);
    }

    pub(crate) fn reconsider(&mut self) {
        let step = self.relay.reconsider(self.now, &self.proxy);
        self.note(step);
    }

    pub(crate) fn hold(&mut self, edition: u32) {
        let step = self.relay.hold(&secrets(edition), self.now, &self.proxy);
        self.note(step);
    }

    pub(crate) fn note(&mut self, step: Step) {
        self.upstream.extend(step.upstream);
        self.changes.extend(step.names);
        self.events.extend(step.events);
    }

    pub(crate) fn accept(&mut self, kind: ResourceType) {
        let served = Arc::clone(self.relay.served());
        self.proxy.accept(kind, &served);
        self.reconsider();
    }

    pub(crate) fn reject(&mut self, kind: ResourceType, resource: &Resource) {
        self.proxy.reject(kind, resource);
        self.reconsider();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.reconsider();
    }

    /// Answers sent to the pilot: nonces, and the reason of a rejection.
    pub(crate) fn answers(&mut self) -> Vec<(String, Option<String>)> {
        let answer = |request| match request {
            RequestToPilot::Ack { nonce, .. } => Some((nonce, None)),
            RequestToPilot::Nack { nonce, reason, .. } => Some((nonce, Some(reason))),
            RequestToPilot::Resend { .. } => None,
            RequestToPilot::Subscribe { .. } | RequestToPilot::Claim { .. } | RequestToPilot::Tell { .. } => {
                panic!("a subscription amid a stream")
            }
        };
        self.upstream.drain(..).filter_map(answer).collect()
    }

    pub(crate) fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.relay.answered().get(host)
    }

    pub(crate) fn served(&self, kind: ResourceType, name: &str) -> Option<Resource> {
        self.relay.served().of(kind).get(name).map(|resource| Resource::clone(resource))
    }

    /// Receives a mesh of one service, `a.boshy` at 169.254.255.1:80, in the order in which a pilot sends it.
    pub(crate) fn receive_service(&mut self) {
        self.receive(ResourceType::Names, &[name("a.boshy", 1)], &[]);
        self.receive(ResourceType::Cluster, &[cluster(1)], &[]);
        self.receive(ResourceType::Endpoints, &[endpoints(1)], &[]);
        self.receive(ResourceType::Listener, &[listener(1, 80, 1)], &[]);
    }

    pub(crate) fn accept_all(&mut self) {
        for kind in JUDGED {
            self.accept(kind);
        }
    }

    /// A VM on which `a.boshy` is answered.
    pub(crate) fn working() -> Self {
        let mut vm = Self::new(Proxy::connected());
        vm.receive_service();
        vm.accept_all();
        assert_eq!(vm.address("a.boshy"), Some(vip(1)));
        vm.changes.clear();
        vm.upstream.clear();
        vm
    }
}

pub(crate) fn cluster(edition: u32) -> Resource {
    cluster_of("a.boshy|http", edition)
}

/// A cluster whose endpoints are the resource `key`.
pub(crate) fn cluster_of(key: &str, edition: u32) -> Resource {
    let config = EdsClusterConfig { service_name: key.to_owned(), ..EdsClusterConfig::default() };
    let name = format!("out.{key}");
    let (alt_stat_name, eds_cluster_config) = (edition.to_string(), Some(config));
    let cluster = Cluster { name: name.clone(), alt_stat_name, eds_cluster_config, ..Cluster::default() };
    Resource::new(name, prost::Message::encode_to_vec(&cluster))
}

pub(crate) fn endpoints(edition: u32) -> Resource {
    resource("a.boshy|http", edition)
}

pub(crate) fn listener(last: u8, port: u16, edition: u32) -> Resource {
    resource(&format!("tcp_{}_{port}", vip(last)), edition)
}

pub(crate) fn accepted(nonce: &str) -> (String, Option<String>) {
    (nonce.to_owned(), None)
}

/// Secrets of which only the certificate and its key differ by edition.
pub(crate) fn secrets(edition: u32) -> Secrets {
    let (certificates, private_key) = (format!("certificate {edition}"), format!("key {edition}").into());
    Secrets { certificates, private_key, roots: "roots".to_owned() }
}
