//! Writes and parses the nf_tables messages of the table `inet boshy`, whatever chains and sets it contains.
//!
//! A batch is one transaction: the kernel applies all of it or nothing, and a packet meets either the old rules and
//! elements or the new ones. One kind of batch replaces the table: add it (so that the next step succeeds), delete it,
//! add it with its content. The other kind changes elements of sets and costs only these elements.

use std::net::{Ipv4Addr, SocketAddrV4};

use boshy_netlink::{ACK, APPEND, Attributes, CREATE, DUMP, Message, Writer};

use super::expression::{Expression, lift, lower};
use crate::{
    difference::{ObservedChain, ObservedRule},
    ruleset::{Base, Chain, Hook, Policy, Rule, Ruleset},
    set::{Element, Set, SetKind, Sets},
};

// Constants of the kernel's nfnetlink.h, nf_tables.h and netfilter.h.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const NEW_SET: u16 = 9;
const GET_SET: u16 = 10;
const NEW_ELEMENTS: u16 = 12;
const GET_ELEMENTS: u16 = 13;
const DELETE_ELEMENTS: u16 = 14;
const NEW_GENERATION: u16 = 15;
const GET_GENERATION: u16 = 16;
const INET: u8 = 1;
const ANY_FAMILY: u8 = 0;
const NAME: &str = "boshy";
const THE_NEW_TABLE: &str = "the new table";
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// Key of a set of pairs: its type as `nft` knows it, `ipv4_addr . inet_service`, and its length, for which address and
/// port are each padded to four bytes. The kernel stores the type without interpreting it.
const PAIR: (u32, u32) = (7 << 6 | 13, 8);
/// Key of a set of ports, `inet_service`.
const PORT: (u32, u32) = (13, 2);
/// Elements per message: an attribute holds less than 64 KiB, and an element takes 20 bytes.
const ELEMENTS: usize = 2000;

/// Table flag: the table is disabled.
const DORMANT: u32 = 0x1;
/// Table flags: only the socket that made the table may change it (Linux 5.12), and the table stays when that socket
/// closes (Linux 6.9).
pub(crate) const OWNED_AND_PERSISTENT: u32 = 0x2 | 0x4;

/// A transaction, and the meaning of each of its messages.
pub(crate) struct Batch {
    writer: Writer,
    first: u32,
    steps: Vec<String>,
    last_step: usize,
}

impl Batch {
    /// A batch that replaces the table.
    pub(crate) fn replace(ruleset: &Ruleset, flags: u32, first: u32) -> Self {
        let mut batch = Self::deleting(first);
        batch.step(NEW_TABLE, CREATE, THE_NEW_TABLE.to_owned(), |writer| {
            writer.text(1, NAME);
            writer.u32_be(2, flags);
        });
        for (id, (name, set)) in (1..).zip(&ruleset.sets) {
            batch.set(name, set, id);
            batch.elements(NEW_ELEMENTS, name, &set.elements());
        }
        for chain in &ruleset.chains {
            batch.chain(chain);
        }
        for chain in &ruleset.chains {
            for rule in &chain.rules {
                batch.rule(chain, rule);
            }
        }
        batch.committed()
    }

    /// A batch that turns the elements of sets from one state into another. The kernel refuses it as a whole, with
    /// `ERESTART`, when any table has changed since `generation`. `None` when there is nothing to change.
    pub(crate) fn change(from: &Sets, to: &Sets, generation: u32, first: u32) -> Option<Self> {
        let mut batch = Self::begun(first, Some(generation));
        for (name, wanted) in to {
            if let Some(present) = from.get(name).filter(|present| *present != wanted) {
                batch.elements(DELETE_ELEMENTS, name, &present.without(wanted));
                batch.elements(NEW_ELEMENTS, name, &wanted.without(present));
            }
        }
        (batch.steps.len() > 1).then(|| batch.committed())
    }

    /// A batch that removes the table, whether it exists or not.
    pub(crate) fn remove(first: u32) -> Self {
        Self::deleting(first).committed()
    }

    /// Adding a table without flags changes nothing in an existing table, whatever its flags, and lets the deletion
    /// succeed.
    fn deleting(first: u32) -> Self {
        let mut batch = Self::begun(first, None);
        batch.step(NEW_TABLE, CREATE, "the table".to_owned(), |writer| writer.text(1, NAME));
        batch.step(DELETE_TABLE, 0, "deleting the old table".to_owned(), |writer| writer.text(1, NAME));
        batch
    }

    fn begun(first: u32, generation: Option<u32>) -> Self {
        let mut batch = Self { writer: Writer::default(), first, steps: Vec::new(), last_step: 0 };
        batch.bound(BATCH_BEGIN, "the transaction", |writer| {
            if let Some(generation) = generation {
                writer.u32_be(1, generation);
            }
        });
        batch
    }

    /// Errors are always reported. A single acknowledgement, of the last step, reports that there was none.
    fn committed(mut self) -> Self {
        self.writer.acknowledge(self.last_step);
        self.bound(BATCH_END, "the commit", |_| {});
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// The sequence number whose acknowledgement means success: that of the last step before the commit.
    pub(crate) fn last(&self) -> u32 {
        self.next_sequence().wrapping_sub(2)
    }

    /// Describes the message with a sequence number.
    pub(crate) fn step_of(&self, sequence: u32) -> &str {
        let place = usize::try_from(sequence.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        self.steps.get(place).map_or("the transaction", String::as_str)
    }

    /// Whether a sequence number is that of the new table, the only message with flags.
    pub(crate) fn is_new_table(&self, sequence: u32) -> bool {
        self.step_of(sequence) == THE_NEW_TABLE
    }

    /// `id` tells the sets of a transaction apart.
    fn set(&mut self, name: &str, set: &Set, id: u32) {
        let (key, length) = key_of(set.kind());
        self.step(NEW_SET, CREATE, format!("set {name}"), |writer| {
            writer.text(1, NAME);
            writer.text(2, name);
            for (kind, value) in [(3, 0), (4, key), (5, length), (10, id)] {
                writer.u32_be(kind, value);
            }
        });
    }

    fn chain(&mut self, chain: &Chain) {
        self.step(NEW_CHAIN, CREATE, format!("chain {}", chain.name), |writer| {
            writer.text(1, NAME);
            writer.text(3, chain.name);
            if let Some(base) = &chain.base {
                writer.nested(4, |writer| {
                    writer.u32_be(1, base.hook.0);
                    writer.u32_be(2, base.priority.cast_unsigned());
                });
                writer.u32_be(5, base.policy.0);
                writer.text(7, &base.kind);
            }
        });
    }

    fn rule(&mut self, chain: &Chain, rule: &Rule) {
        self.step(NEW_RULE, CREATE | APPEND, format!("rule `{rule}` of chain {}", chain.name), |writer| {
            writer.text(1, NAME);
            writer.text(2, chain.name);
            writer.nested(4, |writer| lower(rule).iter().for_each(|each| each.write(writer)));
        });
    }

    fn step(&mut self, kind: u16, flags: u16, what: String, body: impl FnOnce(&mut Writer)) {
        let sequence = self.next_sequence();
        self.last_step = self.writer.message(SUBSYSTEM << 8 | kind, flags, sequence, |writer| {
            writer.raw(&[INET, 0, 0, 0]);
            body(writer);
        });
        self.steps.push(what);
    }

    fn elements(&mut self, kind: u16, set: &str, elements: &[Element]) {
        let (verb, flags) = if kind == NEW_ELEMENTS { ("adding", CREATE) } else { ("taking out", 0) };
        for some in elements.chunks(ELEMENTS) {
            self.step(kind, flags, format!("{verb} {} and others in the set {set}", some[0]), |writer| {
                writer.text(1, NAME);
                writer.text(2, set);
                writer.nested(3, |writer| some.iter().for_each(|element| write_element(writer, *element)));
            });
        }
    }

    fn bound(&mut self, kind: u16, what: &str, body: impl FnOnce(&mut Writer)) {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        let sequence = self.next_sequence();
        self.writer.message(kind, 0, sequence, |writer| {
            writer.raw(&[0, 0, high, low]);
            body(writer);
        });
        self.steps.push(what.to_owned());
    }

    fn next_sequence(&self) -> u32 {
        self.first.wrapping_add(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }
}

/// Type and length of a set's key.
fn key_of(kind: SetKind) -> (u32, u32) {
    match kind {
        SetKind::Pairs => PAIR,
        SetKind::Ports => PORT,
    }
}

fn write_element(writer: &mut Writer, element: Element) {
    let mut key = |key: &[u8]| writer.nested(1, |writer| writer.nested(1, |writer| writer.attribute(1, key)));
    match element {
        Element::Pair(pair) => {
            let ([a, b, c, d], [high, low]) = (pair.ip().octets(), pair.port().to_be_bytes());
            key(&[a, b, c, d, high, low, 0, 0]);
        }
        Element::Port(port) => key(&port.to_be_bytes()),
    }
}

fn read_element(element: Attributes<'_>) -> Option<Element> {
    match *element.inside(1).get(1)? {
        [a, b, c, d, high, low, 0, 0] => {
            let port = u16::from_be_bytes([high, low]);
            Some(Element::Pair(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port)))
        }
        [high, low] => Some(Element::Port(u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// A query about boshy's table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question<'s> {
    /// The number that increases with every change of any table.
    Generation,
    /// Flags and owner.
    Table,
    /// All chains. The kernel cannot restrict this to one table.
    Chains,
    /// All rules of the table.
    Rules,
    /// All sets of the table, without their elements.
    Sets,
    /// All elements of a set.
    Elements(&'s str),
}

impl Question<'_> {
    pub(crate) fn message(self, sequence: u32) -> Writer {
        let (kind, flags, family) = match self {
            Self::Generation => (GET_GENERATION, ACK, ANY_FAMILY),
            Self::Table => (GET_TABLE, ACK, INET),
            Self::Chains => (GET_CHAIN, DUMP, INET),
            Self::Rules => (GET_RULE, DUMP, INET),
            Self::Sets => (GET_SET, DUMP, INET),
            Self::Elements(_) => (GET_ELEMENTS, DUMP, INET),
        };
        Writer::single(SUBSYSTEM << 8 | kind, flags, sequence, |writer| {
            writer.raw(&[family, 0, 0, 0]);
            if matches!(self, Self::Table | Self::Rules | Self::Sets | Self::Elements(_)) {
                writer.text(1, NAME);
            }
            if let Self::Elements(set) = self {
                writer.text(2, set);
            }
        })
    }
}

/// The kernel's answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Generation(u32),
    Table {
        dormant: bool,
        /// Netlink port of the socket that owns the table.
        owner: Option<u32>,
    },
    Chain(ObservedChain),
    /// A rule, and its chain.
    Rule(String, ObservedRule),
    /// A set, and its kind if it is one that the model has.
    Set(String, Option<SetKind>),
    /// Elements of the set of this name.
    Elements(String, Vec<Element>),
}

/// Parses an answer; `None` for messages about something else.
pub(crate) fn answer(message: &Message<'_>) -> Option<Answer> {
    let [subsystem, kind] = message.kind.to_be_bytes();
    if u16::from(subsystem) != SUBSYSTEM {
        return None;
    }
    let attributes = message.attributes(FAMILY_HEADER);
    if u16::from(kind) == NEW_GENERATION {
        return attributes.u32_be(1).map(Answer::Generation);
    }
    if message.body.first() != Some(&INET) || attributes.text(1).as_deref() != Some(NAME) {
        return None;
    }
    match u16::from(kind) {
        NEW_TABLE => {
            let dormant = attributes.u32_be(2).unwrap_or(0) & DORMANT != 0;
            Some(Answer::Table { dormant, owner: attributes.u32_be(7) })
        }
        NEW_CHAIN => {
            Some(Answer::Chain(ObservedChain { name: attributes.text(3)?, base: base(attributes), rules: Vec::new() }))
        }
        NEW_RULE => {
            let elements = attributes.inside(4);
            let expressions: Vec<_> = elements.map(|(_, element)| Expression::read(Attributes(element))).collect();
            Some(Answer::Rule(attributes.text(2)?, lift(&expressions)))
        }
        NEW_SET => {
            let (key, flags) = ((attributes.u32_be(4)?, attributes.u32_be(5)?), attributes.u32_be(3).unwrap_or(0));
            let kind = [SetKind::Pairs, SetKind::Ports].into_iter().find(|kind| key_of(*kind) == key);
            Some(Answer::Set(attributes.text(2)?, kind.filter(|_| flags == 0)))
        }
        NEW_ELEMENTS => {
            let elements = attributes.inside(3).filter_map(|(_, element)| read_element(Attributes(element))).collect();
            Some(Answer::Elements(attributes.text(2)?, elements))
        }
        _ => None,
    }
}

fn base(chain: Attributes<'_>) -> Option<Base> {
    let hook = chain.inside(4);
    Some(Base {
        kind: chain.text(7)?.into(),
        hook: Hook(hook.u32_be(1)?),
        priority: hook.u32_be(2)?.cast_signed(),
        policy: Policy(chain.u32_be(5)?),
    })
}

#[cfg(test)]
#[path = "nftables_tests.rs"]
mod tests;
