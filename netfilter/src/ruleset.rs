//! The content of boshy's table as a value: chains with rules, and sets that the rules refer to. Displays are those of
//! nft.
//!
//! Nothing here knows what the rules are for. A use of the table is a function that makes such a value, as
//! [`Redirect`](crate::Redirect) does; whatever the value contains is written, compared and removed by the same code.
//!
//! Elements of sets change often and rules rarely, so elements are outside of the rules and are changed without them.

use std::{borrow::Cow, fmt};

use ipnet::{IpNet, Ipv4Net};

use crate::set::{SetKind, Sets};

/// The desired content of the table `inet boshy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// In any order.
    pub chains: Vec<Chain>,
    /// The sets that rules of the chains refer to.
    pub sets: Sets,
}

impl Ruleset {
    /// Whether another value differs in elements of sets at most, and not in chains, rules, or names and kinds of sets.
    pub(crate) fn has_the_rules_of(&self, other: &Self) -> bool {
        let kinds = |sets: &Sets| sets.iter().map(|(name, set)| (*name, set.kind())).collect::<Vec<(&str, SetKind)>>();
        self.chains == other.chains && kinds(&self.sets) == kinds(&other.sets)
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

/// The hook of a base chain, and what it does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `nat`, `filter` or `route`.
    pub kind: Cow<'static, str>,
    /// Place in the path of a packet.
    pub hook: Hook,
    /// Priority; a lower one comes first.
    pub priority: i32,
    /// Verdict for a packet that no rule decided.
    pub policy: Policy,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {} priority {}; policy {};", self.kind, self.hook, self.priority, self.policy)
    }
}

/// A place in the path of a packet (`NF_INET_*` of the kernel's `netfilter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook(pub(crate) u32);

impl Hook {
    /// Packets that arrive, before routing.
    pub const PREROUTING: Self = Self(0);
    /// Packets for this VM.
    pub const INPUT: Self = Self(1);
    /// Packets of others that this VM passes on.
    pub const FORWARD: Self = Self(2);
    /// Packets that this VM sends, before routing.
    pub const OUTPUT: Self = Self(3);
    /// Packets that leave, after routing.
    pub const POSTROUTING: Self = Self(4);
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, &["prerouting", "input", "forward", "output", "postrouting"], self.0)
    }
}

/// The verdict of a base chain for a packet that no rule decided (`NF_DROP` and `NF_ACCEPT` of `netfilter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(pub(crate) u32);

impl Policy {
    /// The packet goes no further.
    pub const DROP: Self = Self(0);
    /// The packet goes on.
    pub const ACCEPT: Self = Self(1);
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, &["drop", "accept"], self.0)
    }
}

fn named(f: &mut fmt::Formatter<'_>, names: &[&str], number: u32) -> fmt::Result {
    match usize::try_from(number).ok().and_then(|place| names.get(place)) {
        Some(name) => f.write_str(name),
        None => write!(f, "{number}"),
    }
}

/// Conditions on a packet, and the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All conditions must hold.
    pub matches: Vec<Match>,
    /// Verdict when they hold.
    pub verdict: Verdict,
}

impl Rule {
    pub(crate) fn new<const N: usize>(matches: [Match; N], verdict: Verdict) -> Self {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// IPv4 with a destination in this network.
    Destination(Ipv4Net),
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// TCP over IPv4 with a destination address and port in the set of this name.
    DestinationIn(Cow<'static, str>),
    /// A source in this network, of either family.
    Source(IpNet),
    /// Arrives over loopback: sent by this VM itself.
    Loopback,
    /// Opens a connection: SYN without ACK, FIN and RST. It follows a match that says that the packet is TCP.
    Opens,
    /// This destination port. It follows a match that says that the packet is TCP.
    Port(u16),
    /// A destination port in the set of this name. It follows a match that says that the packet is TCP.
    PortIn(Cow<'static, str>),
    /// The packet has this mark.
    Mark(u32),
    /// Its connection has this mark.
    ConnectionMark(u32),
    /// Arrives by the interface of this name, or by any whose name begins with what precedes a final `*`.
    Arrives(Cow<'static, str>),
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(net) => write!(f, "ip daddr {net}"),
            Self::Tcp => f.write_str("meta l4proto tcp"),
            Self::Udp => f.write_str("meta l4proto udp"),
            Self::DestinationIn(set) => write!(f, "ip daddr . tcp dport @{set}"),
            Self::Source(net @ IpNet::V4(_)) => write!(f, "ip saddr {net}"),
            Self::Source(net @ IpNet::V6(_)) => write!(f, "ip6 saddr {net}"),
            Self::Loopback => f.write_str("iif lo"),
            Self::Port(port) => write!(f, "tcp dport {port}"),
            Self::PortIn(set) => write!(f, "tcp dport @{set}"),
            Self::Mark(mark) => write!(f, "meta mark {mark:#010x}"),
            Self::ConnectionMark(mark) => write!(f, "ct mark {mark:#010x}"),
            Self::Arrives(interface) => write!(f, "iifname \"{interface}\""),
            Self::Opens => f.write_str("tcp flags syn / fin,syn,rst,ack"),
        }
    }
}

/// Verdict on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Continues in another chain and then returns.
    Jump(Cow<'static, str>),
    /// Redirected to this port of the VM: of 127.0.0.1 in the output hook, of the device's address elsewhere.
    Redirect(u16),
    /// Led to this port of the address that it is for. Of `inet` tables, since Linux 5.9.
    ToPort(u16),
    /// Its connection gets this mark. The next rule follows.
    MarkConnection(u32),
    /// Gets this mark. The next rule follows.
    Mark(u32),
    /// Answered with a TCP reset and dropped.
    Reset,
    /// Passes this chain, and those that led to it.
    Accept,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::ToPort(port) => write!(f, "dnat to :{port}"),
            Self::MarkConnection(mark) => write!(f, "ct mark set {mark:#010x}"),
            Self::Mark(mark) => write!(f, "meta mark set {mark:#010x}"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Accept => f.write_str("accept"),
        }
    }
}
