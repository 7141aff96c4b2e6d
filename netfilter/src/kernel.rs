//! Writes rules by netlink: a table of boshy's own, in one transaction of a fraction of a millisecond.
//!
//! Where the kernel supports it (Linux 6.9), the table is *owned*: until this value is dropped or its process ends,
//! every other process gets EPERM for any change of the table, and `nft flush ruleset` skips it. The table is also
//! *persistent*: it stays, with all its rules, when its owner is gone. It then has no owner, any process may remove it,
//! and the next [`Netlink`] that applies rules takes it over. So two agents cannot conflict, and an agent that crashed
//! leaves nothing that cannot be removed.
//!
//! Not promised: protection on an older kernel. There the table is an ordinary one, and [`Guard`](crate::Guard)
//! restores it.

use std::{collections::BTreeMap, io};

use boshy_netlink::{NetlinkError, Socket};
use nix::{errno::Errno, sys::socket::SockProtocol};

use crate::{
    difference::{Observed, ObservedSet},
    error::{Cause, Error, Operation},
    netlink::nftables::{Answer, Batch, OWNED_AND_PERSISTENT, Question, answer},
    ruleset::Ruleset,
    set::{Set, Sets},
};

/// How often a read is repeated when a change interrupted it.
const READINGS: usize = 20;

/// Largest transaction in bytes: 200,000 pairs. The kernel accepts no longer one.
const LONGEST_BATCH: usize = 4 << 20;

/// Whether other processes are kept from changing the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Owned where the kernel supports it, else shared.
    WherePossible,
    /// An ordinary table.
    Shared,
}

/// A direct connection to nf_tables. Dropping it gives up the ownership and leaves the rules.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    ownership: Ownership,
}

impl Netlink {
    /// Opens a socket and checks that the kernel has nf_tables.
    ///
    /// # Errors
    /// When the kernel has no nf_tables, or the process lacks the permission.
    pub fn open(ownership: Ownership) -> Result<Self, Error> {
        let error = |cause| Error { operation: Operation::Open, cause };
        let socket = Socket::open(SockProtocol::NetlinkNetFilter, 0)
            .map_err(|errno| Cause::Refused { step: "a netlink socket".to_owned(), source: errno.into() });
        let socket = socket.map_err(error)?;
        socket.make_room(LONGEST_BATCH);
        let mut netlink = Self { socket, ownership };
        netlink.read_generation().map_err(error)?;
        Ok(netlink)
    }

    /// Replaces boshy's table in one transaction.
    ///
    /// # Errors
    /// When the kernel refuses it; the old table is then still in place.
    pub fn replace(&mut self, ruleset: &Ruleset) -> Result<(), Error> {
        let flags = match self.ownership {
            Ownership::WherePossible => OWNED_AND_PERSISTENT,
            Ownership::Shared => 0,
        };
        let batch = Batch::replace(ruleset, flags, self.socket.next_sequence());
        match self.transact(&batch) {
            Err(refused) if flags != 0 && batch.is_new_table(refused.sequence) && is_unknown_flag(refused.errno) => {
                tracing::info!("this kernel cannot make the rules our own; they are an ordinary table");
                self.ownership = Ownership::Shared;
                self.replace(ruleset)
            }
            other => other.map_err(|refused| self.error(Operation::Apply, &refused, batch.step_of(refused.sequence))),
        }
    }

    /// Turns the elements of sets from one state into another, in one transaction, provided that no table has changed
    /// since `generation`. Returns whether that was so.
    ///
    /// # Errors
    /// When the kernel refuses it; the sets are then unchanged.
    pub fn change(&mut self, from: &Sets, to: &Sets, generation: u32) -> Result<bool, Error> {
        let Some(batch) = Batch::change(from, to, generation, self.socket.next_sequence()) else {
            return Ok(true);
        };
        match self.transact(&batch) {
            Ok(()) => Ok(true),
            Err(NetlinkError { errno: Errno::ERESTART, .. }) => Ok(false),
            Err(refused) => Err(self.error(Operation::Apply, &refused, batch.step_of(refused.sequence))),
        }
    }

    /// Reads boshy's table; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or changes during every read.
    pub fn observe(&mut self) -> Result<Option<Observed>, Error> {
        let error = |cause| Error { operation: Operation::Read, cause };
        for _ in 0..READINGS {
            let before = self.generation()?;
            match self.observe_once() {
                Ok(observed) if self.generation()? == before => return Ok(observed),
                // The table, or a part of it, may be removed between two requests.
                Ok(_) | Err(NetlinkError { errno: Errno::EINTR | Errno::ENOENT, .. }) => {}
                Err(refused) => return Err(self.error(Operation::Read, &refused, "the question for the rules")),
            }
        }
        Err(error(Cause::Unsettled))
    }

    /// Removes boshy's table in one transaction. Succeeds when there is none.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&mut self) -> Result<(), Error> {
        let batch = Batch::remove(self.socket.next_sequence());
        self.transact(&batch)
            .map_err(|refused| self.error(Operation::Remove, &refused, batch.step_of(refused.sequence)))
    }

    /// A number that the kernel increases with every change of any table in the network namespace.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn generation(&mut self) -> Result<u32, Error> {
        self.read_generation().map_err(|cause| Error { operation: Operation::Read, cause })
    }

    /// Netlink port of the process that owns the table, when that is not this one.
    fn other_owner(&mut self) -> Option<u32> {
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
        asked.map_err(|refused| self.cause(&refused, "the question for the generation"))?;
        Ok(generation)
    }

    fn ask(&mut self, question: Question<'_>, mut each: impl FnMut(Answer)) -> Result<(), NetlinkError> {
        self.socket.ask(
            |sequence| question.message(sequence),
            |message| {
                if let Some(said) = answer(message) {
                    each(said);
                }
            },
        )
    }

    /// Reads the table once. Fails with EINTR when something changed in the meantime.
    fn observe_once(&mut self) -> Result<Option<Observed>, NetlinkError> {
        let mut observed = Observed::default();
        let asked = self.ask(Question::Table, |said| {
            if let Answer::Table { dormant, .. } = said {
                observed.dormant = dormant;
            }
        });
        match asked {
            Err(NetlinkError { errno: Errno::ENOENT, .. }) => return Ok(None),
            other => other?,
        }
        self.ask(Question::Chains, |said| {
            if let Answer::Chain(chain) = said {
                observed.chains.push(chain);
            }
        })?;
        self.ask(Question::Rules, |said| {
            if let Answer::Rule(chain, rule) = said {
                observed.push_rule(&chain, rule);
            }
        })?;
        let mut kinds = BTreeMap::new();
        self.ask(Question::Sets, |said| {
            if let Answer::Set(name, kind) = said {
                kinds.insert(name, kind);
            }
        })?;
        for (name, kind) in kinds {
            let mut elements = Vec::new();
            if kind.is_some() {
                self.ask(Question::Elements(&name), |said| {
                    if let Answer::Elements(_, more) = said {
                        elements.extend(more);
                    }
                })?;
            }
            let set = kind.map_or(ObservedSet::Foreign, |kind| ObservedSet::Known(Set::of(kind, elements)));
            observed.sets.insert(name, set);
        }
        Ok(Some(observed))
    }

    fn transact(&mut self, batch: &Batch) -> Result<(), NetlinkError> {
        self.socket.request(batch.bytes(), batch.last(), |_| {})
    }

    fn error(&mut self, operation: Operation, refused: &NetlinkError, step: &str) -> Error {
        Error { operation, cause: self.cause(refused, step) }
    }

    fn cause(&mut self, refused: &NetlinkError, step: &str) -> Cause {
        let source = io::Error::from(refused.errno);
        if refused.errno != Errno::EPERM {
            return Cause::Refused { step: step.to_owned(), source };
        }
        match self.other_owner() {
            Some(port) => Cause::OwnedByAnother { port },
            None => Cause::NeedsNetAdmin(source),
        }
    }
}

/// Whether the error says that the kernel does not know a table flag. The error differs before and after Linux 5.12.
fn is_unknown_flag(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::EOPNOTSUPP)
}
