//! Converts rules to nf_tables expressions and back.
//!
//! A rule is lowered to the same expressions that `nft` makes of its text, so rules written by either are recognised
//! when they are read back. An address prefix of whole bytes is a shorter load; any other prefix is a load, a mask and
//! a comparison.

use std::net::Ipv4Addr;

use boshy_netlink::{Attributes, Writer};
use ipnet::Ipv4Net;

use crate::{
    difference::ObservedRule,
    ruleset::{Match, Rule, Verdict},
};

// Constants of the kernel's nf_tables.h, nf_nat.h and in.h.
const LIST_ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
const VERDICT_REGISTER: u32 = 0;
const REGISTER: u32 = 1;
/// The second four bytes after an address in [`REGISTER`]. A pair takes eight bytes from there.
const REGISTER_BEHIND_ADDRESS: u32 = 9;
const META_IIF: u32 = 4;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const OPERATION_EQUAL: u32 = 0;
const VERDICT_ACCEPT: i32 = 1;
const VERDICT_JUMP: i32 = -3;
const PORT_SPECIFIED: u32 = 2;
const REJECT_BY_TCP_RESET: u32 = 1;
const IPV4: &[u8] = &[2];
const TCP: &[u8] = &[6];
const UDP: &[u8] = &[17];
const SOURCE_ADDRESS: u32 = 12;
const DESTINATION_ADDRESS: u32 = 16;
const DESTINATION_PORT: u32 = 2;

/// The expressions of which boshy's rules consist. All use register 1; a port after an address is in the next register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Load a property of the packet.
    Meta(u32),
    /// Load bytes of a header.
    Payload { base: u32, offset: u32, length: u32, register: u32 },
    /// Keep only these bits.
    Mask(Vec<u8>),
    /// Continue only when the register has this value.
    Equal(Vec<u8>),
    /// Load a constant.
    Load(Vec<u8>),
    /// End with a verdict: its code, and the target of a jump.
    Verdict(i32, Option<String>),
    /// Continue only when the register's content, with the length of the set's key, is in this set.
    Lookup(String),
    /// End with a redirect to the port in the register.
    Redirect,
    /// End with a refusal of this type, which has no code.
    Reject(u32),
    /// Any other expression, by its name.
    Other(String),
}

impl Expression {
    /// Writes the expression as one element of a rule's list.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let mut element = |name: &str, data: &dyn Fn(&mut Writer)| {
            writer.nested(LIST_ELEMENT, |writer| {
                writer.text(NAME, name);
                writer.nested(DATA, data);
            });
        };
        match self {
            Self::Meta(key) => element("meta", &|writer| {
                writer.u32_be(1, REGISTER);
                writer.u32_be(2, *key);
            }),
            Self::Payload { base, offset, length, register } => element("payload", &|writer| {
                for (kind, value) in [(1, *register), (2, *base), (3, *offset), (4, *length)] {
                    writer.u32_be(kind, value);
                }
            }),
            Self::Mask(mask) => element("bitwise", &|writer| {
                let length = u32::try_from(mask.len()).expect("a mask is as long as an address");
                for (kind, value) in [(1, REGISTER), (2, REGISTER), (3, length)] {
                    writer.u32_be(kind, value);
                }
                writer.nested(4, |writer| writer.attribute(1, mask));
                writer.nested(5, |writer| writer.attribute(1, &vec![0; mask.len()]));
            }),
            Self::Equal(value) => element("cmp", &|writer| {
                writer.u32_be(1, REGISTER);
                writer.u32_be(2, OPERATION_EQUAL);
                writer.nested(3, |writer| writer.attribute(1, value));
            }),
            Self::Load(value) => element("immediate", &|writer| {
                writer.u32_be(1, REGISTER);
                writer.nested(2, |writer| writer.attribute(1, value));
            }),
            Self::Verdict(code, chain) => element("immediate", &|writer| {
                writer.u32_be(1, VERDICT_REGISTER);
                writer.nested(2, |writer| {
                    writer.nested(2, |writer| {
                        writer.attribute(1, &code.to_be_bytes());
                        if let Some(chain) = chain {
                            writer.text(2, chain);
                        }
                    });
                });
            }),
            Self::Lookup(set) => element("lookup", &|writer| {
                writer.text(1, set);
                writer.u32_be(2, REGISTER);
            }),
            Self::Reject(kind) => element("reject", &|writer| writer.u32_be(1, *kind)),
            Self::Redirect => element("redir", &|writer| {
                writer.u32_be(1, REGISTER);
                writer.u32_be(3, PORT_SPECIFIED);
            }),
            Self::Other(name) => element(name, &|_| {}),
        }
    }

    /// Parses one element of a rule's list.
    pub(crate) fn read(element: Attributes<'_>) -> Self {
        let name = element.text(NAME).unwrap_or_default();
        Self::known(&name, element.inside(DATA)).unwrap_or(Self::Other(name))
    }

    fn known(name: &str, data: Attributes<'_>) -> Option<Self> {
        let numbers = |wanted: &[(u16, u32)]| wanted.iter().all(|(kind, value)| data.u32_be(*kind) == Some(*value));
        let bytes = |kind| data.inside(kind).get(1).map(<[u8]>::to_vec);
        match name {
            "meta" if numbers(&[(1, REGISTER)]) => Some(Self::Meta(data.u32_be(2)?)),
            "payload" => Some(Self::Payload {
                register: data.u32_be(1)?,
                base: data.u32_be(2)?,
                offset: data.u32_be(3)?,
                length: data.u32_be(4)?,
            }),
            // The flags attribute is present when the rule matches what is not in the set.
            "lookup" if numbers(&[(2, REGISTER)]) && data.u32_be(5).unwrap_or(0) == 0 => {
                Some(Self::Lookup(data.text(1)?))
            }
            "reject" if data.get(2).is_none() => Some(Self::Reject(data.u32_be(1)?)),
            "bitwise" if numbers(&[(1, REGISTER), (2, REGISTER)]) && data.u32_be(6).unwrap_or(0) == 0 => {
                bytes(5)?.iter().all(|byte| *byte == 0).then_some(())?;
                Some(Self::Mask(bytes(4)?))
            }
            "cmp" if numbers(&[(1, REGISTER), (2, OPERATION_EQUAL)]) => Some(Self::Equal(bytes(3)?)),
            "immediate" if numbers(&[(1, REGISTER)]) => Some(Self::Load(bytes(2)?)),
            "immediate" if numbers(&[(1, VERDICT_REGISTER)]) => {
                let verdict = data.inside(2).inside(2);
                Some(Self::Verdict(verdict.u32_be(1)?.cast_signed(), verdict.text(2)))
            }
            // The kernel also reports the first port of the range as its last.
            "redir" if numbers(&[(1, REGISTER), (3, PORT_SPECIFIED)]) && data.u32_be(2).unwrap_or(1) == 1 => {
                Some(Self::Redirect)
            }
            _ => None,
        }
    }
}

/// Index of loopback, which is the first interface of every network namespace.
const LOOPBACK: [u8; 4] = 1u32.to_ne_bytes();
/// FIN, SYN, RST and ACK of the flags of TCP.
const FLAGS: [u8; 1] = [0x17];
const SYN: [u8; 1] = [0x02];

/// Loads the first bytes of the address at this offset.
fn address(offset: u32, length: u32) -> Expression {
    Expression::Payload { base: NETWORK_HEADER, offset, length, register: REGISTER }
}

/// Loads the destination port alone.
const PORT: Expression =
    Expression::Payload { base: TRANSPORT_HEADER, offset: DESTINATION_PORT, length: 2, register: REGISTER };

/// Loads the flags of TCP.
const TCP_FLAGS: Expression = Expression::Payload { base: TRANSPORT_HEADER, offset: 13, length: 1, register: REGISTER };

const PORT_BEHIND_ADDRESS: Expression = Expression::Payload {
    base: TRANSPORT_HEADER,
    offset: DESTINATION_PORT,
    length: 2,
    register: REGISTER_BEHIND_ADDRESS,
};

/// Converts a rule to expressions.
pub(crate) fn lower(rule: &Rule) -> Vec<Expression> {
    use Expression::{Equal, Load, Lookup, Mask, Meta, Redirect, Reject};
    let mut all = Vec::new();
    for each in &rule.matches {
        match each {
            Match::Destination(net) => all.extend(in_network(DESTINATION_ADDRESS, *net)),
            Match::Source(net) => all.extend(in_network(SOURCE_ADDRESS, *net)),
            Match::Loopback => all.extend([Meta(META_IIF), Equal(LOOPBACK.to_vec())]),
            Match::Port(port) => all.extend([PORT, Equal(port.to_be_bytes().to_vec())]),
            Match::Arrives(interface) => all.extend([Meta(META_IIFNAME), Equal(name_compared(interface))]),
            Match::Opens => all.extend([TCP_FLAGS, Mask(FLAGS.to_vec()), Equal(SYN.to_vec())]),
            Match::Tcp => all.extend([Meta(META_L4PROTO), Equal(TCP.to_vec())]),
            Match::Udp => all.extend([Meta(META_L4PROTO), Equal(UDP.to_vec())]),
            Match::DestinationIn(set) => all.extend([
                Meta(META_NFPROTO),
                Equal(IPV4.to_vec()),
                Meta(META_L4PROTO),
                Equal(TCP.to_vec()),
                address(DESTINATION_ADDRESS, 4),
                PORT_BEHIND_ADDRESS,
                Lookup(set.clone().into_owned()),
            ]),
        }
    }
    match &rule.verdict {
        Verdict::Jump(chain) => all.push(Expression::Verdict(VERDICT_JUMP, Some(chain.clone().into_owned()))),
        Verdict::Redirect(port) => all.extend([Load(port.to_be_bytes().to_vec()), Redirect]),
        Verdict::Reset => all.push(Reject(REJECT_BY_TCP_RESET)),
        Verdict::Accept => all.push(Expression::Verdict(VERDICT_ACCEPT, None)),
    }
    all
}

/// Length of an interface's name in the register, with zeros behind it.
const NAME_LENGTH: usize = 16;

/// What the name of an interface is compared with: all of the register, or as much of it as precedes a final `*`.
fn name_compared(interface: &str) -> Vec<u8> {
    if let Some(prefix) = interface.strip_suffix('*') {
        return prefix.as_bytes().to_vec();
    }
    let mut whole = interface.as_bytes().to_vec();
    whole.resize(NAME_LENGTH, 0);
    whole
}

/// The reverse of [`name_compared`].
fn interface(compared: &[u8]) -> Option<String> {
    let name = compared.split(|octet| *octet == 0).next().unwrap_or_default();
    let (whole, text) = (compared.len() == NAME_LENGTH, String::from_utf8(name.to_vec()).ok()?);
    let interface = if whole { text } else { format!("{text}*") };
    (name_compared(&interface) == compared).then_some(interface)
}

/// Continues only when the address at this offset is in the network.
fn in_network(offset: u32, net: Ipv4Net) -> Vec<Expression> {
    use Expression::{Equal, Mask, Meta};
    let bits = net.prefix_len();
    let whole = bits > 0 && bits.is_multiple_of(8);
    let length = if whole { bits.div_ceil(8) } else { 4 };
    let mask = (!whole).then(|| Mask(net.netmask().octets().to_vec()));
    let value = Equal(net.network().octets()[..length.into()].to_vec());
    let family = [Meta(META_NFPROTO), Equal(IPV4.to_vec()), address(offset, length.into())];
    family.into_iter().chain(mask).chain([value]).collect()
}

/// Converts expressions to a rule of the model, where there is one.
pub(crate) fn lift(expressions: &[Expression]) -> ObservedRule {
    match recognise(expressions) {
        Some(rule) => ObservedRule::Known(rule),
        None => ObservedRule::Foreign(format!("{expressions:?}")),
    }
}

fn recognise(mut rest: &[Expression]) -> Option<Rule> {
    use Expression::{Equal, Load, Lookup, Mask, Meta, Payload, Redirect, Reject};
    let mut matches = Vec::new();
    loop {
        match rest {
            [
                Meta(META_NFPROTO),
                Equal(family),
                Meta(META_L4PROTO),
                Equal(protocol),
                whole,
                port,
                Lookup(set),
                tail @ ..,
            ] if family == IPV4
                && protocol == TCP
                && *whole == address(DESTINATION_ADDRESS, 4)
                && *port == PORT_BEHIND_ADDRESS =>
            {
                matches.push(Match::DestinationIn(set.clone().into()));
                rest = tail;
            }
            [
                Meta(META_NFPROTO),
                Equal(family),
                Payload {
                    base: NETWORK_HEADER,
                    offset: offset @ (SOURCE_ADDRESS | DESTINATION_ADDRESS),
                    length,
                    register: REGISTER,
                },
                tail @ ..,
            ] if family == IPV4 => {
                let (net, tail) = match tail {
                    [Mask(mask), Equal(address), tail @ ..] if *length == 4 => (masked(mask, address)?, tail),
                    [Equal(address), tail @ ..] => (prefix(*length, address)?, tail),
                    _ => return None,
                };
                matches.push(if *offset == SOURCE_ADDRESS { Match::Source(net) } else { Match::Destination(net) });
                rest = tail;
            }
            [Meta(META_L4PROTO), Equal(protocol), tail @ ..] if protocol == TCP || protocol == UDP => {
                matches.push(if protocol == TCP { Match::Tcp } else { Match::Udp });
                rest = tail;
            }
            [Meta(META_IIF), Equal(interface), tail @ ..] if *interface == LOOPBACK => {
                matches.push(Match::Loopback);
                rest = tail;
            }
            [Meta(META_IIFNAME), Equal(compared), tail @ ..] => {
                matches.push(Match::Arrives(interface(compared)?.into()));
                rest = tail;
            }
            [port, Equal(value), tail @ ..] if *port == PORT => {
                matches.push(Match::Port(u16::from_be_bytes(value.as_slice().try_into().ok()?)));
                rest = tail;
            }
            [flags, Mask(mask), Equal(value), tail @ ..] if *flags == TCP_FLAGS && *mask == FLAGS && *value == SYN => {
                matches.push(Match::Opens);
                rest = tail;
            }
            [Expression::Verdict(VERDICT_ACCEPT, None)] => return Some(Rule { matches, verdict: Verdict::Accept }),
            [Expression::Verdict(VERDICT_JUMP, Some(chain))] => {
                return Some(Rule { matches, verdict: Verdict::Jump(chain.clone().into()) });
            }
            [Reject(REJECT_BY_TCP_RESET)] => return Some(Rule { matches, verdict: Verdict::Reset }),
            [Load(port), Redirect] => {
                let port = u16::from_be_bytes(port.as_slice().try_into().ok()?);
                return Some(Rule { matches, verdict: Verdict::Redirect(port) });
            }
            _ => return None,
        }
    }
}

fn masked(mask: &[u8], address: &[u8]) -> Option<Ipv4Net> {
    let octets = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    Ipv4Net::with_netmask(octets(address)?, octets(mask)?).ok()
}

fn prefix(length: u32, address: &[u8]) -> Option<Ipv4Net> {
    let bytes = usize::try_from(length).ok().filter(|bytes| *bytes == address.len() && (1..=4).contains(bytes))?;
    let mut octets = [0; 4];
    octets[..bytes].copy_from_slice(address);
    Ipv4Net::new(octets.into(), u8::try_from(bytes * 8).ok()?).ok()
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
