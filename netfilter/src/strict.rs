//! The filter of strict ports: ports of this VM that may be reached through the mesh alone.
//!
//! A connection that arrives from outside at a strict port is refused with a TCP reset, also while Envoy is dead. What
//! arrives through the mesh is not: the VM's Envoy dials the port itself, over loopback. Health checks of the VM itself,
//! to its own address or to loopback, arrive over loopback as well.
//!
//! Only the packet that opens a connection is looked at, so a connection that is open when its port becomes strict
//! lives on, and connection tracking is not needed.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::Ipv4Net;

use crate::ruleset::{Base, Chain, Hook, Match, Pairs, Policy, Rule, Ruleset, Verdict};

/// Ports that are never strict: those of ssh, monit, NATS, the BOSH agent, bosh-dns, its health endpoint, and the mesh
/// itself. A mistake there would cut the VM off from its director.
const NEVER: [u16; 7] = [22, 2822, 4222, 6868, 8853, 53080, 15008];

/// Who may connect to strict ports in spite of the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strict {
    exempt: BTreeSet<Ipv4Net>,
}

impl Strict {
    /// The name of the set of strict ports in the own table.
    pub const SET: &str = "strict";

    /// A filter that lets connections from these networks pass, such as those of load balancers and monitors outside of
    /// the mesh.
    pub fn new(exempt: impl IntoIterator<Item = Ipv4Net>) -> Self {
        Self { exempt: exempt.into_iter().map(|net| net.trunc()).collect() }
    }

    /// These pairs of an address of the VM and a port, without the ports that are never strict.
    pub fn closable(pairs: impl IntoIterator<Item = std::net::SocketAddrV4>) -> Pairs {
        pairs.into_iter().filter(|pair| !NEVER.contains(&pair.port())).collect()
    }

    /// Adds the filter of these ports to the content of boshy's table. Without a strict port nothing is added: a VM
    /// without them has no hook more.
    #[must_use]
    pub fn added_to(&self, mut ruleset: Ruleset, ports: &Arc<Pairs>) -> Ruleset {
        if ports.is_empty() {
            return ruleset;
        }
        let base = Base { kind: "filter".into(), hook: Hook::INPUT, priority: 0, policy: Policy::ACCEPT };
        let opening = Rule::new([Match::DestinationIn(Self::SET.into()), Match::Opens], Verdict::Jump("close".into()));
        let exempt = self.exempt.iter().map(|net| Rule::new([Match::Source(*net)], Verdict::Accept));
        let close = [Rule::new([Match::Loopback], Verdict::Accept)].into_iter().chain(exempt);
        ruleset.sets.insert(Self::SET, Arc::clone(ports));
        ruleset.chains.extend([
            Chain { name: "strict", base: Some(base), rules: vec![opening] },
            Chain {
                name: "close",
                base: None,
                rules: close.chain([Rule::new([Match::Tcp], Verdict::Reset)]).collect(),
            },
        ]);
        ruleset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(ports: &[u16]) -> Arc<Pairs> {
        Arc::new(ports.iter().map(|port| std::net::SocketAddrV4::new([10, 244, 0, 5].into(), *port)).collect())
    }

    #[test]
    fn the_filter_is_there_only_with_a_strict_port() {
        let strict = Strict::new(["10.9.0.7/16".parse().unwrap()]);
        let plain = Ruleset::default();
        assert_eq!(strict.added_to(plain.clone(), &ports(&[])), plain);
        let ruleset = strict.added_to(plain, &ports(&[9000]));
        assert_eq!(ruleset.sets[Strict::SET], ports(&[9000]));
        let rules: Vec<_> = ruleset.chains.iter().flat_map(|chain| &chain.rules).map(ToString::to_string).collect();
        assert_eq!(
            rules,
            [
                "ip daddr . tcp dport @strict tcp flags syn / fin,syn,rst,ack jump close",
                "iif lo accept",
                "ip saddr 10.9.0.0/16 accept",
                "meta l4proto tcp reject with tcp reset",
            ]
        );
    }

    #[test]
    fn no_port_of_the_platform_or_of_the_mesh_becomes_strict() {
        let all = ports(&[22, 2822, 4222, 6868, 8853, 9000, 15008, 53080]);
        assert_eq!(Strict::closable(all.iter().copied()), *ports(&[9000]));
    }
}
