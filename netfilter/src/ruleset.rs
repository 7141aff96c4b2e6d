//! What is desired: one range, one port, and the ports that are left alone; and the one table of rules that follows from it.
//!
//! Everything that is rendered, compared or applied comes from [`Ruleset::table`], so the backends cannot disagree about what the
//! rules say. Two chains, not one: a connection that does not go to a virtual IP meets a single rule.
//!
//! Only egress is described. Ingress would be a second hook chain with its own rules; nothing else would change.

use std::{borrow::Cow, collections::BTreeSet, fmt, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// Where Envoy captures outbound connections unless configured otherwise.
pub const DEFAULT_CAPTURE_PORT: u16 = 15001;

/// Ports that are never redirected: ssh, monit, NATS and the BOSH agent's HTTPS.
pub const ALWAYS_BYPASSED: [u16; 4] = [22, 2822, 4222, 6868];

/// How many ports may be bypassed: each is a rule, and all rules must go into one message to the kernel.
pub const MAX_BYPASSED: usize = 256;

/// Why a rule set is refused before anything is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    /// Port 0 cannot be listened on, nor connected to.
    #[error("{0} is 0; a port is 1 to 65535")]
    ZeroPort(&'static str),
    /// Redirecting loopback would cut the VM off from its own services, Envoy among them.
    #[error("the range {0} overlaps loopback 127.0.0.0/8, which must not be redirected")]
    Loopback(Ipv4Net),
    /// More than [`MAX_BYPASSED`].
    #[error("{0} bypassed ports are more than {MAX_BYPASSED}")]
    TooManyPorts(usize),
}

/// The redirect that is desired on a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    range: Ipv4Net,
    capture_port: u16,
    bypass_ports: BTreeSet<u16>,
}

impl Ruleset {
    /// TCP connections that this VM opens to `range` go to 127.0.0.1:`capture_port`, except those to a bypassed port.
    /// [`ALWAYS_BYPASSED`] is part of every rule set, whatever is passed.
    ///
    /// # Errors
    /// When a port is 0, there are too many, or the range overlaps loopback.
    pub fn new(
        range: Ipv4Net,
        capture_port: u16,
        bypass_ports: impl IntoIterator<Item = u16>,
    ) -> Result<Self, RulesetError> {
        let range = range.trunc();
        let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        if range.contains(&loopback) || loopback.contains(&range) {
            return Err(RulesetError::Loopback(range));
        }
        let bypass_ports: BTreeSet<u16> = bypass_ports.into_iter().chain(ALWAYS_BYPASSED).collect();
        if capture_port == 0 {
            return Err(RulesetError::ZeroPort("the capture port"));
        }
        if bypass_ports.contains(&0) {
            return Err(RulesetError::ZeroPort("a bypassed port"));
        }
        if bypass_ports.len() > MAX_BYPASSED {
            return Err(RulesetError::TooManyPorts(bypass_ports.len()));
        }
        Ok(Self { range, capture_port, bypass_ports })
    }

    /// The virtual IPs.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// The port of 127.0.0.1 that captured connections reach.
    pub fn capture_port(&self) -> u16 {
        self.capture_port
    }

    /// The destination ports that are left alone, in order.
    pub fn bypass_ports(&self) -> impl Iterator<Item = u16> {
        self.bypass_ports.iter().copied()
    }

    /// The rules that bring it about, under the names of one kind of backend.
    pub fn table(&self, layout: &Layout) -> Table {
        let into_own = Rule {
            matches: vec![Match::Destination(self.range), Match::Tcp],
            verdict: Verdict::jump(layout.own_chain),
        };
        let bypasses =
            self.bypass_ports().map(|port| Rule { matches: vec![Match::TcpPort(port)], verdict: Verdict::Return });
        let redirect = Rule { matches: vec![Match::Tcp], verdict: Verdict::Redirect(self.capture_port) };
        Table {
            chains: vec![
                Chain { name: layout.hook_chain, base: layout.base.clone(), rules: vec![into_own] },
                Chain { name: layout.own_chain, base: None, rules: bypasses.chain([redirect]).collect() },
            ],
        }
    }
}

/// How a kind of backend names the two chains, and whether the first is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The chain that sees every packet that the VM sends.
    pub hook_chain: &'static str,
    /// The chain that decides about connections to the range.
    pub own_chain: &'static str,
    /// How the first chain is hooked in; `None` when it belongs to the system and holds rules of others as well.
    pub base: Option<Base>,
}

impl Layout {
    /// An own table, `inet boshy`. A NAT chain in an inet table needs Linux 5.2.
    ///
    /// Priority -105 comes before iptables' -100. The first chain that translates a connection wins, and between equal
    /// priorities the order of registration would decide.
    pub const NFTABLES: Self = Self {
        hook_chain: "output",
        own_chain: "capture",
        base: Some(Base {
            kind: Cow::Borrowed("nat"),
            hook: Cow::Borrowed("output"),
            priority: -105,
            policy: Cow::Borrowed("accept"),
        }),
    };

    /// An own chain in the system's table `nat`, reached by one jump from `OUTPUT`.
    pub const IPTABLES: Self = Self { hook_chain: "OUTPUT", own_chain: "BOSHY_OUTPUT", base: None };
}

/// Rules, grouped in chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// In the order in which they are written.
    pub chains: Vec<Chain>,
}

/// A chain that is desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// How it is hooked into the kernel; `None` for a chain that is jumped to, or that is not ours.
    pub base: Option<Base>,
    /// In the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// How a chain is hooked into the kernel. Displays as nft writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `nat`, `filter` or `route`.
    pub kind: Cow<'static, str>,
    /// Such as `output`.
    pub hook: Cow<'static, str>,
    /// Lower comes first.
    pub priority: i32,
    /// What becomes of a packet that no rule decided about.
    pub policy: Cow<'static, str>,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {} priority {}; policy {};", self.kind, self.hook, self.priority, self.policy)
    }
}

/// What a packet must have, and what then becomes of it. Displays as nft writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
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
    /// IPv4, to an address of this network.
    Destination(Ipv4Net),
    /// TCP.
    Tcp,
    /// TCP, to this port.
    TcpPort(u16),
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(net) => write!(f, "ip daddr {net}"),
            Self::Tcp => f.write_str("meta l4proto tcp"),
            Self::TcpPort(port) => write!(f, "tcp dport {port}"),
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on in another chain, and comes back.
    Jump(Cow<'static, str>),
    /// Goes on after the jump that led here.
    Return,
    /// Goes to this port of 127.0.0.1.
    Redirect(u16),
}

impl Verdict {
    fn jump(chain: &'static str) -> Self {
        Self::Jump(Cow::Borrowed(chain))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Return => f.write_str("return"),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_bosh_and_ssh_are_bypassed_whatever_is_asked() {
        let ruleset = Ruleset::new("169.254.255.0/24".parse().unwrap(), 15001, [9999, 22]).unwrap();
        assert_eq!(ruleset.bypass_ports().collect::<Vec<_>>(), [22, 2822, 4222, 6868, 9999]);
    }

    #[test]
    fn a_rule_set_that_would_cut_the_vm_off_is_refused() {
        for range in ["127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0", "126.0.0.0/7"] {
            let range = range.parse().unwrap();
            assert_eq!(Ruleset::new(range, 15001, []), Err(RulesetError::Loopback(range)));
        }
        let range = "10.0.0.0/8".parse().unwrap();
        assert_eq!(Ruleset::new(range, 0, []), Err(RulesetError::ZeroPort("the capture port")));
        assert_eq!(Ruleset::new(range, 1, [0]), Err(RulesetError::ZeroPort("a bypassed port")));
        assert_eq!(Ruleset::new(range, 1, 1..=u16::MAX), Err(RulesetError::TooManyPorts(65535)));
    }

    #[test]
    fn an_address_inside_the_range_means_the_range() {
        let ruleset = Ruleset::new("169.254.255.7/24".parse().unwrap(), 15001, []).unwrap();
        assert_eq!(ruleset.range().to_string(), "169.254.255.0/24");
    }
}
