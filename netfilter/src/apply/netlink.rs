//! Rules written by netlink: an own table, in one transaction of a fraction of a millisecond.
//!
//! Where the kernel can (Linux 6.9), the table is *owned*: until this value is dropped or its process ends, every other process gets
//! EPERM for any change of the table, and `nft flush ruleset` passes over it. The table is also *persistent*: it stays, with all
//! its rules, when its owner is gone. It is then nobody's, may be removed by anyone, and is taken over by the next
//! [`Netlink`] that applies rules. So two agents cannot fight, and an agent that died leaves nothing that cannot be removed.
//!
//! Not promised: protection where the kernel is older. There the table is an ordinary one, and [`Guard`](crate::Guard) puts it back.

use std::io;

use nix::{errno::Errno, sys::socket::SockProtocol};

use super::{Backend, BackendKind};
use crate::{
    difference::{Observed, ObservedChain, ObservedRule},
    error::{Cause, Error, Operation},
    netlink::{
        nftables::{Answer, Batch, OWNED_AND_PERSISTENT, Question, answer},
        socket::{Refusal, Socket},
    },
    ruleset::{Layout, Table},
};

/// How often a reading that was overtaken by a change is begun again.
const READINGS: usize = 20;

/// Whether the table is made so that no other process can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Owned where the kernel can, else shared.
    WherePossible,
    /// An ordinary table.
    Shared,
}

/// nf_tables, spoken to directly. Dropping it gives up the ownership and leaves the rules.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    ownership: Ownership,
}

impl Netlink {
    /// Opens a socket and asks the kernel whether it has nf_tables.
    ///
    /// # Errors
    /// When it has not, or the process may not ask.
    pub fn open(ownership: Ownership) -> Result<Self, Cause> {
        let socket = Socket::open(SockProtocol::NetlinkNetFilter, 0)
            .map_err(|errno| Cause::Refused { step: "a netlink socket".to_owned(), source: errno.into() })?;
        let mut netlink = Self { socket, ownership };
        netlink.read_generation()?;
        Ok(netlink)
    }

    /// The netlink port of the process that holds the table, when that is not this one.
    pub(super) fn other_owner(&mut self) -> Option<u32> {
        let mut found = None;
        self.ask(Question::Table, |said| {
            if let Answer::Table { owner, .. } = said {
                found = owner;
            }
        })
        .ok()?;
        found.filter(|port| *port != self.socket.port())
    }

    fn read_generation(&mut self) -> Result<u32, Cause> {
        let mut generation = 0;
        let asked = self.ask(Question::Generation, |said| {
            if let Answer::Generation(number) = said {
                generation = number;
            }
        });
        asked.map_err(|refusal| self.cause(&refusal, "the question for the generation"))?;
        Ok(generation)
    }

    fn ask(&mut self, question: Question, mut each: impl FnMut(Answer)) -> Result<(), Refusal> {
        let sequence = self.socket.next_sequence();
        let message = question.bytes(sequence);
        self.socket.request(message.bytes(), sequence, |message| {
            if let Some(said) = answer(message) {
                each(said);
            }
        })
    }

    /// One reading; refused with EINTR when something changed meanwhile.
    fn observe_once(&mut self) -> Result<Option<Observed>, Refusal> {
        let mut observed = Observed::default();
        let asked = self.ask(Question::Table, |said| {
            if let Answer::Table { dormant, .. } = said {
                observed.dormant = dormant;
            }
        });
        match asked {
            Err(Refusal { errno: Errno::ENOENT, .. }) => return Ok(None),
            other => other?,
        }
        self.ask(Question::Chains, |said| {
            if let Answer::Chain(chain) = said {
                observed.chains.push(chain);
            }
        })?;
        self.ask(Question::Rules, |said| {
            if let Answer::Rule(chain, rule) = said {
                push_rule(&mut observed.chains, &chain, rule);
            }
        })?;
        Ok(Some(observed))
    }

    fn transact(&mut self, batch: &Batch) -> Result<(), Refusal> {
        self.socket.request(batch.bytes(), batch.last(), |_| {})
    }

    fn cause(&mut self, refusal: &Refusal, step: &str) -> Cause {
        let source = io::Error::from(refusal.errno);
        if refusal.errno != Errno::EPERM {
            return Cause::Refused { step: step.to_owned(), source };
        }
        match self.other_owner() {
            Some(port) => Cause::OwnedByAnother { port },
            None => Cause::NeedsNetAdmin(source.into()),
        }
    }
}

/// A kernel that does not know a table flag says so in one of two ways (before and after Linux 5.12).
fn is_unknown_flag(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::EOPNOTSUPP)
}

fn push_rule(chains: &mut [ObservedChain], name: &str, rule: ObservedRule) {
    if let Some(chain) = chains.iter_mut().find(|chain| chain.name == name) {
        chain.rules.push(rule);
    }
}

impl Backend for Netlink {
    fn kind(&self) -> BackendKind {
        BackendKind::Netlink
    }

    fn layout(&self) -> &'static Layout {
        &Layout::NFTABLES
    }

    fn write(&mut self, table: &Table) -> Result<(), Cause> {
        let flags = match self.ownership {
            Ownership::WherePossible => OWNED_AND_PERSISTENT,
            Ownership::Shared => 0,
        };
        let batch = Batch::replace(table, flags, self.socket.next_sequence());
        match self.transact(&batch) {
            Err(refusal) if flags != 0 && batch.is_new_table(refusal.sequence) && is_unknown_flag(refusal.errno) => {
                tracing::info!("this kernel cannot make the rules our own; they are an ordinary table");
                self.ownership = Ownership::Shared;
                self.write(table)
            }
            other => other.map_err(|refusal| self.cause(&refusal, batch.step_of(refusal.sequence))),
        }
    }

    fn observe(&mut self) -> Result<Option<Observed>, Cause> {
        for _ in 0..READINGS {
            let before = self.read_generation()?;
            match self.observe_once() {
                Ok(observed) if self.read_generation()? == before => return Ok(observed),
                // The table, or a chain of it, may vanish between two questions.
                Ok(_) | Err(Refusal { errno: Errno::EINTR | Errno::ENOENT, .. }) => {}
                Err(refusal) => return Err(self.cause(&refusal, "the question for the rules")),
            }
        }
        Err(Cause::Unsettled)
    }

    fn delete(&mut self) -> Result<(), Cause> {
        let batch = Batch::remove(self.socket.next_sequence());
        self.transact(&batch).map_err(|refusal| self.cause(&refusal, batch.step_of(refusal.sequence)))
    }

    fn generation(&mut self) -> Result<Option<u32>, Error> {
        let read = self.read_generation().map(Some);
        read.map_err(|cause| Error { backend: self.kind(), operation: Operation::Read, cause })
    }
}
