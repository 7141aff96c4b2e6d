//! Who may connect to a captured port in plaintext: policies by address as filter chains of its listener.
//!
//! Envoy chooses the chain when it accepts a connection, by the longest network that contains the caller. Its filter for
//! policies would decide when the caller has sent something, and a server that speaks first would have been heard by then.

use std::collections::{BTreeMap, BTreeSet};

use boshy_mesh::{Authorization, Caller, Decision};
use envoy_types::pb::{
    envoy::config::{core::v3::CidrRange, listener::v3::FilterChainMatch},
    google::protobuf::UInt32Value,
};
use ipnet::{IpNet, Ipv4Net};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passage {
    /// They reach the program.
    Allowed,
    /// They reach the program, and would not if the policies on trial were enforced.
    Tried,
    /// They are closed.
    Denied,
}

impl Passage {
    /// Follows the port in the names of statistics.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Allowed => "",
            Self::Tried => "_shadow_denied",
            Self::Denied => "_denied",
        }
    }
}

/// The networks of callers by what becomes of their connections. A network of several that contain a caller decides if it
/// is the longest.
pub(super) fn passages(plaintext: &Authorization) -> BTreeMap<Passage, BTreeSet<Ipv4Net>> {
    let named = plaintext.networks().filter_map(|network| match network {
        IpNet::V4(network) => Some(*network),
        // Only IPv4 is captured.
        IpNet::V6(_) => None,
    });
    let mut passages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for network in named.chain([Ipv4Net::default()]) {
        passages.entry(passage(plaintext, network)).or_default().insert(network);
    }
    passages
}

/// What becomes of callers in a network, but for those in a longer one that a policy names. To policies they are all
/// alike, so the network stands for any of them.
fn passage(plaintext: &Authorization, network: Ipv4Net) -> Passage {
    let caller = Caller::from(IpNet::V4(network));
    let trial = plaintext.trial.as_ref().map_or(Decision::Unrestricted, |trial| trial.decide(&caller));
    match (plaintext.enforced.decide(&caller).is_allowed(), trial.is_allowed()) {
        (false, _) => Passage::Denied,
        (true, false) => Passage::Tried,
        (true, true) => Passage::Allowed,
    }
}

/// Matches callers in these networks.
pub(super) fn from(networks: &BTreeSet<Ipv4Net>) -> FilterChainMatch {
    let range = |network: &Ipv4Net| CidrRange {
        address_prefix: network.addr().to_string(),
        prefix_len: Some(UInt32Value { value: network.prefix_len().into() }),
    };
    FilterChainMatch { source_prefix_ranges: networks.iter().map(range).collect(), ..FilterChainMatch::default() }
}

#[cfg(test)]
#[path = "passages_tests.rs"]
mod tests;
