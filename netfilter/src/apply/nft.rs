//! Rules written by the program `nft`: the same table as by netlink, without ownership.

use super::{Backend, BackendKind, program::run};
use crate::{
    difference::Observed,
    error::{Cause, Error, ProgramError},
    parse::nft_list,
    render,
    ruleset::{Layout, Ruleset},
};

const PROGRAM: &str = "nft";

/// nf_tables, by the program `nft` (0.9 or later, with JSON).
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

/// nft says nothing else to tell an absent table from other trouble.
fn is_absent(error: &ProgramError) -> bool {
    matches!(error, ProgramError::Failed { stderr, .. } if stderr.contains("No such file or directory"))
}

impl Backend for Nft {
    fn kind(&self) -> BackendKind {
        BackendKind::Nft
    }

    fn layout(&self) -> &'static Layout {
        &Layout::NFTABLES
    }

    fn write(&mut self, ruleset: &Ruleset) -> Result<(), Cause> {
        run(PROGRAM, &["-f", "-"], &render::nft(ruleset)).map_err(super::permission)?;
        Ok(())
    }

    fn observe(&mut self) -> Result<Option<Observed>, Cause> {
        let arguments = ["-j", "list", "table", "inet", "boshy"];
        match run(PROGRAM, &arguments, "") {
            Ok(listing) => match nft_list(&listing) {
                Ok(observed) => Ok(Some(observed)),
                Err(what) => Err(Cause::Unreadable { program: PROGRAM, what }),
            },
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(super::permission(error)),
        }
    }

    fn delete(&mut self) -> Result<(), Cause> {
        run(PROGRAM, &["-f", "-"], &render::nft_removal()).map_err(super::permission)?;
        Ok(())
    }

    fn generation(&mut self) -> Result<Option<u32>, Error> {
        Ok(None)
    }
}
