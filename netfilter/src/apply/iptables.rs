//! Rules written by `iptables-restore`: the last resort, for a kernel without nf_tables.
//!
//! An own chain in the system's table `nat`, and one jump to it, last in `OUTPUT`: rules that others put there come before it.
//! (By nf_tables ours come first.) The table itself is the system's: where it was absent it comes into being, and stays, empty.
//! `-w 5` waits for the lock that other iptables programs hold; without it the legacy program hangs.
//!
//! Jumps that are there are read, and then deleted by name in the same transaction that adds the new one. When another
//! process changes our jumps between the two, either the text is refused or the reading back finds it: an error, and the
//! caller's next try succeeds.

use super::{Backend, BackendKind, program::run};
use crate::{
    difference::Observed,
    error::{Cause, Error},
    parse::{Saved, iptables_save},
    render,
    ruleset::{Layout, Table},
};

/// The programs of one flavour.
#[derive(Clone, Copy, Debug)]
struct Flavour {
    save: &'static str,
    restore: &'static str,
}

/// What the system calls iptables, and the one that does without nf_tables.
const FLAVOURS: [Flavour; 2] = [
    Flavour { save: "iptables-save", restore: "iptables-restore" },
    Flavour { save: "iptables-legacy-save", restore: "iptables-legacy-restore" },
];

/// The programs `iptables-save` and `iptables-restore`.
#[derive(Debug)]
pub struct Iptables(Flavour);

impl Iptables {
    /// Tries the system's programs, then the legacy ones.
    ///
    /// # Errors
    /// When neither works here; the cause is that of the system's.
    pub fn open() -> Result<Self, Cause> {
        let [system, legacy] = FLAVOURS;
        // Merely asking the legacy programs makes the kernel set up their tables, so they are asked only when nothing else is left.
        match save(system) {
            Ok(_) => Ok(Self(system)),
            Err(cause) => save(legacy).map(|_| Self(legacy)).map_err(|_| cause),
        }
    }

    fn restore(&self, text: &str) -> Result<(), Cause> {
        run(self.0.restore, &["-w", "5", "--noflush"], text).map_err(super::permission)?;
        Ok(())
    }
}

fn save(flavour: Flavour) -> Result<Saved, Cause> {
    let text = run(flavour.save, &["-t", "nat"], "").map_err(super::permission)?;
    Ok(iptables_save(&text))
}

impl Backend for Iptables {
    fn kind(&self) -> BackendKind {
        BackendKind::Iptables
    }

    fn layout(&self) -> &'static Layout {
        &Layout::IPTABLES
    }

    fn write(&mut self, table: &Table) -> Result<(), Cause> {
        let found = save(self.0)?;
        self.restore(&render::iptables(table, &found.jumps))
    }

    fn observe(&mut self) -> Result<Option<Observed>, Cause> {
        Ok(save(self.0)?.observed)
    }

    fn delete(&mut self) -> Result<(), Cause> {
        let found = save(self.0)?;
        if found.observed.is_none() {
            return Ok(());
        }
        self.restore(&render::iptables_removal(&found.jumps))
    }

    fn generation(&mut self) -> Result<Option<u32>, Error> {
        Ok(None)
    }
}
