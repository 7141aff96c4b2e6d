//! The table `inet boshy` as nf_tables messages, both ways.
//!
//! A batch is one transaction: add the table (so that the next step succeeds), delete it, add it with everything in it. The
//! kernel takes all of it or nothing, and packets meet the old rules or the new ones.

use std::borrow::Cow;

use super::{
    expression::{Expression, lift, lower},
    wire::{ACK, APPEND, Attributes, CREATE, DUMP, Message, Writer},
};
use crate::{
    difference::{ObservedChain, ObservedRule},
    ruleset::{Base, Chain, Rule, Table},
};

// From the kernel's nfnetlink.h, nf_tables.h and netfilter.h.
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
const NEW_GENERATION: u16 = 15;
const GET_GENERATION: u16 = 16;
const INET: u8 = 1;
const ANY_FAMILY: u8 = 0;
const NAME: &str = "boshy";
const THE_NEW_TABLE: &str = "the new table";
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
const POLICIES: [&str; 2] = ["drop", "accept"];
/// Length of `struct nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// The table does nothing.
const DORMANT: u32 = 0x1;
/// Only the socket that made the table may change it (Linux 5.12), and it stays when that socket closes (Linux 6.9).
pub(crate) const OWNED_AND_PERSISTENT: u32 = 0x2 | 0x4;

/// A transaction, and what each of its messages does.
pub(crate) struct Batch {
    writer: Writer,
    first: u32,
    steps: Vec<String>,
    last_step: usize,
}

impl Batch {
    /// A batch that replaces the table.
    pub(crate) fn replace(table: &Table, flags: u32, first: u32) -> Self {
        let mut batch = Self::deleting(first);
        batch.step(NEW_TABLE, CREATE, THE_NEW_TABLE.to_owned(), |writer| {
            writer.text(1, NAME);
            writer.number(2, flags);
        });
        for chain in &table.chains {
            batch.chain(chain);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                batch.rule(chain, rule);
            }
        }
        batch.committed()
    }

    /// A batch that removes the table, whether or not it is there.
    pub(crate) fn remove(first: u32) -> Self {
        Self::deleting(first).committed()
    }

    /// Adding without flags changes nothing in a table that is there, whatever its flags, and lets the deletion succeed.
    fn deleting(first: u32) -> Self {
        let mut batch = Self { writer: Writer::default(), first, steps: Vec::new(), last_step: 0 };
        batch.bound(BATCH_BEGIN, "the transaction");
        batch.step(NEW_TABLE, CREATE, "the table".to_owned(), |writer| writer.text(1, NAME));
        batch.step(DELETE_TABLE, 0, "deleting the old table".to_owned(), |writer| writer.text(1, NAME));
        batch
    }

    /// Errors are always answered; one acknowledgement, of the last step, says that there was none.
    fn committed(mut self) -> Self {
        self.writer.acknowledge(self.last_step);
        self.bound(BATCH_END, "the commit");
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// The sequence number whose acknowledgement means success: that of the last step before the commit.
    pub(crate) fn last(&self) -> u32 {
        self.next_sequence().wrapping_sub(2)
    }

    /// What the message with a sequence number does.
    pub(crate) fn step_of(&self, sequence: u32) -> &str {
        let place = usize::try_from(sequence.wrapping_sub(self.first)).unwrap_or(usize::MAX);
        self.steps.get(place).map_or("the transaction", String::as_str)
    }

    /// Whether a sequence number is that of the new table, the only message with flags.
    pub(crate) fn is_new_table(&self, sequence: u32) -> bool {
        self.step_of(sequence) == THE_NEW_TABLE
    }

    fn chain(&mut self, chain: &Chain) {
        self.step(NEW_CHAIN, CREATE, format!("chain {}", chain.name), |writer| {
            writer.text(1, NAME);
            writer.text(3, chain.name);
            if let Some(base) = &chain.base {
                writer.nested(4, |writer| {
                    writer.number(1, number_of(&HOOKS, &base.hook));
                    writer.number(2, base.priority.cast_unsigned());
                });
                writer.number(5, number_of(&POLICIES, &base.policy));
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

    fn bound(&mut self, kind: u16, what: &str) {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        let sequence = self.next_sequence();
        self.writer.message(kind, 0, sequence, |writer| writer.raw(&[0, 0, high, low]));
        self.steps.push(what.to_owned());
    }

    fn next_sequence(&self) -> u32 {
        self.first.wrapping_add(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }
}

fn number_of(names: &[&str], name: &str) -> u32 {
    let place = names.iter().position(|each| *each == name).expect("layouts name hooks and policies of the kernel");
    u32::try_from(place).unwrap_or(u32::MAX)
}

fn name_of(names: &[&'static str], number: u32) -> Cow<'static, str> {
    let name = usize::try_from(number).ok().and_then(|place| names.get(place));
    name.map_or_else(|| Cow::Owned(number.to_string()), |name| Cow::Borrowed(*name))
}

/// A question about the own table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// The number that grows with every change of any table.
    Generation,
    /// Flags and owner.
    Table,
    /// All chains; the kernel does not narrow this to one table.
    Chains,
    /// All rules of the table.
    Rules,
}

impl Question {
    pub(crate) fn bytes(self, sequence: u32) -> Writer {
        let (kind, flags, family) = match self {
            Self::Generation => (GET_GENERATION, ACK, ANY_FAMILY),
            Self::Table => (GET_TABLE, ACK, INET),
            Self::Chains => (GET_CHAIN, DUMP, INET),
            Self::Rules => (GET_RULE, DUMP, INET),
        };
        let mut writer = Writer::default();
        writer.message(SUBSYSTEM << 8 | kind, flags, sequence, |writer| {
            writer.raw(&[family, 0, 0, 0]);
            if matches!(self, Self::Table | Self::Rules) {
                writer.text(1, NAME);
            }
        });
        writer
    }
}

/// What the kernel said about the own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Generation(u32),
    Table {
        dormant: bool,
        /// The netlink port of the socket that alone may change the table.
        owner: Option<u32>,
    },
    Chain(ObservedChain),
    /// A rule, and its chain.
    Rule(String, ObservedRule),
}

/// Reads an answer; `None` for messages that are about something else.
pub(crate) fn answer(message: &Message<'_>) -> Option<Answer> {
    let [subsystem, kind] = message.kind.to_be_bytes();
    if u16::from(subsystem) != SUBSYSTEM {
        return None;
    }
    let attributes = message.attributes(FAMILY_HEADER);
    if u16::from(kind) == NEW_GENERATION {
        return attributes.number(1).map(Answer::Generation);
    }
    if message.body.first() != Some(&INET) || attributes.text(1).as_deref() != Some(NAME) {
        return None;
    }
    match u16::from(kind) {
        NEW_TABLE => {
            let dormant = attributes.number(2).unwrap_or(0) & DORMANT != 0;
            Some(Answer::Table { dormant, owner: attributes.number(7) })
        }
        NEW_CHAIN => {
            Some(Answer::Chain(ObservedChain { name: attributes.text(3)?, base: base(attributes), rules: Vec::new() }))
        }
        NEW_RULE => {
            let elements = attributes.inside(4);
            let expressions: Vec<_> = elements.map(|(_, element)| Expression::read(Attributes(element))).collect();
            Some(Answer::Rule(attributes.text(2)?, lift(&expressions)))
        }
        _ => None,
    }
}

fn base(chain: Attributes<'_>) -> Option<Base> {
    let hook = chain.inside(4);
    Some(Base {
        kind: chain.text(7)?.into(),
        hook: name_of(&HOOKS, hook.number(1)?),
        priority: hook.number(2)?.cast_signed(),
        policy: name_of(&POLICIES, chain.number(5)?),
    })
}

#[cfg(test)]
#[path = "nftables_tests.rs"]
mod tests;
