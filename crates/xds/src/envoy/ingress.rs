//! Captured ports: this VM's kernel leads what arrives there from outside to Envoy.
//!
//! ```text
//!   caller -> IP:PORT --kernel--> ingress_IP (bound to IP:15006) -> tcp_IP_PORT (not bound) -> program at IP:PORT
//! ```
//!
//! Envoy looks at no octet to learn what is spoken: a server that speaks first would wait for it.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use boshy_mesh::{Authorization, Fallback, INGRESS_PORT, InboundPort, Ingress, ORIGINAL_SRC_MARK};
use envoy_types::{
    pb::envoy::{
        config::{
            core::v3::{Address, Metadata, TrafficDirection},
            listener::v3::{Filter, FilterChain, Listener, ListenerFilter, listener_filter},
        },
        extensions::filters::{listener::original_src::v3::OriginalSrc, network::tcp_proxy::v3::TcpProxy},
    },
    util::pack_any,
};
use prost::Message;

use super::{
    cluster::{NOWHERE, static_cluster},
    endpoint::lb_endpoint,
    listener::{Capture, address_of, handing_over, program_proxy, resource, tcp_proxy_filter, unbound_listener},
    metadata::{said, says, says_of_chains},
    passages::{self, Passage},
    refusals,
};
use crate::{AckState, AckStates, Resource, ResourceSet, ResourceType};

/// Key of what is said about the listener of a captured port: the fallback, and whether the caller's address is kept.
const CAPTURED: &str = "captured";
/// Follows the fallback where the caller's address is kept.
const ORIGINAL_SRC: &str = " original_src";

/// `ingress_IP`: accepts captured connections to this address, and passes each to the listener of its original
/// destination. One that was opened to this port itself is closed.
pub(crate) fn ingress_listener(ip: IpAddr) -> Resource {
    let listener = handing_over(&ingress_name(ip), Capture::at((ip, INGRESS_PORT).into()));
    // An Envoy that is about to stop closes it first (`drain_listeners?inboundonly`), and then ends with its last connection.
    resource(Listener { traffic_direction: TrafficDirection::Inbound.into(), ..listener })
}

/// `tcp_IP_PORT`, not bound: a captured port, which callers reach in plaintext as far as policies by address let them.
pub(crate) fn captured_listener(at: SocketAddr, ingress: Ingress, plaintext: Option<&Authorization>) -> Resource {
    let name = cluster_name(at);
    // With the caller's address, the port that Envoy picks may be one that the caller has in use.
    let listener = unbound_listener(at.ip(), at.port(), program_proxy(&name, ingress.original_src));
    let captured = written(ingress);
    let (filter_chains, metadata) = match plaintext.map(passages::passages) {
        None => (listener.filter_chains, says(CAPTURED, &captured)),
        Some(passages) => {
            let said = says_of_chains(CAPTURED, &captured, &format!("{passages:?}"));
            let chain = |(passage, networks): (&Passage, _)| FilterChain {
                filter_chain_match: Some(passages::from(networks)),
                filters: filters_of(&name, ingress, passage),
                ..FilterChain::default()
            };
            (passages.iter().map(chain).collect(), said)
        }
    };
    let keeps_source = ListenerFilter {
        name: "envoy.filters.listener.original_src".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack_any(OriginalSrc {
            mark: ORIGINAL_SRC_MARK,
            ..OriginalSrc::default()
        }))),
        ..ListenerFilter::default()
    };
    resource(Listener {
        metadata: Some(metadata),
        filter_chains,
        listener_filters: ingress.original_src.then_some(keeps_source).into_iter().collect(),
        ..listener
    })
}

/// Where connections of a passage lead. Each is counted by itself.
fn filters_of(name: &str, ingress: Ingress, passage: &Passage) -> Vec<Filter> {
    let counted = |proxy| tcp_proxy_filter(TcpProxy { stat_prefix: format!("{name}{}", passage.suffix()), ..proxy });
    match passage {
        Passage::Allowed | Passage::Tried(_) => vec![counted(program_proxy(name, ingress.original_src))],
        Passage::Denied(denial) => {
            let closed = TcpProxy { access_log: refusals::of_captured(), ..program_proxy(NOWHERE, false) };
            vec![refusals::because(&denial.details()), counted(closed)]
        }
    }
}

/// `ingress_IP_PORT`: the program at an address of this VM, dialled where a caller without a mesh would dial it.
pub(crate) fn captured_cluster(at: SocketAddr) -> Resource {
    let name = cluster_name(at);
    let cluster = static_cluster(&name, vec![lb_endpoint(at.ip(), at.port())]);
    Resource::new(name, cluster.encode_to_vec())
}

/// How a port is captured. Only IPv4 is: what arrives by IPv6 reaches the program directly.
pub(crate) fn capture_of(port: &InboundPort) -> Option<Ingress> {
    port.ingress.filter(|_| port.at.is_ipv4())
}

/// A port of this VM of which Envoy expects the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Address of the VM, and the port.
    pub at: SocketAddrV4,
    /// What is said about it.
    pub ingress: Ingress,
    /// The listeners that it takes.
    listeners: [Arc<Resource>; 2],
}

impl Captured {
    /// Whether Envoy can accept its connections.
    pub fn is_accepted(&self, answers: &AckStates) -> bool {
        let acked =
            |one: &Arc<Resource>| answers.of(ResourceType::Listener, &one.name, &one.version) == AckState::Acked;
        self.listeners.iter().all(acked)
    }
}

/// The captured ports of a VM, by the listeners of the VM's proxy, in order.
pub fn captured_ports(set: &ResourceSet) -> Vec<Captured> {
    let listeners = set.of(ResourceType::Listener);
    let captured = listeners.iter().filter_map(|listener| {
        let (at, ingress) = captured_port(listener)?;
        let bound = listeners.get(&ingress_name(IpAddr::V4(*at.ip())))?;
        Some(Captured { at, ingress, listeners: [Arc::clone(bound), Arc::clone(listener)] })
    });
    let mut captured: Vec<_> = captured.collect();
    captured.sort_unstable_by_key(|captured| captured.at);
    captured
}

/// The fields of a `Listener` that are read. The filters beside them are skipped, not parsed.
#[derive(Clone, PartialEq, Message)]
struct Said {
    #[prost(message, optional, tag = "2")]
    address: Option<Address>,
    #[prost(message, optional, tag = "6")]
    metadata: Option<Metadata>,
}

fn captured_port(listener: &Resource) -> Option<(SocketAddrV4, Ingress)> {
    let Said { address, metadata } = Said::decode(&*listener.body).ok()?;
    let ingress = read(said(&metadata?, CAPTURED)?)?;
    match address_of(address?)? {
        SocketAddr::V4(at) => Some((at, ingress)),
        SocketAddr::V6(_) => None,
    }
}

fn written(Ingress { fallback, original_src }: Ingress) -> String {
    format!("{}{}", fallback.as_str(), if original_src { ORIGINAL_SRC } else { "" })
}

fn read(said: &str) -> Option<Ingress> {
    let (fallback, original_src) = said.strip_suffix(ORIGINAL_SRC).map_or((said, false), |fallback| (fallback, true));
    Some(Ingress { fallback: Fallback::parse(fallback)?, original_src })
}

fn ingress_name(ip: IpAddr) -> String {
    format!("ingress_{ip}")
}

fn cluster_name(at: SocketAddr) -> String {
    format!("ingress_{}_{}", at.ip(), at.port())
}

#[cfg(test)]
#[path = "ingress_tests.rs"]
mod tests;
