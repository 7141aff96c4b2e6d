//! The effect: writing a rule set, reading it back, removing it, by one of three means.
//!
//! All calls block, and are short: a fraction of a millisecond by netlink, some 20 ms by a program, 10 s at the very most, after
//! which a program that hangs is killed. Each write is one transaction, and is read back before it counts as done.

mod iptables;
mod netlink;
mod nft;
mod program;

use std::fmt;

use err_report::Report;
use serde::{Deserialize, Serialize};

pub use self::{
    iptables::Iptables,
    netlink::{Netlink, Ownership},
    nft::Nft,
};
use crate::{
    difference::{Deviation, Drift, Observed, difference},
    error::{Cause, Error, Operation, ProgramError},
    ruleset::{Layout, Ruleset, Table},
};

/// A means of writing rules; in settings by its name in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// nf_tables, spoken to directly.
    Netlink,
    /// nf_tables, by the program `nft`.
    Nft,
    /// The programs `iptables-save` and `iptables-restore`.
    Iptables,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "netlink",
            Self::Nft => "nft",
            Self::Iptables => "iptables",
        })
    }
}

/// A means of writing rules that has been found to work.
pub trait Backend: Send {
    /// Which one it is.
    fn kind(&self) -> BackendKind;

    /// How it names chains.
    fn layout(&self) -> &'static Layout;

    /// Replaces our rules in one transaction, without reading them back. The table must be in [`Backend::layout`].
    ///
    /// # Errors
    /// When the rules are refused; the old ones are then still in place.
    fn write(&mut self, table: &Table) -> Result<(), Cause>;

    /// Reads our rules; `None` when there are none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn observe(&mut self) -> Result<Option<Observed>, Cause>;

    /// Removes our rules in one transaction; succeeds when there are none.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn delete(&mut self) -> Result<(), Cause>;

    /// A number that changes with every change of any rule on the VM; `None` where there is no cheap one.
    ///
    /// # Errors
    /// When it cannot be read.
    fn generation(&mut self) -> Result<Option<u32>, Error>;

    /// Replaces our rules in one transaction and reads them back. Never touches rules of others.
    ///
    /// # Errors
    /// When the rules are refused, or are others when read back.
    fn apply(&mut self, ruleset: &Ruleset) -> Result<(), Error> {
        let table = ruleset.table(self.layout());
        let applied = self.write(&table).and_then(|()| {
            let wrong = difference(&table, self.observe()?.as_ref());
            if wrong.is_empty() { Ok(()) } else { Err(Cause::NotAsWritten(Drift { deviations: wrong })) }
        });
        applied.map_err(|cause| Error { backend: self.kind(), operation: Operation::Apply, cause })
    }

    /// Reads our rules; `None` when there are none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&mut self) -> Result<Option<Observed>, Error> {
        self.observe().map_err(|cause| Error { backend: self.kind(), operation: Operation::Read, cause })
    }

    /// Removes our rules and looks that they are gone. Never touches rules of others.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn remove(&mut self) -> Result<(), Error> {
        let removed = self.delete().and_then(|()| match self.observe()? {
            None => Ok(()),
            Some(left) => {
                let extra = left.chains.into_iter().map(|chain| Deviation::ChainExtra(chain.name));
                Err(Cause::NotAsWritten(Drift { deviations: extra.collect() }))
            }
        });
        removed.map_err(|cause| Error { backend: self.kind(), operation: Operation::Remove, cause })
    }
}

/// Finds a backend that works: the forced one and no other, or the first of netlink, nft, iptables.
///
/// # Errors
/// When the forced one does not work, or none does; a missing capability is said at once, as it is missing for all of them.
pub fn detect(forced: Option<BackendKind>) -> Result<Box<dyn Backend>, Error> {
    if let Some(kind) = forced {
        return open(kind);
    }
    let mut refused = Vec::new();
    for kind in [BackendKind::Netlink, BackendKind::Nft, BackendKind::Iptables] {
        match open(kind) {
            Ok(backend) => return Ok(backend),
            Err(error) if matches!(error.cause, Cause::NeedsNetAdmin(_)) => return Err(error),
            Err(error) => {
                tracing::debug!(backend = %kind, cause = Report::new(&error).to_string(), "this way of writing rules does not work here");
                refused.push(format!("{kind}: {}", Report::new(&error.cause)));
            }
        }
    }
    let cause = Cause::NoBackend(refused);
    Err(Error { backend: BackendKind::Netlink, operation: Operation::Open, cause })
}

/// Removes what any backend may have left, in this life or an earlier one, and answers what could not be removed. A backend that does
/// not work here has left nothing.
pub fn remove_all() -> Vec<Error> {
    let kinds = [BackendKind::Netlink, BackendKind::Nft, BackendKind::Iptables];
    let mut backends = kinds.into_iter().map(open).peekable();
    if let Some(Err(Error { cause: Cause::NeedsNetAdmin(_), .. })) = backends.peek() {
        return backends.next().and_then(Result::err).into_iter().collect();
    }
    backends.flatten().filter_map(|mut backend| backend.remove().err()).collect()
}

fn open(kind: BackendKind) -> Result<Box<dyn Backend>, Error> {
    let opened: Result<Box<dyn Backend>, Cause> = match kind {
        BackendKind::Netlink => Netlink::open(Ownership::WherePossible).map(|backend| Box::new(backend) as _),
        BackendKind::Nft => Nft::open().map(|backend| Box::new(backend) as _),
        BackendKind::Iptables => Iptables::open().map(|backend| Box::new(backend) as _),
    };
    opened.map_err(|cause| Error { backend: kind, operation: Operation::Open, cause })
}

/// Tells a missing capability, or a table that another process owns, from other trouble of a program. Programs say both in
/// the same words.
fn permission(error: ProgramError) -> Cause {
    let refused = match &error {
        ProgramError::Failed { stderr, .. } => {
            stderr.contains("Operation not permitted") || stderr.contains("you must be root")
        }
        _ => false,
    };
    if !refused {
        return Cause::Program(error);
    }
    match Netlink::open(Ownership::Shared).ok().and_then(|mut netlink| netlink.other_owner()) {
        Some(port) => Cause::OwnedByAnother { port },
        None => Cause::NeedsNetAdmin(error.into()),
    }
}
