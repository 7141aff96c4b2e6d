//! The rules of the redirect: one range, one capture port, and the existing pairs of virtual IP and port.
//!
//! There are two chains rather than one, so that a connection that does not go to a virtual IP meets a single rule. The
//! pairs are in a set beside the rules, because pairs change often and rules never do.
//!
//! The rules cover only connections that this VM opens. They see no packet that arrives from the network, so they can
//! take over no port of the VM, including those of the platform.
//!
//! Where an operator names bridges of containers, connections to the range that arrive by these are redirected as well,
//! to the bridge's own address. Envoy then has to listen at every address: it would need the sysctl `route_localnet` to
//! be reached at 127.0.0.1. A second filter keeps others from that port.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

use crate::{
    ruleset::{Base, Chain, Hook, Match, Policy, Rule, Ruleset, Verdict},
    set::{Pairs, Set},
};

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
    /// No interface can have this name, or the prefix is that of every interface.
    #[error("{0:?} is no name of an interface, or prefix of names such as `br-*`")]
    Interface(String),
}

/// The desired redirect of a VM, without the pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    range: Ipv4Net,
    capture_port: u16,
    /// Interfaces by which containers of this VM reach it.
    containers: Vec<String>,
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
        Ok(Self { range, capture_port, containers: Vec::new() })
    }

    /// Redirects in addition what arrives by interfaces with these names. A final `*` stands for any rest of a name.
    ///
    /// # Errors
    /// When no interface can have the name, or every one can.
    pub fn with_containers(self, interfaces: &[String]) -> Result<Self, RedirectError> {
        let containers = interfaces.to_vec();
        match containers.iter().find(|name| !is_interface(name)) {
            Some(name) => Err(RedirectError::Interface(name.clone())),
            None => Ok(Self { containers, ..self }),
        }
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
        let mut chains = vec![
            Chain { name: "output", base: Some(base), rules: vec![into_own] },
            Chain { name: "capture", base: None, rules: own },
        ];
        if !self.containers.is_empty() {
            chains.extend(self.of_containers());
        }
        Ruleset { sets: BTreeMap::from([(Self::SET, Set::Pairs(Arc::clone(pairs)))]), chains }
    }

    /// The redirect of what arrives from containers, and the filter of what arrives from elsewhere at the capture port.
    fn of_containers(&self) -> [Chain; 3] {
        let base = |kind: &'static str, hook, priority| {
            Some(Base { kind: kind.into(), hook, priority, policy: Policy::ACCEPT })
        };
        let arrives = || self.containers.iter().map(|name| Match::Arrives(name.clone().into()));
        let into_own =
            arrives().map(|by| Rule::new([by, Match::Destination(self.range)], Verdict::Jump("capture".into())));
        let opening = [Match::Tcp, Match::Port(self.capture_port), Match::Opens];
        let open_to = [Match::Loopback].into_iter().chain(arrives()).map(|by| Rule::new([by], Verdict::Accept));
        let others = [Rule::new([Match::Tcp], Verdict::Reset)];
        [
            Chain { name: "prerouting", base: base("nat", Hook::PREROUTING, -105), rules: into_own.collect() },
            Chain {
                name: "input",
                base: base("filter", Hook::INPUT, 0),
                rules: vec![Rule::new(opening, Verdict::Jump("direct".into()))],
            },
            Chain { name: "direct", base: None, rules: open_to.chain(others).collect() },
        ]
    }
}

/// Whether an interface can have this name (`dev_valid_name` of the kernel), or one that begins like this prefix.
fn is_interface(name: &str) -> bool {
    let stem = name.strip_suffix('*').unwrap_or(name);
    let allowed = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'/' | b':' | b'*' | b'"');
    (1..=15).contains(&stem.len()) && stem.bytes().all(allowed) && !matches!(name, "." | ".." | "lo")
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
    fn bridges_are_named_or_share_a_prefix_and_not_every_interface_is_one() {
        let with = |name: &str| {
            let redirect = Redirect::new("169.254.255.0/24".parse().unwrap(), 15001).unwrap();
            redirect.with_containers(&[name.to_owned()])
        };
        for name in ["docker0", "br-*", "w*", "a-bridge-of-15c"] {
            let rules: Vec<_> = with(name).unwrap().ruleset(&Arc::default()).chains.remove(2).rules;
            assert_eq!(rules[0].to_string(), format!("iifname \"{name}\" ip daddr 169.254.255.0/24 jump capture"));
        }
        for name in ["", "*", "lo", "a b", "a/b", "br*0", "a-bridge-of-16-c"] {
            assert_eq!(with(name), Err(RedirectError::Interface(name.to_owned())));
        }
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
