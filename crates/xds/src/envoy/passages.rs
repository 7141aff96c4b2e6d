//! Who may connect to a captured port in plaintext: policies by address as filter chains of its listener.
//!
//! Envoy chooses the chain when it accepts a connection, by the longest network that contains the caller. Its filter for
//! policies would decide when the caller has sent something, and a server that speaks first would have been heard by then.

use std::collections::{BTreeMap, BTreeSet};

use boshy_mesh::{Authorization, Caller, Decision, PolicySet};
use envoy_types::pb::{
    envoy::config::{core::v3::CidrRange, listener::v3::FilterChainMatch},
    google::protobuf::UInt32Value,
};
use ipnet::{IpNet, Ipv4Net};

use super::rbac;

/// What becomes of connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Passage {
    /// They reach the program.
    Allowed,
    /// They reach the program, and would not if the policies on trial were enforced.
    Tried(Denial),
    /// They are closed.
    Denied(Denial),
}

/// Name of the rule that denies, as Envoy has it of tunnels; `none` when no ALLOW policy matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Denial(String);

impl Passage {
    /// Follows the port in the names of statistics.
    pub(super) fn suffix(&self) -> String {
        match self {
            Self::Allowed => String::new(),
            Self::Tried(denial) => format!("_shadow_denied.{}", denial.statistic()),
            Self::Denied(denial) => format!("_denied.{}", denial.statistic()),
        }
    }
}

impl Denial {
    /// What a set of policies has against a caller, if anything.
    fn of(policies: &PolicySet, caller: &Caller) -> Option<Self> {
        match policies.decide(caller) {
            Decision::Unrestricted | Decision::Allowed(_) => None,
            Decision::Denied(rule) => Some(Self(rbac::name(&rule.document, rule.position))),
            Decision::NotAllowed(_) => Some(Self("none".to_owned())),
        }
    }

    /// The words with which Envoy's filter for policies refuses a tunnel.
    pub(super) fn details(&self) -> String {
        format!("rbac_access_denied_matched_policy[{}]", self.0)
    }

    /// The same as part of a statistic's name. Of Envoy's prefixes of names, a colon would be replaced in any case, and a
    /// dot would begin another part.
    fn statistic(&self) -> String {
        let kept = |letter: char| letter.is_ascii_alphanumeric() || "_-/".contains(letter);
        self.0.chars().map(|letter| if kept(letter) { letter } else { '_' }).collect()
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
    let tried = || Denial::of(plaintext.trial.as_ref()?, &caller).map(Passage::Tried);
    let denied = Denial::of(&plaintext.enforced, &caller).map(Passage::Denied);
    denied.or_else(tried).unwrap_or(Passage::Allowed)
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
