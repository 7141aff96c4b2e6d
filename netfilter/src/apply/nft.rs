//! Rules written by the program `nft`: the same table as by netlink, without ownership.

use super::{Backend, BackendKind, program::run};
use crate::{
    difference::Observed,
    error::{Cause, Error, ProgramError},
    parse::nft_list,
    render,
    ruleset::{Layout, Table},
};

const PROGRAM: &str = "nft";

/// nf_tables, by the program `nft` (0.9.3 or later).
#[derive(Debug)]
pub struct Nft(());

impl Nft {
    /// Tries the program.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn open() -> Result<Self, Cause> {
        let mut nft = Self(());
        nft.observe()?;
        Ok(nft)
    }
}

/// A table that is owned by nobody but persistent (see [`Netlink`](super::Netlink)) refuses even the first line of a text, which adds it
/// as it is; it can be deleted all the same. The line is needed only where there is no table.
fn replace(text: &str) -> Result<(), Cause> {
    let mut replaced = run(PROGRAM, &["-f", "-"], text);
    if let (Err(error), Some((_, rest))) = (&replaced, text.split_once('\n'))
        && says(error, "not supported")
    {
        replaced = run(PROGRAM, &["-f", "-"], rest);
    }
    replaced.map(drop).map_err(super::permission)
}

/// nft has no other way to tell one trouble from another than the words of the C library.
fn says(error: &ProgramError, words: &str) -> bool {
    matches!(error, ProgramError::Failed { stderr, .. } if stderr.contains(words))
}

impl Backend for Nft {
    fn kind(&self) -> BackendKind {
        BackendKind::Nft
    }

    fn layout(&self) -> &'static Layout {
        &Layout::NFTABLES
    }

    fn write(&mut self, table: &Table) -> Result<(), Cause> {
        replace(&render::nft(table))
    }

    fn observe(&mut self) -> Result<Option<Observed>, Cause> {
        match run(PROGRAM, &["--numeric", "list", "table", "inet", "boshy"], "") {
            Ok(listing) => Ok(Some(nft_list(&listing))),
            Err(error) if says(&error, "No such file or directory") => Ok(None),
            Err(error) => Err(super::permission(error)),
        }
    }

    fn delete(&mut self) -> Result<(), Cause> {
        replace(&render::nft_removal())
    }

    fn generation(&mut self) -> Result<Option<u32>, Error> {
        Ok(None)
    }
}
