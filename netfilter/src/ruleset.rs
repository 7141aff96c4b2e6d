//! The desired rules: one range, one capture port, the existing pairs of virtual IP and port, and the chains that
//! follow from them.
//!
//! There are two chains rather than one, so that a connection that does not go to a virtual IP meets a single rule. The
//! pairs are in a set beside the rules, because pairs change often and rules never do.
//!
//! The rules cover only connections that this VM opens. They see no packet that arrives from the network, so they can
//! take over no port of the VM, including those of the platform.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

/// Existing pairs of virtual IP and port. Any port may be in a pair: no port of a virtual IP is special.
pub type Pairs = BTreeSet<SocketAddrV4>;

/// The name of the set of pairs in the own table.
pub(crate) const PAIRS: &str = "pairs";

/// A port on which no process can listen. The kernel answers a datagram to it as for any closed port.
const CLOSED: u16 = 0;

/// Why a rule set is rejected before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    /// Port 0 can be neither listened on nor connected to.
    #[error("the capture port is 0; a port is 1 to 65535")]
    ZeroPort,
    /// Redirecting loopback would cut the VM off from its own services, including Envoy.
    #[error("the range {0} overlaps loopback 127.0.0.0/8, which must not be redirected")]
    Loopback(Ipv4Net),
}

/// The desired redirect of a VM, without the pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    range: Ipv4Net,
    capture_port: u16,
}

impl Ruleset {
    /// TCP connections that this VM opens to a pair in `range` go to 127.0.0.1:`capture_port`. Every other TCP
    /// connection to the range is refused with a TCP reset, and a UDP datagram with an ICMP "port unreachable", as a
    /// host does for a closed port.
    ///
    /// # Errors
    /// When the port is 0, or the range overlaps loopback.
    pub fn new(range: Ipv4Net, capture_port: u16) -> Result<Self, RulesetError> {
        let range = range.trunc();
        let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        if range.contains(&loopback) || loopback.contains(&range) {
            return Err(RulesetError::Loopback(range));
        }
        if capture_port == 0 {
            return Err(RulesetError::ZeroPort);
        }
        Ok(Self { range, capture_port })
    }

    /// The range of virtual IPs.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The port of 127.0.0.1 to which connections are redirected.
    pub fn capture_port(&self) -> u16 {
        self.capture_port
    }

    /// The chains of boshy's table, `inet boshy`. A NAT chain in an inet table needs Linux 5.2.
    ///
    /// Priority -105 precedes iptables' -100. The first chain that translates a connection wins, and between equal
    /// priorities the order of registration would decide. The refusal is in a NAT chain, too, because only the first
    /// packet of a connection traverses it: a filter chain would cost time for every packet of the VM.
    pub fn chains(&self) -> Vec<Chain> {
        let (kind, hook, policy) = (Cow::Borrowed("nat"), Cow::Borrowed("output"), Cow::Borrowed("accept"));
        let base = Base { kind, hook, priority: -105, policy };
        let into_own = Rule::new([Match::Destination(self.range)], Verdict::Jump("capture".into()));
        let own = vec![
            Rule::new([Match::Pair], Verdict::Redirect(self.capture_port)),
            Rule::new([Match::Tcp], Verdict::Reset),
            Rule::new([Match::Udp], Verdict::Redirect(CLOSED)),
        ];
        vec![
            Chain { name: "output", base: Some(base), rules: vec![into_own] },
            Chain { name: "capture", base: None, rules: own },
        ]
    }
}

/// A desired chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Name of the chain.
    pub name: &'static str,
    /// Its hook; `None` for a chain that is the target of a jump.
    pub base: Option<Base>,
    /// Rules in the order of evaluation.
    pub rules: Vec<Rule>,
}

/// Hook of a base chain. Displays as nft writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `nat`, `filter` or `route`.
    pub kind: Cow<'static, str>,
    /// Hook name, such as `output`.
    pub hook: Cow<'static, str>,
    /// Priority; a lower one comes first.
    pub priority: i32,
    /// Verdict for a packet that no rule decided.
    pub policy: Cow<'static, str>,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {} priority {}; policy {};", self.kind, self.hook, self.priority, self.policy)
    }
}

/// Conditions on a packet, and the verdict. Displays as nft writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All conditions must hold.
    pub matches: Vec<Match>,
    /// Verdict when they hold.
    pub verdict: Verdict,
}

impl Rule {
    fn new<const N: usize>(matches: [Match; N], verdict: Verdict) -> Self {
        Self { matches: matches.into(), verdict }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for each in &self.matches {
            write!(f, "{each} ")?;
        }
        self.verdict.fmt(f)
    }
}

/// A condition on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// IPv4 with a destination in this network.
    Destination(Ipv4Net),
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TCP over IPv4 with a destination address and port in the set of pairs.
    Pair,
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(net) => write!(f, "ip daddr {net}"),
            Self::Tcp => f.write_str("meta l4proto tcp"),
            Self::Udp => f.write_str("meta l4proto udp"),
            Self::Pair => write!(f, "ip daddr . tcp dport @{PAIRS}"),
        }
    }
}

/// Verdict on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Continues in another chain and then returns.
    Jump(Cow<'static, str>),
    /// Redirected to this port of 127.0.0.1.
    Redirect(u16),
    /// Answered with a TCP reset and dropped.
    Reset,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::Reset => f.write_str("reject with tcp reset"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_set_that_would_cut_the_vm_off_is_refused() {
        for range in ["127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0", "126.0.0.0/7"] {
            let range = range.parse().unwrap();
            assert_eq!(Ruleset::new(range, 15001), Err(RulesetError::Loopback(range)));
        }
        assert_eq!(Ruleset::new("10.0.0.0/8".parse().unwrap(), 0), Err(RulesetError::ZeroPort));
    }

    #[test]
    fn an_address_inside_the_range_means_the_range() {
        let ruleset = Ruleset::new("169.254.255.7/24".parse().unwrap(), 15001).unwrap();
        assert_eq!(ruleset.range().to_string(), "169.254.255.0/24");
    }

    #[test]
    fn no_rule_is_about_anything_but_the_range() {
        let chains = Ruleset::new("169.254.255.0/24".parse().unwrap(), 15001).unwrap().chains();
        let hooked: Vec<_> = chains.iter().filter(|chain| chain.base.is_some()).collect();
        assert_eq!(hooked.len(), 1);
        let rules: Vec<_> = hooked[0].rules.iter().map(ToString::to_string).collect();
        assert_eq!(rules, ["ip daddr 169.254.255.0/24 jump capture"]);
    }
}
