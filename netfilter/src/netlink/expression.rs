//! Converts rules to nf_tables expressions and back.
//!
//! A rule is lowered to the same expressions that `nft` makes of its text, so rules written by either are recognised
//! when they are read back. An address prefix of whole bytes is a shorter load; any other prefix is a load, a mask and
//! a comparison.

use boshy_netlink::{Attributes, Writer};
use ipnet::IpNet;

use super::compared::{interface, masked, name_compared, octets, prefix};
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
const META_MARK: u32 = 3;
const META_IIF: u32 = 4;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_MARK: u32 = 3;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const OPERATION_EQUAL: u32 = 0;
const VERDICT_ACCEPT: i32 = 1;
const VERDICT_JUMP: i32 = -3;
const PORT_SPECIFIED: u32 = 2;
const REJECT_BY_TCP_RESET: u32 = 1;
const DNAT: u32 = 1;
const INET: u32 = 1;
const IPV4: &[u8] = &[2];
const IPV6: &[u8] = &[10];
const TCP: &[u8] = &[6];
const UDP: &[u8] = &[17];
const SOURCE_ADDRESS: u32 = 12;
const SOURCE_ADDRESS_OF_IPV6: u32 = 8;
const DESTINATION_ADDRESS: u32 = 16;
const DESTINATION_PORT: u32 = 2;

/// The expressions of which boshy's rules consist. All use register 1; a port after an address is in the next register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Load a property of the packet.
    Meta(u32),
    /// Set a property of the packet to the register's content.
    SetMeta(u32),
    /// Load a property of the connection.
    Ct(u32),
    /// Set a property of the connection to the register's content.
    SetCt(u32),
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
    /// End with another destination port, the one in the register, at the same address.
    DestinationPort,
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
            Self::SetMeta(key) => element("meta", &|writer| {
                writer.u32_be(2, *key);
                writer.u32_be(3, REGISTER);
            }),
            Self::Ct(key) => element("ct", &|writer| {
                writer.u32_be(1, REGISTER);
                writer.u32_be(2, *key);
            }),
            Self::SetCt(key) => element("ct", &|writer| {
                writer.u32_be(2, *key);
                writer.u32_be(4, REGISTER);
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
            Self::DestinationPort => element("nat", &|writer| {
                for (kind, value) in [(1, DNAT), (2, INET), (5, REGISTER)] {
                    writer.u32_be(kind, value);
                }
            }),
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
            "meta" if numbers(&[(3, REGISTER)]) => Some(Self::SetMeta(data.u32_be(2)?)),
            // The direction is absent for what both directions share.
            "ct" if numbers(&[(1, REGISTER)]) && data.get(3).is_none() => Some(Self::Ct(data.u32_be(2)?)),
            "ct" if numbers(&[(4, REGISTER)]) && data.get(3).is_none() => Some(Self::SetCt(data.u32_be(2)?)),
            // No address is given. The kernel reports the port as its last, too, and that it is given.
            "nat"
                if numbers(&[(1, DNAT), (2, INET), (5, REGISTER)]) && (3..=4).all(|kind| data.get(kind).is_none()) =>
            {
                let as_written = |kind, value| data.u32_be(kind).unwrap_or(value) == value;
                (as_written(6, REGISTER) && as_written(7, PORT_SPECIFIED)).then_some(Self::DestinationPort)
            }
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
    use Expression::{Ct, DestinationPort, Equal, Load, Lookup, Mask, Meta, Redirect, Reject, SetCt, SetMeta};
    let mut all = Vec::new();
    for each in &rule.matches {
        match each {
            Match::Destination(net) => all.extend(in_network(IPV4, DESTINATION_ADDRESS, IpNet::V4(*net))),
            Match::Source(net @ IpNet::V4(_)) => all.extend(in_network(IPV4, SOURCE_ADDRESS, *net)),
            Match::Source(net @ IpNet::V6(_)) => all.extend(in_network(IPV6, SOURCE_ADDRESS_OF_IPV6, *net)),
            Match::Loopback => all.extend([Meta(META_IIF), Equal(LOOPBACK.to_vec())]),
            Match::Port(port) => all.extend([PORT, Equal(port.to_be_bytes().to_vec())]),
            Match::PortIn(set) => all.extend([PORT, Lookup(set.clone().into_owned())]),
            Match::Mark(mark) => all.extend([Meta(META_MARK), Equal(mark.to_ne_bytes().to_vec())]),
            Match::ConnectionMark(mark) => all.extend([Ct(CT_MARK), Equal(mark.to_ne_bytes().to_vec())]),
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
        Verdict::ToPort(port) => all.extend([Load(port.to_be_bytes().to_vec()), DestinationPort]),
        Verdict::MarkConnection(mark) => all.extend([Load(mark.to_ne_bytes().to_vec()), SetCt(CT_MARK)]),
        Verdict::Mark(mark) => all.extend([Load(mark.to_ne_bytes().to_vec()), SetMeta(META_MARK)]),
        Verdict::Reset => all.push(Reject(REJECT_BY_TCP_RESET)),
        Verdict::Accept => all.push(Expression::Verdict(VERDICT_ACCEPT, None)),
    }
    all
}

/// Continues only when the address at this offset is in the network.
fn in_network(family: &[u8], offset: u32, net: IpNet) -> Vec<Expression> {
    use Expression::{Equal, Mask, Meta};
    let (bits, network) = (net.prefix_len(), octets(net.network()));
    let whole = bits > 0 && bits.is_multiple_of(8);
    let length = if whole { usize::from(bits / 8) } else { network.len() };
    let mask = (!whole).then(|| Mask(octets(net.netmask())));
    let load = address(offset, u32::try_from(length).expect("an address has at most 16 bytes"));
    let family = [Meta(META_NFPROTO), Equal(family.to_vec()), load];
    family.into_iter().chain(mask).chain([Equal(network[..length].to_vec())]).collect()
}

/// Converts expressions to a rule of the model, where there is one.
pub(crate) fn lift(expressions: &[Expression]) -> ObservedRule {
    match recognise(expressions) {
        Some(rule) => ObservedRule::Known(rule),
        None => ObservedRule::Foreign(format!("{expressions:?}")),
    }
}

fn recognise(mut rest: &[Expression]) -> Option<Rule> {
    use Expression::{Ct, DestinationPort, Equal, Load, Lookup, Mask, Meta, Payload, Redirect, Reject, SetCt, SetMeta};
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
                Payload { base: NETWORK_HEADER, offset, length, register: REGISTER },
                tail @ ..,
            ] => {
                let whole: usize = if family == IPV4 { 4 } else { 16 };
                let (net, tail) = match tail {
                    [Mask(mask), Equal(address), tail @ ..] if usize::try_from(*length) == Ok(whole) => {
                        (masked(mask, address)?, tail)
                    }
                    [Equal(address), tail @ ..] => (prefix(whole, *length, address)?, tail),
                    _ => return None,
                };
                matches.push(match (family.as_slice(), *offset, net) {
                    (IPV4, DESTINATION_ADDRESS, IpNet::V4(net)) => Match::Destination(net),
                    (IPV4, SOURCE_ADDRESS, IpNet::V4(_)) | (IPV6, SOURCE_ADDRESS_OF_IPV6, IpNet::V6(_)) => {
                        Match::Source(net)
                    }
                    _ => return None,
                });
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
            [load @ (Meta(META_MARK) | Ct(CT_MARK)), Equal(value), tail @ ..] => {
                let mark = mark(value)?;
                let of_packet = *load == Meta(META_MARK);
                matches.push(if of_packet { Match::Mark(mark) } else { Match::ConnectionMark(mark) });
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
            [port, Lookup(set), tail @ ..] if *port == PORT => {
                matches.push(Match::PortIn(set.clone().into()));
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
            [Load(port), DestinationPort] => {
                let port = u16::from_be_bytes(port.as_slice().try_into().ok()?);
                return Some(Rule { matches, verdict: Verdict::ToPort(port) });
            }
            [Load(value), SetCt(CT_MARK)] => {
                return Some(Rule { matches, verdict: Verdict::MarkConnection(mark(value)?) });
            }
            [Load(value), SetMeta(META_MARK)] => return Some(Rule { matches, verdict: Verdict::Mark(mark(value)?) }),
            _ => return None,
        }
    }
}

fn mark(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
