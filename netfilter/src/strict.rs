//! The filter of strict ports: ports of this VM that may be reached through the mesh alone.
//!
//! A connection that arrives from outside at a strict port is refused with a TCP reset, also while Envoy is dead. What
//! arrives through the mesh is not: the VM's Envoy dials the port itself, over loopback. Health checks of the VM itself,
//! to its own address or to loopback, arrive over loopback as well.
//!
//! The port is closed at every address of the VM, of IPv4 and of IPv6. A program usually listens at all of them, and the
//! director does not know each one: those of other networks, and those that IPv6 makes by itself.
//!
//! Only the packet that opens a connection is looked at, so a connection that is open when its port becomes strict
//! lives on, and connection tracking is not needed.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

use crate::{
    ruleset::{Base, Chain, Hook, Match, Policy, Rule, Ruleset, Verdict},
    set::{Ports, Set},
};

/// Ports that are never strict: those of ssh, monit, NATS, the BOSH agent, bosh-dns, its health endpoint, and the mesh
/// itself. A mistake there would cut the VM off from its director.
const NEVER: [u16; 7] = [22, 2822, 4222, 6868, 8853, 53080, 15008];

/// Who may connect to strict ports in spite of the filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strict {
    exempt: BTreeSet<IpNet>,
}

impl Strict {
    /// The name of the set of strict ports in the own table.
    pub const SET: &str = "strict";

    /// A filter that lets connections from these networks pass, such as those of load balancers and monitors outside of
    /// the mesh.
    pub fn new(exempt: impl IntoIterator<Item = IpNet>) -> Self {
        Self { exempt: exempt.into_iter().map(|net| net.trunc()).collect() }
    }

    /// These ports, without those that are never strict.
    pub fn closable(ports: impl IntoIterator<Item = u16>) -> Ports {
        ports.into_iter().filter(|port| !NEVER.contains(port)).collect()
    }

    /// Adds the filter of these ports to the content of boshy's table. Without a strict port nothing is added: a VM
    /// without them has no hook more.
    #[must_use]
    pub fn added_to(&self, mut ruleset: Ruleset, ports: &Arc<Ports>) -> Ruleset {
        if ports.is_empty() {
            return ruleset;
        }
        let base = Base { kind: "filter".into(), hook: Hook::INPUT, priority: 0, policy: Policy::ACCEPT };
        let opening = [Match::Tcp, Match::PortIn(Self::SET.into()), Match::Opens];
        let opening = Rule::new(opening, Verdict::Jump("close".into()));
        let exempt = self.exempt.iter().map(|net| Rule::new([Match::Source(*net)], Verdict::Accept));
        let close = [Rule::new([Match::Loopback], Verdict::Accept)].into_iter().chain(exempt);
        ruleset.sets.insert(Self::SET, Set::Ports(Arc::clone(ports)));
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

    fn ports(ports: &[u16]) -> Arc<Ports> {
        Arc::new(ports.iter().copied().collect())
    }

    #[test]
    fn the_filter_is_there_only_with_a_strict_port() {
        let strict = Strict::new(["10.9.0.7/16", "fd00::7/64"].map(|net| net.parse().unwrap()));
        let plain = Ruleset::default();
        assert_eq!(strict.added_to(plain.clone(), &ports(&[])), plain);
        let ruleset = strict.added_to(plain, &ports(&[9000]));
        assert_eq!(ruleset.sets[Strict::SET], Set::Ports(ports(&[9000])));
        let rules: Vec<_> = ruleset.chains.iter().flat_map(|chain| &chain.rules).map(ToString::to_string).collect();
        assert_eq!(
            rules,
            [
                "meta l4proto tcp tcp dport @strict tcp flags syn / fin,syn,rst,ack jump close",
                "iif lo accept",
                "ip saddr 10.9.0.0/16 accept",
                "ip6 saddr fd00::/64 accept",
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
