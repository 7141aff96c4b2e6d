//! The rules of the redirect: one range, one capture port, and the existing pairs of virtual IP and port.
//!
//! There are two chains rather than one, so that a connection that does not go to a virtual IP meets a single rule. The
//! pairs are in a set beside the rules, because pairs change often and rules never do.
//!
//! The rules cover only connections that this VM opens. They see no packet that arrives from the network, so they can
//! take over no port of the VM, including those of the platform.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

use crate::ruleset::{Base, Chain, Hook, Match, Pairs, Policy, Rule, Ruleset, Verdict};

/// A port on which no process can listen. The kernel answers a datagram to it as for any closed port.
const CLOSED: u16 = 0;

/// Why a redirect is rejected before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// Port 0 can be neither listened on nor connected to.
    #[error("the capture port is 0; a port is 1 to 65535")]
    ZeroPort,
    /// Redirecting loopback would cut the VM off from its own services, including Envoy.
    #[error("the range {0} overlaps loopback 127.0.0.0/8, which must not be redirected")]
    Loopback(Ipv4Net),
}

/// The desired redirect of a VM, without the pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    range: Ipv4Net,
    capture_port: u16,
}

impl Redirect {
    /// The name of the set of pairs in the own table.
    pub const SET: &str = "pairs";

    /// TCP connections that this VM opens to a pair in `range` go to 127.0.0.1:`capture_port`. Every other TCP
    /// connection to the range is refused with a TCP reset, and a UDP datagram with an ICMP "port unreachable", as a
    /// host does for a closed port.
    ///
    /// # Errors
    /// When the port is 0, or the range overlaps loopback.
    pub fn new(range: Ipv4Net, capture_port: u16) -> Result<Self, RedirectError> {
        let range = range.trunc();
        let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        if range.contains(&loopback) || loopback.contains(&range) {
            return Err(RedirectError::Loopback(range));
        }
        if capture_port == 0 {
            return Err(RedirectError::ZeroPort);
        }
        Ok(Self { range, capture_port })
    }

    /// The range of virtual IPs.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The content of boshy's table for these pairs. A NAT chain in an inet table needs Linux 5.2.
    ///
    /// Priority -105 precedes iptables' -100. The first chain that translates a connection wins, and between equal
    /// priorities the order of registration would decide. The refusal is in a NAT chain, too, because only the first
    /// packet of a connection traverses it: a filter chain would cost time for every packet of the VM.
    pub fn ruleset(&self, pairs: &Arc<Pairs>) -> Ruleset {
        let base = Base { kind: "nat".into(), hook: Hook::OUTPUT, priority: -105, policy: Policy::ACCEPT };
        let into_own = Rule::new([Match::Destination(self.range)], Verdict::Jump("capture".into()));
        let own = vec![
            Rule::new([Match::DestinationIn(Self::SET.into())], Verdict::Redirect(self.capture_port)),
            Rule::new([Match::Tcp], Verdict::Reset),
            Rule::new([Match::Udp], Verdict::Redirect(CLOSED)),
        ];
        Ruleset {
            sets: BTreeMap::from([(Self::SET, Arc::clone(pairs))]),
            chains: vec![
                Chain { name: "output", base: Some(base), rules: vec![into_own] },
                Chain { name: "capture", base: None, rules: own },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_that_would_cut_the_vm_off_is_refused() {
        for range in ["127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0", "126.0.0.0/7"] {
            let range = range.parse().unwrap();
            assert_eq!(Redirect::new(range, 15001), Err(RedirectError::Loopback(range)));
        }
        assert_eq!(Redirect::new("10.0.0.0/8".parse().unwrap(), 0), Err(RedirectError::ZeroPort));
    }

    #[test]
    fn an_address_inside_the_range_means_the_range() {
        let redirect = Redirect::new("169.254.255.7/24".parse().unwrap(), 15001).unwrap();
        assert_eq!(redirect.range().to_string(), "169.254.255.0/24");
    }

    #[test]
    fn no_rule_is_about_anything_but_the_range() {
        let redirect = Redirect::new("169.254.255.0/24".parse().unwrap(), 15001).unwrap();
        let chains = redirect.ruleset(&Arc::default()).chains;
        let hooked: Vec<_> = chains.iter().filter(|chain| chain.base.is_some()).collect();
        assert_eq!(hooked.len(), 1);
        let rules: Vec<_> = hooked[0].rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["ip daddr 169.254.255.0/24 jump capture"]);
    }
}
