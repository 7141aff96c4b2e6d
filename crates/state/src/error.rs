//! Why a state file cannot be read or written.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

/// A state file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct StateFileError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Why a state file does not give what it should hold. Its copy does not either.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: Error + 'static> {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] StateFileError),
    /// Its content is refused.
    #[error(transparent)]
    Refused(E),
}

pub(crate) fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StateFileError + 'a {
    move |source| StateFileError { operation, path: path.to_owned(), source }
}
